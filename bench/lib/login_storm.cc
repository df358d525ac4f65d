#include "bench/lib/login_storm.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "bench/lib/machine_load.h"
#include "bench/lib/pacer.h"

namespace ringscale::bench {

// Between a failure and the next attempt.
constexpr core::Duration kBackOff = core::Millis(20);

struct LoginStorm::Attempt {
  core::PrivateKey own_key = core::PrivateKey::Generate();
  std::unique_ptr<DerpLogin> login;
  core::Fd fd;
  core::Instant began;
  std::string unsent;
  bool connected = false;
};

core::Result<std::unique_ptr<LoginStorm>> LoginStorm::Start(const RelayTarget& target,
                                                            const LoginStormOptions& options) {
  std::unique_ptr<LoginStorm> storm(new LoginStorm(target, options));
  auto tls = MakeBenchTlsContext(options.cipher_suites);
  if (!tls) return core::Forward(tls);
  storm->tls_ = std::move(*tls);
  storm->epoll_ = core::Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!storm->epoll_.valid()) return core::FailErrno("epoll_create1", errno);
  storm->thread_ = std::thread([&storm = *storm] { storm.Run(); });
  return storm;
}

LoginStorm::LoginStorm(const RelayTarget& target, LoginStormOptions options)
    : target_(target), options_(std::move(options)) {}

LoginStorm::~LoginStorm() {
  if (thread_.joinable()) Stop();
}

void LoginStorm::Fail(const std::string& why) {
  failed_.fetch_add(1, std::memory_order_relaxed);
  if (outcome_.first_failure.empty()) outcome_.first_failure = why;
  next_try_ = core::MonotonicNow() + kBackOff;
}

bool LoginStorm::Begin() {
  sockaddr_storage native{};
  const socklen_t length = target_.address.ToNative(native, false);
  core::Fd fd(::socket(native.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    Fail("socket: " + std::string(std::strerror(errno)));
    return false;
  }
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // Closed by a reset: thousands a second would else use up the local ports.
  const linger reset{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length) != 0 &&
      errno != EINPROGRESS) {
    Fail("connect: " + std::string(std::strerror(errno)));
    return false;
  }
  std::size_t slot = attempts_.size();
  if (free_.empty()) {
    attempts_.push_back(std::make_unique<Attempt>());
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Attempt& attempt = *attempts_[slot];
  // Who stays has a key of his own; who leaves leaves it to the next.
  if (options_.keep) attempt.own_key = core::PrivateKey::Generate();
  attempt.login = std::make_unique<DerpLogin>(target_, tls_, attempt.own_key, pool_);
  attempt.began = core::MonotonicNow();
  attempt.unsent.clear();
  attempt.connected = false;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.u64 = slot;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event);
  attempt.fd = std::move(fd);
  return true;
}

bool LoginStorm::Drive(Attempt& attempt, bool readable) {
  const auto send = [&](std::string_view bytes) {
    attempt.unsent += bytes;
    const ssize_t sent =
        ::send(attempt.fd.get(), attempt.unsent.data(), attempt.unsent.size(), MSG_NOSIGNAL);
    if (sent > 0) attempt.unsent.erase(0, static_cast<std::size_t>(sent));
    return sent >= 0 || errno == EAGAIN;
  };
  if (!attempt.connected) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      Fail("connect: " + std::string(std::strerror(error)));
      return true;
    }
    attempt.connected = true;
    const auto started = attempt.login->Feed({});
    if (!started || !send(attempt.login->TakeOutput())) {
      Fail(started ? "the relay closes the connection" : started.error().message);
      return true;
    }
  } else if (!attempt.unsent.empty() && !send({})) {
    Fail("the relay closes the connection");
    return true;
  }
  while (readable) {
    std::uint8_t buffer[16384];
    const ssize_t got = ::recv(attempt.fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) {
      Fail("the relay closes the connection during the login");
      return true;
    }
    const auto status =
        attempt.login->Feed(core::MutableBytes(buffer, static_cast<std::size_t>(got)));
    std::string output = attempt.login->TakeOutput();
    if (!status) {
      Fail(status.error().message);
      return true;
    }
    if (!output.empty() && !send(output)) {
      Fail("the relay closes the connection during the login");
      return true;
    }
    if (*status != DerpLogin::Status::kDone) continue;
    done_.fetch_add(1, std::memory_order_relaxed);
    outcome_.took.Add(core::MonotonicNow() - attempt.began);
    if (options_.keep) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, attempt.fd.get(), nullptr);
      kept_.push_back(std::move(attempt.fd));
    }
    return true;
  }
  return false;
}

void LoginStorm::Run() {
  setpriority(PRIO_PROCESS, 0, options_.nice);
  prctl(PR_SET_TIMERSLACK, 1);
  const double cpu = OwnThreadCpuSeconds();
  const core::Instant began = core::MonotonicNow();
  core::Instant looked = began;
  Pacer pacer(options_.per_second, 1, began);
  constexpr int kEvents = 256;
  epoll_event events[kEvents];
  while (!stop_.load(std::memory_order_relaxed)) {
    const core::Instant now = core::MonotonicNow();
    const auto under_way = [&] { return attempts_.size() - free_.size(); };
    const auto wanted = [&] {
      return options_.total == 0 || (done() + under_way() < options_.total && now >= next_try_);
    };
    while (wanted() && under_way() < options_.in_flight && pacer.Due(now) > 0) {
      pacer.Take();
      if (!Begin()) break;
    }
    if (options_.total != 0 && done() >= options_.total &&
        !finished_.load(std::memory_order_relaxed)) {
      outcome_.seconds = (now - began).seconds();
      finished_.store(true, std::memory_order_release);
    }
    core::Duration wait = core::Millis(5);
    if (wanted() && !pacer.unlimited()) wait = std::min(wait, pacer.Next() - now);
    const timespec limit{.tv_sec = 0, .tv_nsec = std::max<std::int64_t>(wait.ns, 0)};
    const int count = epoll_pwait2(epoll_.get(), events, kEvents, &limit, nullptr);
    const auto over = [&](std::size_t slot) {
      attempts_[slot]->login.reset();
      attempts_[slot]->fd.Reset();
      free_.push_back(slot);
    };
    for (int i = 0; i < count; ++i) {
      const std::size_t slot = events[i].data.u64;
      Attempt& attempt = *attempts_[slot];
      if (attempt.login == nullptr) continue;
      if (Drive(attempt, (events[i].events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0)) {
        over(slot);
      }
    }
    if (now - looked > core::Seconds(1)) {
      looked = now;
      for (std::size_t slot = 0; slot < attempts_.size(); ++slot) {
        Attempt& attempt = *attempts_[slot];
        if (attempt.login == nullptr || now - attempt.began < options_.limit) continue;
        Fail("no login within the limit");
        over(slot);
      }
    }
  }
  if (outcome_.seconds == 0) outcome_.seconds = (core::MonotonicNow() - began).seconds();
  outcome_.own_cpu_seconds = OwnThreadCpuSeconds() - cpu;
  attempts_.clear();
  free_.clear();
}

LoginStorm::Outcome LoginStorm::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
  outcome_.done = done();
  outcome_.failed = failed();
  return outcome_;
}

std::size_t LoginStorm::CountLost() const {
  std::size_t lost = 0;
  for (const core::Fd& fd : kept_) {
    std::uint8_t buffer[4096];
    ssize_t got = 0;
    while ((got = ::recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
    }
    if (got == 0 || errno != EAGAIN) ++lost;
  }
  return lost;
}

}  // namespace ringscale::bench

#include "tools/serverd/relay_probe.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/tls/aead.h"
#include "core/tls/client.h"

namespace ringscale::serverd {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::string_view kPinPrefix = "sha256-raw:";

// A connected socket whose reads and writes end at the deadline.
class Dialled {
 public:
  static core::Result<Dialled> Connect(const RelayTarget& target, core::Instant deadline) {
    const std::string& address = target.address.empty() ? target.host : target.address;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int status =
        getaddrinfo(address.c_str(), std::to_string(target.port).c_str(), &hints, &list);
    if (status != 0) {
      return Fail(ErrorCode::kNotFound, address + ": " + gai_strerror(status));
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &freeaddrinfo);
    core::Error last{ErrorCode::kUnavailable, address + ": no address"};
    for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
      core::Fd fd(socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!fd.valid()) continue;
      Dialled dialled(std::move(fd), deadline);
      if (connect(dialled.fd_.get(), entry->ai_addr, entry->ai_addrlen) == 0) return dialled;
      if (errno == EINPROGRESS && dialled.Wait(POLLOUT)) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(dialled.fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error == 0) return dialled;
        errno = error;
      }
      last = core::FailErrno("connect to " + address + ":" + std::to_string(target.port), errno)
                 .error();
    }
    return std::unexpected(last);
  }

  core::Result<> Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno != EAGAIN || !Wait(POLLOUT)) {
        return core::FailErrno("send", errno);
      }
    }
    return {};
  }

  // Some bytes; empty at the end of the stream.
  core::Result<std::string> Read() {
    std::string piece(16384, '\0');
    while (true) {
      const ssize_t n = recv(fd_.get(), piece.data(), piece.size(), 0);
      if (n >= 0) {
        piece.resize(static_cast<std::size_t>(n));
        return piece;
      }
      if (errno != EAGAIN || !Wait(POLLIN)) return core::FailErrno("receive", errno);
    }
  }

 private:
  Dialled(core::Fd fd, core::Instant deadline) : fd_(std::move(fd)), deadline_(deadline) {}

  bool Wait(short events) {
    const auto left = (deadline_ - core::MonotonicNow()).millis();
    pollfd entry{.fd = fd_.get(), .events = events, .revents = 0};
    if (left > 0 && poll(&entry, 1, static_cast<int>(left)) > 0) return true;
    errno = ETIMEDOUT;
    return false;
  }

  core::Fd fd_;
  core::Instant deadline_;
};

}  // namespace

core::Result<> ProbeRelay(const RelayTarget& target, core::Duration limit) {
  core::tls::ClientSettings settings;
  if (target.cert_name.starts_with(kPinPrefix)) {
    settings.verify = core::tls::ClientSettings::Verify::kSha256Pin;
    settings.pin = target.cert_name.substr(kPinPrefix.size());
  }
  auto context = core::tls::MakeClientContext(settings);
  if (!context) return core::Forward(context);
  auto socket = Dialled::Connect(target, core::MonotonicNow() + limit);
  if (!socket) return core::Forward(socket);
  auto handshake = core::tls::StartClientHandshake(*context, target.host);
  if (!handshake) return core::Forward(handshake);

  auto status = (*handshake)->Feed({});
  while (true) {
    if (auto sent = socket->Write((*handshake)->TakeOutput()); !sent) return sent;
    if (!status) return Fail(status.error().code, "TLS: " + status.error().message);
    if (*status == core::tls::ClientHandshake::Status::kDone) break;
    auto bytes = socket->Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) return Fail(ErrorCode::kClosed, "closed during the TLS handshake");
    status = (*handshake)->Feed(core::AsBytes(*bytes));
  }
  auto transport = (*handshake)->Finish();
  if (!transport) return core::Forward(transport);

  core::tls::AeadPool pool;
  const std::string request =
      "GET /derp/probe HTTP/1.1\r\nHost: " + target.host + "\r\nConnection: close\r\n\r\n";
  const std::string_view pieces[] = {request};
  std::string wire;
  if (auto sealed = transport->Seal(pool, pieces, wire); !sealed) return sealed;
  if (auto sent = socket->Write(wire); !sent) return sent;
  std::string answer;
  while (answer.find("\r\n") == std::string::npos) {
    auto bytes = socket->Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) return Fail(ErrorCode::kClosed, "closed before it answered");
    auto opened = transport->Receive(
        pool, {reinterpret_cast<std::uint8_t*>(bytes->data()), bytes->size()},
        [&](core::MutableBytes plaintext) { answer += core::AsText(plaintext); });
    if (!opened && answer.empty()) return opened;
  }
  if (!answer.starts_with("HTTP/1.1 200 ")) {
    return Fail(ErrorCode::kInvalid, "/derp/probe answered " + answer.substr(0, answer.find('\r')));
  }
  return {};
}

struct RelayProber::Shared {
  Target target;
  Report report;
  core::Duration interval;
  std::mutex mutex;
  std::condition_variable stop_changed;
  bool stop = false;
  std::thread thread;

  void Run() {
    std::unique_lock lock(mutex);
    while (!stop) {
      lock.unlock();
      const RelayTarget now = target();
      report(now, ProbeRelay(now, core::Seconds(10)));
      lock.lock();
      stop_changed.wait_for(lock, std::chrono::nanoseconds(interval.ns), [this] { return stop; });
    }
  }
};

RelayProber::RelayProber(Target target, Report report, core::Duration interval)
    : shared_(std::make_unique<Shared>()) {
  shared_->target = std::move(target);
  shared_->report = std::move(report);
  shared_->interval = interval;
  shared_->thread = std::thread([shared = shared_.get()] { shared->Run(); });
}

RelayProber::~RelayProber() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->stop_changed.notify_all();
  shared_->thread.join();
}

}  // namespace ringscale::serverd

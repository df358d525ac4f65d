#include "bench/lib/tcp_flows.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

#include "bench/lib/machine_load.h"

namespace ringscale::bench {
namespace {

constexpr std::uint16_t kPort = 5201;
constexpr core::Duration kConnectLimit = core::Seconds(15);
constexpr std::size_t kWrite = 256 * 1024;

}  // namespace

struct TcpFlows::State {
  explicit State(std::size_t count) : received(count) {}

  core::Fd listener;
  core::Fd epoll;
  std::vector<core::Fd> senders;
  std::vector<core::Fd> receivers;
  std::vector<std::atomic<std::uint64_t>> received;
  std::atomic<bool> stop{false};
  std::thread thread;
  std::vector<std::uint8_t> zeros = std::vector<std::uint8_t>(kWrite);

  void Watch(int fd, std::uint32_t events, std::uint64_t tag) const {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  }
  core::Result<> Accept();
  void Run();
  void Read(std::size_t flow);
};

// Waits for all of them; connections that are slow to come are the relay's fault.
core::Result<> TcpFlows::State::Accept() {
  const core::Instant until = core::MonotonicNow() + kConnectLimit;
  while (receivers.size() < received.size()) {
    core::Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.valid()) {
      receivers.push_back(std::move(fd));
    } else if (core::MonotonicNow() > until) {
      return core::Fail(core::ErrorCode::kTimeout,
                        "TCP through the relay does not connect: the relay carries no packets");
    } else {
      SleepFor(core::Millis(1));
    }
  }
  return {};
}

void TcpFlows::State::Read(std::size_t flow) {
  // Without copying: what arrives is nobody's.
  const ssize_t got = recv(receivers[flow].get(), nullptr, 1 << 20, MSG_TRUNC);
  if (got > 0) received[flow].fetch_add(static_cast<std::uint64_t>(got), std::memory_order_relaxed);
}

void TcpFlows::State::Run() {
  constexpr int kEvents = 64;
  epoll_event events[kEvents];
  while (!stop.load(std::memory_order_relaxed)) {
    const int count = epoll_wait(epoll.get(), events, kEvents, 5);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events[i].data.u64;
      if (tag < receivers.size()) {
        Read(tag);
      } else {
        (void)send(senders[tag - receivers.size()].get(), zeros.data(), zeros.size(),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
  }
}

core::Result<std::unique_ptr<TcpFlows>> TcpFlows::Start(const TunHost& from, std::uint8_t to_number,
                                                        const TunHost& to, std::size_t count,
                                                        const std::string& congestion) {
  auto state = std::make_unique<State>(count);
  auto listener = to.Listen(kPort);
  if (!listener) return core::Forward(listener);
  state->listener = std::move(*listener);
  state->epoll = core::Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll.valid()) return core::FailErrno("epoll_create1", errno);
  for (std::size_t i = 0; i < count; ++i) {
    auto sender = from.Connect(to_number, kPort, congestion);
    if (!sender) return core::Forward(sender);
    state->senders.push_back(std::move(*sender));
  }
  if (auto accepted = state->Accept(); !accepted) return core::Forward(accepted);
  for (std::size_t i = 0; i < count; ++i) {
    state->Watch(state->receivers[i].get(), EPOLLIN, i);
    state->Watch(state->senders[i].get(), EPOLLOUT, count + i);
  }
  state->thread = std::thread([&state = *state] { state.Run(); });
  return std::unique_ptr<TcpFlows>(new TcpFlows(std::move(state)));
}

TcpFlows::TcpFlows(std::unique_ptr<State> state) : state_(std::move(state)) {}

TcpFlows::~TcpFlows() {
  state_->stop.store(true, std::memory_order_relaxed);
  state_->thread.join();
}

std::vector<TcpFlows::Sender> TcpFlows::Senders() const {
  std::vector<Sender> senders;
  for (const core::Fd& fd : state_->senders) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    senders.push_back({.segments = info.tcpi_segs_out,
                       .retransmits = info.tcpi_total_retrans,
                       .rtt = core::Micros(info.tcpi_rtt),
                       .window_bytes = std::uint64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss});
  }
  return senders;
}

std::vector<std::uint64_t> TcpFlows::ReceivedBytes() const {
  std::vector<std::uint64_t> bytes;
  for (const auto& flow : state_->received) bytes.push_back(flow.load(std::memory_order_relaxed));
  return bytes;
}

}  // namespace ringscale::bench

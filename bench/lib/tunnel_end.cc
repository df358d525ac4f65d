#include "bench/lib/tunnel_end.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "bench/lib/derp_socket.h"
#include "bench/lib/machine_load.h"
#include "relay/wire/frame.h"

namespace ringscale::bench {
namespace {

constexpr std::size_t kBurst = 64;        // packets of the host a write to the relay
constexpr std::size_t kReadPiece = 8192;  // of a slow receiver
constexpr core::Duration kLongestWait = core::Millis(5);

bool IsIpv4(core::Bytes packet) {
  return packet.size() >= 20 && packet[0] >> 4 == 4;
}

}  // namespace

void WritePing(core::MutableBytes packet, PingLane lane, core::Instant sent) {
  std::ranges::fill(packet, std::uint8_t{0});
  if (lane == PingLane::kDisco) {
    std::memcpy(packet.data(), relay::kDiscoMagic, sizeof(relay::kDiscoMagic));
  }
  std::memcpy(packet.last(sizeof(sent.ns)).data(), &sent.ns, sizeof(sent.ns));
}

struct TunnelEnd::State {
  State(const TunHost& tun_host, const TunnelOptions& given, bool tls)
      : host(tun_host),
        options(given),
        packets(kBurst * static_cast<std::size_t>(given.mtu)),
        scratch(kBurst * PacketWireBytes(static_cast<std::size_t>(given.mtu), tls)),
        tls_overhead(PacketWireBytes(0, tls)) {}

  struct Delayed {
    core::Instant due;
    std::vector<std::uint8_t> packet;
  };

  const TunHost& host;
  TunnelOptions options;
  std::vector<std::uint8_t> packets;
  SocketScratch scratch;
  std::size_t tls_overhead;
  std::unique_ptr<DerpSocket> socket;
  core::NodePublic peer;
  std::atomic<bool> stop{false};
  std::thread thread;

  std::mutex mutex;  // guards the counts; taken once a turn
  Counts counts;

  // The thread's own.
  std::deque<Delayed> delayed;
  double budget = 0;  // bytes that a slow receiver may read by now
  core::Instant budget_at;

  void Run();
  void ForwardFromHost();
  bool ReceiveFromRelay(core::Instant now);
  void OnPacket(core::Bytes packet, core::Instant now);
  void WriteToHost(core::Bytes packet) const;
  void WriteDue(core::Instant now);
  [[nodiscard]] bool slow() const { return options.read_bytes_per_second != 0; }
  [[nodiscard]] bool may_read() const { return !slow() || budget >= kReadPiece; }
  [[nodiscard]] core::Duration Wait(core::Instant now) const;
};

void TunnelEnd::State::WriteToHost(core::Bytes packet) const {
  // What the device does not take is lost, as on any link.
  [[maybe_unused]] const ssize_t written = ::write(host.tun(), packet.data(), packet.size());
}

void TunnelEnd::State::OnPacket(core::Bytes packet, core::Instant now) {
  if (slow()) budget -= static_cast<double>(packet.size() + tls_overhead);
  if (IsIpv4(packet)) {
    ++counts.received;
    if (options.delay.ns == 0) return WriteToHost(packet);
    delayed.push_back({now + options.delay, {packet.begin(), packet.end()}});
    return;
  }
  if (packet.size() != kPingBytes) return;
  core::Instant sent;
  std::memcpy(&sent.ns, packet.last(sizeof(sent.ns)).data(), sizeof(sent.ns));
  (relay::LooksLikeDisco(packet) ? counts.disco_pings : counts.data_pings).Add(now - sent);
}

bool TunnelEnd::State::ReceiveFromRelay(core::Instant now) {
  const auto io = socket->Receive(
      scratch,
      [&](const relay::FrameView& frame) {
        const core::Bytes payload = frame.payload();
        if (frame.type != relay::FrameType::kRecvPacket || payload.size() < relay::kKeyBytes) {
          return;
        }
        OnPacket(payload.subspan(relay::kKeyBytes), now);
      },
      slow() ? kReadPiece : SocketScratch::kReceive);
  return io != DerpSocket::Io::kClosed;
}

void TunnelEnd::State::ForwardFromHost() {
  const auto size = static_cast<std::size_t>(options.mtu);
  for (std::size_t i = 0; i < kBurst; ++i) {
    const ssize_t got = ::read(host.tun(), packets.data(), size);
    if (got <= 0) break;
    const core::Bytes packet(packets.data(), static_cast<std::size_t>(got));
    if (!IsIpv4(packet)) continue;  // the kernel looks for IPv6 routers
    AppendPacket(*socket, scratch, peer, packet.size(), [&](core::MutableBytes out) {
      std::memcpy(out.data(), packet.data(), packet.size());
    });
    ++counts.sent;
  }
  if (socket->Flush(scratch) == DerpSocket::Io::kClosed) counts.closed = true;
}

void TunnelEnd::State::WriteDue(core::Instant now) {
  while (!delayed.empty() && delayed.front().due <= now) {
    WriteToHost(delayed.front().packet);
    delayed.pop_front();
  }
}

core::Duration TunnelEnd::State::Wait(core::Instant now) const {
  core::Duration wait = kLongestWait;
  if (!delayed.empty()) wait = std::min(wait, delayed.front().due - now);
  if (!may_read()) {
    const double missing = static_cast<double>(kReadPiece) - budget;
    wait = std::min(wait, core::Nanos(static_cast<std::int64_t>(
                              1e9 * missing / static_cast<double>(options.read_bytes_per_second))));
  }
  return std::max(wait, core::Duration{});
}

void TunnelEnd::State::Run() {
  prctl(PR_SET_TIMERSLACK, 1);
  budget_at = core::MonotonicNow();
  double cpu = OwnThreadCpuSeconds();
  while (!stop.load(std::memory_order_relaxed)) {
    const short from_relay = may_read() ? POLLIN : 0;
    const short to_relay = socket->blocked() ? POLLOUT : 0;
    std::array<pollfd, 2> fds = {
        pollfd{
            .fd = host.tun(), .events = socket->blocked() ? short{0} : short{POLLIN}, .revents = 0},
        pollfd{
            .fd = socket->fd(), .events = static_cast<short>(from_relay | to_relay), .revents = 0}};
    const core::Duration wait = Wait(core::MonotonicNow());
    const timespec limit{.tv_sec = 0, .tv_nsec = wait.ns};
    (void)ppoll(fds.data(), fds.size(), &limit, nullptr);
    const core::Instant now = core::MonotonicNow();
    const std::lock_guard lock(mutex);
    if (slow()) {
      // What was not read for want of data may be caught up with for a piece or two.
      budget = std::min(
          budget + (now - budget_at).seconds() * static_cast<double>(options.read_bytes_per_second),
          4.0 * kReadPiece);
      budget_at = now;
    }
    if ((fds[1].revents & POLLOUT) != 0) (void)socket->Resume();
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !ReceiveFromRelay(now)) {
      counts.closed = true;
      return;
    }
    if ((fds[0].revents & POLLIN) != 0) ForwardFromHost();
    WriteDue(now);
    const double used = OwnThreadCpuSeconds();
    counts.cpu_seconds += used - std::exchange(cpu, used);
  }
}

core::Result<std::unique_ptr<TunnelEnd>> TunnelEnd::Create(
    const RelayTarget& target, const std::shared_ptr<const core::tls::ClientContext>& tls,
    const TunHost& host, const TunnelOptions& options) {
  auto state = std::make_unique<State>(host, options, target.tls);
  auto socket = DerpSocket::Connect(target, tls, state->scratch);
  if (!socket) return core::Forward(socket);
  state->socket = std::move(*socket);
  if (state->slow()) {
    setsockopt(state->socket->fd(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer,
               sizeof(options.receive_buffer));
  }
  return std::unique_ptr<TunnelEnd>(new TunnelEnd(std::move(state)));
}

TunnelEnd::TunnelEnd(std::unique_ptr<State> state) : state_(std::move(state)) {}

TunnelEnd::~TunnelEnd() {
  state_->stop.store(true, std::memory_order_relaxed);
  if (state_->thread.joinable()) state_->thread.join();
}

const core::NodePublic& TunnelEnd::key() const {
  return state_->socket->key();
}

void TunnelEnd::Start(const core::NodePublic& peer) {
  state_->peer = peer;
  state_->thread = std::thread([&state = *state_] { state.Run(); });
}

TunnelEnd::Counts TunnelEnd::Cut() {
  const std::lock_guard lock(state_->mutex);
  const bool closed = state_->counts.closed;
  Counts counts = std::exchange(state_->counts, {});
  state_->counts.closed = closed;
  return counts;
}

}  // namespace ringscale::bench

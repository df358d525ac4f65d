#include "bench/lib/relay_tcp.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "bench/lib/derp_socket.h"
#include "bench/lib/machine_load.h"
#include "bench/lib/process_stats.h"
#include "bench/lib/relay_latency.h"
#include "bench/lib/tcp_flows.h"
#include "bench/lib/tun_host.h"

namespace ringscale::bench {
namespace {

constexpr std::uint8_t kSender = 1;
constexpr std::uint8_t kReceiver = 2;
constexpr core::Duration kTick = core::Millis(20);
constexpr double kBystanderBits = 128.0 * 8 * 200;  // 200 packets a second

// A third client that pings the receiving end on both lanes.
class Pinger {
 public:
  static core::Result<Pinger> Connect(const RelayTarget& target,
                                      const std::shared_ptr<const core::tls::ClientContext>& tls,
                                      const core::NodePublic& to) {
    Pinger pinger;
    pinger.to_ = to;
    pinger.scratch_ = std::make_unique<SocketScratch>(4 * PacketWireBytes(kPingBytes, target.tls));
    auto socket = DerpSocket::Connect(target, tls, *pinger.scratch_);
    if (!socket) return core::Forward(socket);
    pinger.socket_ = std::move(*socket);
    return pinger;
  }

  void Ping() {
    while (socket_->Receive(*scratch_, [](const relay::FrameView&) {}) == DerpSocket::Io::kOk) {
    }
    if (socket_->blocked()) return (void)socket_->Resume();
    const core::Instant now = core::MonotonicNow();
    for (const PingLane lane : {PingLane::kData, PingLane::kDisco}) {
      AppendPacket(*socket_, *scratch_, to_, kPingBytes,
                   [&](core::MutableBytes packet) { WritePing(packet, lane, now); });
    }
    (void)socket_->Flush(*scratch_);
  }

 private:
  core::NodePublic to_;
  std::unique_ptr<SocketScratch> scratch_;
  std::unique_ptr<DerpSocket> socket_;
};

// Everything that runs, in the order in which it has to end.
struct Setup {
  TunHost from;
  TunHost to;
  std::unique_ptr<TunnelEnd> sender;
  std::unique_ptr<TunnelEnd> receiver;
  std::unique_ptr<TcpFlows> flows;
  std::unique_ptr<LatencyProbe> bystanders;
  std::optional<Pinger> pinger;
};

core::Result<> Start(Setup& setup, const RelayTarget& target, const TcpOptions& options) {
  auto tls = MakeBenchTlsContext(options.cipher_suites);
  if (!tls) return core::Forward(tls);
  for (auto [host, number] : {std::pair{&setup.from, kSender}, {&setup.to, kReceiver}}) {
    auto made = TunHost::Create(number, options.tunnel.mtu);
    if (!made) return core::Forward(made);
    *host = std::move(*made);
  }
  TunnelOptions tunnel = options.tunnel;
  tunnel.delay = core::Nanos(options.round_trip.ns / 2);
  auto receiver = TunnelEnd::Create(target, *tls, setup.to, tunnel);
  if (!receiver) return core::Forward(receiver);
  setup.receiver = std::move(*receiver);
  tunnel.read_bytes_per_second = 0;
  auto sender = TunnelEnd::Create(target, *tls, setup.from, tunnel);
  if (!sender) return core::Forward(sender);
  setup.sender = std::move(*sender);
  setup.sender->Start(setup.receiver->key());
  setup.receiver->Start(setup.sender->key());
  auto flows = TcpFlows::Start(setup.from, kReceiver, setup.to, options.flows, options.congestion);
  if (!flows) return core::Forward(flows);
  setup.flows = std::move(*flows);
  auto pinger = Pinger::Connect(target, *tls, setup.receiver->key());
  if (!pinger) return core::Forward(pinger);
  setup.pinger.emplace(std::move(*pinger));
  LatencyOptions latency;
  latency.packet_bytes = kPingBytes;
  latency.bits_per_second = kBystanderBits;
  latency.cipher_suites = options.cipher_suites;
  auto bystanders = LatencyProbe::Start(target, latency);
  if (!bystanders) return core::Forward(bystanders);
  setup.bystanders = std::move(*bystanders);
  return {};
}

// Counters that only grow; a result is the difference of two.
struct Counters {
  core::Instant at;
  std::vector<std::uint64_t> received;
  std::vector<TcpFlows::Sender> senders;
  double own_cpu = 0;
  std::optional<ProcessStats> server;
  std::optional<double> machine;
  RelayDrops drops;
};

core::Result<Counters> Look(const Setup& setup, const RelayTarget& target,
                            const TcpOptions& options) {
  Counters counters;
  if (!options.metrics.empty()) {
    auto drops = FetchDrops(options.metrics);
    if (!drops) return core::Forward(drops);
    counters.drops = std::move(*drops);
  }
  counters.received = setup.flows->ReceivedBytes();
  counters.senders = setup.flows->Senders();
  counters.own_cpu = OwnCpuSeconds();
  if (target.pid) counters.server = ReadProcessStats(*target.pid);
  counters.machine = MachineCpuSeconds();
  counters.at = core::MonotonicNow();
  return counters;
}

void Subtract(const Counters& before, const Counters& after, TcpResult& result) {
  result.seconds = (after.at - before.at).seconds();
  std::vector<std::uint64_t> bytes;
  bytes.reserve(after.received.size());
  for (std::size_t i = 0; i < after.received.size(); ++i) {
    bytes.push_back(after.received[i] - before.received[i]);
  }
  result.bytes = std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
  const auto [slowest, fastest] = std::ranges::minmax(bytes);
  result.slowest_flow =
      fastest == 0 ? 0 : static_cast<double>(slowest) / static_cast<double>(fastest);
  for (std::size_t i = 0; i < after.senders.size() && i < before.senders.size(); ++i) {
    result.segments += after.senders[i].segments - before.senders[i].segments;
    result.retransmits += after.senders[i].retransmits - before.senders[i].retransmits;
    result.window_bytes += after.senders[i].window_bytes;
  }
  result.own_cpu_seconds = after.own_cpu - before.own_cpu;
  if (before.server && after.server) {
    result.server_cpu_seconds = after.server->cpu_seconds - before.server->cpu_seconds;
  }
  if (before.machine && after.machine) {
    const double ours = result.own_cpu_seconds + std::max(result.server_cpu_seconds, 0.0);
    result.other_cores = std::max((*after.machine - *before.machine - ours) / result.seconds, 0.0);
  }
  result.drops = DropsSince(after.drops, before.drops);
}

// Pings and looks for a while; true unless the relay has cut an end off.
void Pass(Setup& setup, core::Duration time, Histogram* rtt, const ProgressFn& progress) {
  const core::Instant began = core::MonotonicNow();
  std::uint64_t last = 0;
  for (int ticks = 0; core::MonotonicNow() - began < time; ++ticks) {
    setup.pinger->Ping();
    if (rtt != nullptr) {
      for (const TcpFlows::Sender& flow : setup.flows->Senders()) rtt->Add(flow.rtt);
    }
    if (ticks % 25 == 0) {
      const auto received = setup.flows->ReceivedBytes();
      const auto sum = std::accumulate(received.begin(), received.end(), std::uint64_t{0});
      progress(fmt::format(
          "{:.1f} of {:.0f} s, {:.0f} Mbit/s", (core::MonotonicNow() - began).seconds(),
          time.seconds(),
          static_cast<double>(sum - std::exchange(last, sum)) * 8 / 1e6 / (25 * kTick.seconds())));
    }
    SleepFor(kTick);
  }
}

}  // namespace

core::Result<TcpResult> MeasureTcp(const RelayTarget& target, const TcpOptions& options,
                                   const ProgressFn& progress) {
  Setup setup;
  if (auto started = Start(setup, target, options); !started) return core::Forward(started);
  Pass(setup, options.warm_up, nullptr, progress);
  auto before = Look(setup, target, options);
  if (!before) return core::Forward(before);
  (void)setup.sender->Cut();
  (void)setup.receiver->Cut();
  (void)setup.bystanders->Cut();

  TcpResult result;
  Pass(setup, options.duration, &result.rtt, progress);
  const TunnelEnd::Counts sent = setup.sender->Cut();
  const TunnelEnd::Counts received = setup.receiver->Cut();
  auto after = Look(setup, target, options);
  if (!after) return core::Forward(after);
  if (sent.closed || received.closed) {
    return core::Fail(core::ErrorCode::kClosed, "the relay has closed an end of the tunnel");
  }
  result.bystanders = setup.bystanders->Cut().delays;
  result.flows = options.flows;
  result.wanted_bytes_per_second = static_cast<double>(options.tunnel.read_bytes_per_second);
  result.round_trip_ms = options.round_trip.seconds() * 1e3;
  result.packets = sent.sent;
  result.lost = sent.sent > received.received ? sent.sent - received.received : 0;
  result.data_pings = received.data_pings;
  result.disco_pings = received.disco_pings;
  result.drops_known = !options.metrics.empty();
  Subtract(*before, *after, result);
  result.busiest_thread = std::max(sent.cpu_seconds, received.cpu_seconds) / result.seconds;
  return result;
}

}  // namespace ringscale::bench

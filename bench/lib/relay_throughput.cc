#include "bench/lib/relay_throughput.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "bench/lib/derp_socket.h"
#include "bench/lib/machine_load.h"
#include "bench/lib/pacer.h"
#include "bench/lib/packet_stream.h"
#include "bench/lib/process_stats.h"

namespace ringscale::bench {
namespace {

enum class Phase : std::uint8_t { kWarmUp, kMeasure, kDrain, kStop };

// What an open-loop sender is behind by more than this is not sent any more.
constexpr core::Duration kMostBehind = core::Millis(20);
constexpr core::Duration kLongestWait = core::Millis(5);
// How long packets may take to arrive after the last was sent.
constexpr core::Duration kDrainLimit = core::Seconds(3);

struct Flow {
  Flow(std::uint32_t number, const Pacer& schedule)
      : stream(number), pacer(schedule), check(number) {}
  std::uint32_t stream;
  Pacer pacer;
  StreamCheck check;
  std::unique_ptr<DerpSocket> sender;
  std::size_t receiver = 0;  // index into Worker::receivers_
  std::uint64_t next = 0;    // sequence number
  // Sequence numbers of the measured time.
  std::uint64_t first_measured = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t end_measured = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t attempted = 0;
  std::uint64_t delivered = 0;
  std::uint64_t in_time = 0;
  bool closed = false;
  bool slow = false;             // its receiver reads slowly
  std::uint64_t bytes_read = 0;  // by a slow receiver
};

// One thread with its flows.
class Worker {
 public:
  Worker(const RelayTarget& target, const ThroughputOptions& options)
      : target_(target),
        options_(options),
        scratch_(options.coalesce * PacketWireBytes(options.packet_bytes, target.tls)) {}

  core::Result<> Connect(const std::shared_ptr<const core::tls::ClientContext>& tls,
                         std::size_t first, std::size_t count, std::size_t receivers,
                         std::size_t slow, std::size_t all);
  void Run(const std::atomic<Phase>& phase);
  void AddTo(ThroughputResult& result, std::uint64_t& slowest, std::uint64_t& fastest) const;
  [[nodiscard]] bool drained() const { return drained_.load(std::memory_order_acquire); }
  // For progress.
  [[nodiscard]] std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }

 private:
  void Enter(Phase phase);
  void SendDue(Flow& flow);
  void OnEvent(std::uint64_t tag);
  void ReceiveFrom(std::size_t receiver, std::size_t most);
  void ReadSlowly(core::Instant now);
  void OnPacket(core::Bytes packet, core::Instant now);
  [[nodiscard]] core::Duration UntilNext(core::Instant now) const;

  const RelayTarget& target_;
  const ThroughputOptions& options_;
  SocketScratch scratch_;
  core::Fd epoll_;
  std::vector<Flow> flows_;
  std::vector<std::unique_ptr<DerpSocket>> receivers_;
  std::uint32_t first_stream_ = 0;
  Phase phase_ = Phase::kWarmUp;
  core::Instant began_;
  Histogram latency_;
  double cpu_at_start_ = 0;
  double cpu_seconds_ = 0;
  std::uint64_t foreign_ = 0;  // packets that belong to no flow
  std::uint64_t receivers_closed_ = 0;
  std::atomic<bool> drained_{false};
  std::atomic<std::uint64_t> received_{0};
};

constexpr std::uint64_t kReceiverTag = std::uint64_t{1} << 32;

core::Result<> Worker::Connect(const std::shared_ptr<const core::tls::ClientContext>& tls,
                               std::size_t first, std::size_t count, std::size_t receivers,
                               std::size_t slow, std::size_t all) {
  epoll_ = core::Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return core::FailErrno("epoll_create1", errno);
  first_stream_ = static_cast<std::uint32_t>(first);
  const auto watch = [&](const DerpSocket& socket, std::uint32_t events, std::uint64_t tag) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.fd(), &event);
  };
  for (std::size_t i = 0; i < receivers + slow; ++i) {
    auto receiver = DerpSocket::Connect(options_.receivers_at.value_or(target_), tls, scratch_);
    if (!receiver) return core::Forward(receiver);
    receivers_.push_back(std::move(*receiver));
    // Slow ones are not told when there is something to read: they look by the clock.
    if (i < receivers) watch(*receivers_.back(), EPOLLIN, kReceiverTag | i);
  }
  const double packets_per_second = options_.bits_per_second / 8 /
                                    static_cast<double>(options_.packet_bytes) /
                                    static_cast<double>(all);
  for (std::size_t i = 0; i < count + slow; ++i) {
    // Bursts of different pairs do not fall together.
    const double share = static_cast<double>((first + i) % all) / static_cast<double>(all);
    const core::Duration phase = packets_per_second > 0
                                     ? core::Nanos(static_cast<std::int64_t>(
                                           1e9 * options_.coalesce / packets_per_second * share))
                                     : core::Duration{};
    Flow& flow = flows_.emplace_back(
        static_cast<std::uint32_t>(first + i),
        Pacer(packets_per_second, options_.coalesce, core::MonotonicNow(), phase));
    flow.slow = i >= count;
    flow.receiver = flow.slow ? receivers + i - count : i % receivers;
    auto sender = DerpSocket::Connect(target_, tls, scratch_);
    if (!sender) return core::Forward(sender);
    flow.sender = std::move(*sender);
    watch(*flow.sender, EPOLLIN | EPOLLOUT | EPOLLET, i);
  }
  return {};
}

void Worker::Enter(Phase phase) {
  phase_ = phase;
  if (phase == Phase::kMeasure) {
    cpu_at_start_ = OwnThreadCpuSeconds();
    for (Flow& flow : flows_) flow.first_measured = flow.next;
  } else if (phase == Phase::kDrain) {
    cpu_seconds_ = OwnThreadCpuSeconds() - cpu_at_start_;
    for (Flow& flow : flows_) flow.end_measured = flow.next;
  }
}

void Worker::OnPacket(core::Bytes packet, core::Instant now) {
  const std::uint32_t stream = packet.size() < kPacketHead ? 0 : core::LoadBe32(packet.data());
  if (packet.size() < kPacketHead || stream < first_stream_ ||
      stream - first_stream_ >= flows_.size()) {
    ++foreign_;
    return;
  }
  Flow& flow = flows_[stream - first_stream_];
  const StreamCheck::Seen seen = flow.check.Check(packet);
  if (!seen.good) return;
  if (phase_ == Phase::kMeasure) {
    ++flow.in_time;
    if (!flow.slow) latency_.Add(now - seen.sent);
  }
  if (seen.sequence >= flow.first_measured && seen.sequence < flow.end_measured) ++flow.delivered;
}

void Worker::ReceiveFrom(std::size_t index, std::size_t most) {
  auto& receiver = receivers_[index];
  if (receiver == nullptr) return;
  std::uint64_t packets = 0;
  const core::Instant now = core::MonotonicNow();
  const auto io = receiver->Receive(
      scratch_,
      [&](const relay::FrameView& frame) {
        if (frame.type != relay::FrameType::kRecvPacket) return;
        ++packets;
        OnPacket(frame.payload().subspan(std::min(relay::kKeyBytes, frame.payload().size())), now);
      },
      most);
  received_.store(received_.load(std::memory_order_relaxed) + packets, std::memory_order_relaxed);
  if (io == DerpSocket::Io::kClosed) {
    receiver.reset();
    ++receivers_closed_;
  }
}

// Slow receivers read as much as their rate allows by now, in pieces.
void Worker::ReadSlowly(core::Instant now) {
  constexpr std::uint64_t kPiece = 16 * 1024;
  const auto allowed = static_cast<std::uint64_t>(
      (now - began_).seconds() * static_cast<double>(options_.slow_bytes_per_second));
  for (Flow& flow : flows_) {
    if (!flow.slow || flow.bytes_read + kPiece > allowed) continue;
    flow.bytes_read += kPiece;
    ReceiveFrom(flow.receiver, kPiece);
  }
}

void Worker::OnEvent(std::uint64_t tag) {
  using Io = DerpSocket::Io;
  if ((tag & kReceiverTag) != 0) {
    ReceiveFrom(tag & ~kReceiverTag, SocketScratch::kReceive);
    return;
  }
  Flow& flow = flows_[tag];
  if (flow.closed) return;
  if (flow.sender->blocked() && flow.sender->Resume() == Io::kClosed) flow.closed = true;
  // Edge-triggered, so all of it: keep-alives and news of peers, which are few.
  while (!flow.closed) {
    const Io io = flow.sender->Receive(scratch_, [](const relay::FrameView&) {});
    if (io == Io::kWouldBlock) break;
    if (io == Io::kClosed) flow.closed = true;
  }
}

void Worker::SendDue(Flow& flow) {
  const core::Instant now = core::MonotonicNow();
  const std::uint64_t due = flow.pacer.Due(now);
  if (due == 0) return;
  const bool measured = phase_ == Phase::kMeasure;
  const std::uint32_t burst = flow.pacer.burst();
  const bool possible = !flow.closed && !flow.sender->blocked();
  if (!flow.pacer.unlimited() && now - flow.pacer.Next() > kMostBehind) {
    const std::uint64_t late = possible ? due - 1 : due;
    flow.pacer.Take(late);
    if (measured) flow.attempted += late * burst;
  }
  if (!possible) return;
  for (std::uint32_t i = 0; i < burst; ++i) {
    AppendPacket(*flow.sender, scratch_,
                 receivers_[flow.receiver] == nullptr ? core::NodePublic{}
                                                      : receivers_[flow.receiver]->key(),
                 options_.packet_bytes, [&](core::MutableBytes packet) {
                   WritePacket(packet, flow.stream, flow.next, now);
                 });
    ++flow.next;
  }
  flow.pacer.Take();
  if (measured) flow.attempted += burst;
  if (flow.sender->Flush(scratch_) == DerpSocket::Io::kClosed) flow.closed = true;
}

core::Duration Worker::UntilNext(core::Instant now) const {
  if (phase_ >= Phase::kDrain) return core::Millis(1);
  core::Duration wait = kLongestWait;
  for (const Flow& flow : flows_) {
    if (flow.closed || flow.sender->blocked()) continue;
    wait = std::min(wait, flow.pacer.Next() - now);
    if (wait.ns <= 0) return {};
  }
  return wait;
}

void Worker::Run(const std::atomic<Phase>& phase) {
  prctl(PR_SET_TIMERSLACK, 1);
  began_ = core::MonotonicNow();
  constexpr int kEvents = 256;
  epoll_event events[kEvents];
  core::Instant draining_since;
  for (;;) {
    const Phase now_in = phase.load(std::memory_order_acquire);
    if (now_in == Phase::kStop) return;
    if (now_in != phase_) {
      Enter(now_in);
      draining_since = core::MonotonicNow();
    }
    if (phase_ < Phase::kDrain) {
      for (Flow& flow : flows_) SendDue(flow);
    } else if (!drained_.load(std::memory_order_relaxed)) {
      const bool all = std::ranges::all_of(flows_, [](const Flow& flow) {
        return flow.closed || flow.slow ||
               flow.delivered == flow.end_measured - flow.first_measured;
      });
      if (all || core::MonotonicNow() - draining_since > kDrainLimit) {
        drained_.store(true, std::memory_order_release);
      }
    }
    const core::Duration wait = UntilNext(core::MonotonicNow());
    const timespec limit{.tv_sec = 0, .tv_nsec = wait.ns};
    const int count = epoll_pwait2(epoll_.get(), events, kEvents, &limit, nullptr);
    for (int i = 0; i < count; ++i) OnEvent(events[i].data.u64);
    ReadSlowly(core::MonotonicNow());
  }
}

void Worker::AddTo(ThroughputResult& result, std::uint64_t& slowest, std::uint64_t& fastest) const {
  for (const Flow& flow : flows_) {
    result.corrupt += flow.check.corrupt();
    result.misplaced += flow.check.misplaced();
    result.closed += flow.closed ? 1 : 0;
    if (flow.slow) {
      result.slow_delivered += flow.in_time;
      ++result.slow_pairs;
      continue;
    }
    result.attempted += flow.attempted;
    result.offered += flow.end_measured - flow.first_measured;
    result.delivered += flow.delivered;
    result.in_time += flow.in_time;
    slowest = std::min(slowest, flow.delivered);
    fastest = std::max(fastest, flow.delivered);
  }
  result.corrupt += foreign_;
  result.closed += receivers_closed_;
  result.own_cpu_seconds += cpu_seconds_;
  result.busiest_thread = std::max(result.busiest_thread, cpu_seconds_ / result.seconds);
  result.latency.Merge(latency_);
}

// Of both when there are two.
std::optional<ProcessStats> StatsOfRelays(const RelayTarget& target,
                                          const std::optional<RelayTarget>& other) {
  auto stats = target.pid ? ReadProcessStats(*target.pid) : std::nullopt;
  if (!stats || !other || other->pid == target.pid) return stats;
  const auto more = other->pid ? ReadProcessStats(*other->pid) : std::nullopt;
  if (!more) return std::nullopt;
  stats->cpu_seconds += more->cpu_seconds;
  stats->rss_bytes += more->rss_bytes;
  return stats;
}

}  // namespace

core::Result<ThroughputResult> MeasureThroughput(const RelayTarget& target,
                                                 const ThroughputOptions& options,
                                                 const ProgressFn& progress) {
  auto tls = MakeBenchTlsContext(options.cipher_suites);
  if (!tls) return core::Forward(tls);
  const std::size_t receivers = options.receivers == 0 ? options.pairs : options.receivers;
  // A receiver's flows are on its thread.
  const std::size_t count =
      std::clamp<std::size_t>(options.threads, 1, std::min(options.pairs, receivers));
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = options.pairs * i / count;
    const std::size_t end = options.pairs * (i + 1) / count;
    const std::size_t share = receivers * (i + 1) / count - receivers * i / count;
    workers.push_back(std::make_unique<Worker>(target, options));
    if (auto connected = workers.back()->Connect(*tls, first, end - first, share,
                                                 i == 0 ? options.slow_pairs : 0, options.pairs);
        !connected) {
      return core::Forward(connected);
    }
  }
  std::atomic<Phase> phase{Phase::kWarmUp};
  std::vector<std::thread> threads;
  threads.reserve(workers.size());
  for (auto& worker : workers) {
    threads.emplace_back([&phase, &worker = *worker] { worker.Run(phase); });
  }
  const auto server = [&] { return StatsOfRelays(target, options.receivers_at); };
  SleepFor(options.warm_up);
  const auto server_before = server();
  const auto machine_before = MachineCpuSeconds();
  const core::Instant began = core::MonotonicNow();
  phase.store(Phase::kMeasure, std::memory_order_release);
  std::uint64_t last = 0;
  for (const auto& worker : workers) last += worker->received();
  while (core::MonotonicNow() - began < options.duration) {
    constexpr core::Duration kTell = core::Millis(500);
    const core::Duration left = options.duration - (core::MonotonicNow() - began);
    SleepFor(std::clamp(left, core::Duration{}, kTell));
    std::uint64_t received = 0;
    for (const auto& worker : workers) received += worker->received();
    progress(fmt::format("{:.1f} of {:.0f} s, {:.0f} Mbit/s",
                         (core::MonotonicNow() - began).seconds(), options.duration.seconds(),
                         static_cast<double>((received - last) * options.packet_bytes) * 8 / 1e6 /
                             std::min(kTell, std::max(left, core::Millis(1))).seconds()));
    last = received;
  }
  phase.store(Phase::kDrain, std::memory_order_release);
  const core::Instant ended = core::MonotonicNow();
  const auto server_after = server();
  const auto machine_after = MachineCpuSeconds();
  while (!std::ranges::all_of(workers, [](const auto& worker) { return worker->drained(); })) {
    SleepFor(core::Millis(2));
  }
  phase.store(Phase::kStop, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();

  ThroughputResult result;
  result.seconds = (ended - began).seconds();
  result.packet_bytes = options.packet_bytes;
  if (server_before && server_after) {
    result.server_cpu_seconds = server_after->cpu_seconds - server_before->cpu_seconds;
    result.server_rss_bytes = server_after->rss_bytes;
  }
  std::uint64_t slowest = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t fastest = 0;
  for (const auto& worker : workers) worker->AddTo(result, slowest, fastest);
  if (machine_before && machine_after) {
    const double ours = result.own_cpu_seconds + std::max(result.server_cpu_seconds, 0.0);
    result.other_cores = std::max((*machine_after - *machine_before - ours) / result.seconds, 0.0);
  }
  result.slowest_pair =
      fastest == 0 ? 0 : static_cast<double>(slowest) / static_cast<double>(fastest);
  return result;
}

}  // namespace ringscale::bench

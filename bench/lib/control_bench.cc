#include "bench/lib/control_bench.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/lib/control_node.h"
#include "bench/lib/process_stats.h"

namespace ringscale::bench {
namespace {

using core::Duration;
using core::Instant;
using core::Seconds;

// What one phase cost.
struct Phase {
  std::string name;
  double wall_seconds = 0;
  double server_cpu_seconds = 0;  // negative: not known
  double own_cpu_seconds = 0;
  std::uint64_t bytes = 0;     // received by all nodes
  std::uint64_t messages = 0;  // framed map messages, all nodes
  std::size_t done = 0;
  std::size_t failed = 0;
  bool timed_out = false;
};

core::Result<ControlTarget> ParseTarget(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "--server takes http://ADDRESS:PORT (a literal address), not '" + url + "'");
  }
  std::string host = url.substr(kScheme.size());
  while (host.ends_with('/')) host.pop_back();
  if (host.starts_with("localhost")) host.replace(0, 9, "127.0.0.1");
  auto address = core::SocketAddress::Parse(host);
  if (!address) {
    return core::Fail(core::ErrorCode::kInvalid, "'" + host + "' is not ADDRESS:PORT");
  }
  ControlTarget target{.address = *address, .host = host, .server_key = {}};
  auto key = FetchServerKey(*address, host);
  if (!key) return core::Forward(key);
  target.server_key = *key;
  return target;
}

class Bench {
 public:
  Bench(const ControlBenchOptions& options, ControlTarget target,
        std::unique_ptr<core::engine::Loop> loop)
      : options_(options), target_(std::move(target)), loop_(std::move(loop)) {}

  void Run();
  void Print() const;

 private:
  struct Slot {
    std::unique_ptr<ControlNode> node;
    bool registered = false;
    bool has_map = false;
    std::uint64_t largest_message = 0;
    bool told = false;  // of the change under way
  };

  // Starts work for every node, `in_flight` at a time, and runs the loop until
  // all have called Finished() or the limit has passed.
  void RunPhase(std::string name, std::function<void(std::size_t)> start, std::size_t count,
                std::size_t in_flight);
  void Finished(bool ok);
  void StartMore();
  void Progress(bool last);
  void OnMapMessage(std::size_t index, std::string_view message);
  // True when the decompressed message holds the marker; equal messages to many
  // nodes are decompressed once.
  bool HoldsMarker(std::string_view message);
  void RunChanges();
  void ConnectThenPoll(std::size_t index);
  [[nodiscard]] std::uint64_t TotalBytes() const;
  [[nodiscard]] double ServerCpu() const;

  const ControlBenchOptions& options_;
  ControlTarget target_;
  std::unique_ptr<core::engine::Loop> loop_;
  std::vector<Slot> slots_;
  std::vector<Phase> phases_;
  std::vector<double> told_seconds_;
  std::vector<double> last_told_seconds_;
  std::size_t not_told_ = 0;
  std::uint64_t change_bytes_ = 0;
  double change_cpu_ = 0;
  std::optional<pid_t> pid_;
  std::uint64_t rss_after_connect_ = 0;
  std::uint64_t messages_ = 0;

  // The phase under way.
  std::function<void(std::size_t)> start_;
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  std::size_t running_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t done_ = 0;
  std::size_t failed_ = 0;
  std::string name_;
  Instant last_progress_;

  // The change under way.
  std::string marker_;
  std::size_t changer_ = 0;
  std::size_t waiting_ = 0;
  Instant changed_at_;
  std::string last_message_;
  bool last_message_holds_ = false;
};

double Bench::ServerCpu() const {
  if (!pid_) return -1;
  const auto stats = ReadProcessStats(*pid_);
  return stats ? stats->cpu_seconds : -1;
}

std::uint64_t Bench::TotalBytes() const {
  std::uint64_t total = 0;
  for (const auto& slot : slots_) total += slot.node->bytes_received();
  return total;
}

void Bench::Progress(bool last) {
  if (options_.quiet || isatty(STDERR_FILENO) == 0) return;
  if (!last && loop_->Now() - last_progress_ < core::Millis(200)) return;
  last_progress_ = loop_->Now();
  std::fprintf(stderr, "\r%-22s %zu of %zu, %zu failed%s", name_.c_str(), done_, count_, failed_,
               last ? "\n" : "");
}

void Bench::StartMore() {
  while (next_ < count_ && running_ < in_flight_) {
    ++running_;
    start_(next_++);
  }
}

void Bench::Finished(bool ok) {
  if (running_ == 0) return;
  --running_;
  ok ? ++done_ : ++failed_;
  Progress(false);
  if (done_ + failed_ == count_) {
    loop_->Stop();
    return;
  }
  // Not from inside the node that just finished.
  if (!loop_->Post([this] { StartMore(); })) StartMore();
}

void Bench::RunPhase(std::string name, std::function<void(std::size_t)> start, std::size_t count,
                     std::size_t in_flight) {
  name_ = std::move(name);
  start_ = std::move(start);
  count_ = count;
  in_flight_ = in_flight;
  next_ = running_ = done_ = failed_ = 0;
  const double cpu = ServerCpu();
  const double own = OwnCpuSeconds();
  const std::uint64_t bytes = TotalBytes();
  const std::uint64_t messages = messages_;
  const Instant began = core::MonotonicNow();
  bool timed_out = false;
  const auto timer = loop_->After(Seconds(options_.phase_limit_seconds), [&] {
    timed_out = true;
    loop_->Stop();
  });
  loop_->After(Duration{}, [this] { StartMore(); });
  loop_->Run();
  loop_->CancelTimer(timer);
  Progress(true);
  Phase phase;
  phase.name = name_;
  phase.wall_seconds = (core::MonotonicNow() - began).seconds();
  phase.server_cpu_seconds = cpu < 0 ? -1 : ServerCpu() - cpu;
  phase.own_cpu_seconds = OwnCpuSeconds() - own;
  phase.bytes = TotalBytes() - bytes;
  phase.messages = messages_ - messages;
  phase.done = done_;
  phase.failed = failed_;
  phase.timed_out = timed_out;
  phases_.push_back(std::move(phase));
}

bool Bench::HoldsMarker(std::string_view message) {
  if (message == last_message_) return last_message_holds_;
  std::string text;
  std::string piece(1 << 16, '\0');
  ZSTD_DStream* stream = ZSTD_createDStream();
  ZSTD_inBuffer in{message.data(), message.size(), 0};
  while (in.pos < in.size) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    const std::size_t status = ZSTD_decompressStream(stream, &out, &in);
    if (ZSTD_isError(status) != 0) break;
    text.append(piece.data(), out.pos);
  }
  ZSTD_freeDStream(stream);
  last_message_ = message;
  last_message_holds_ = text.find(marker_) != std::string::npos;
  return last_message_holds_;
}

void Bench::OnMapMessage(std::size_t index, std::string_view message) {
  Slot& slot = slots_[index];
  ++messages_;
  slot.largest_message = std::max<std::uint64_t>(slot.largest_message, message.size());
  // Keep-alives may precede the first map; they are some dozen bytes.
  if (!slot.has_map && message.size() > 100) {
    slot.has_map = true;
    Finished(true);
  }
  if (!marker_.empty() && !slot.told && index != changer_ && HoldsMarker(message)) {
    slot.told = true;
    told_seconds_.push_back((core::MonotonicNow() - changed_at_).seconds());
    if (--waiting_ == 0) {
      last_told_seconds_.push_back(told_seconds_.back());
      loop_->Stop();
    }
  }
}

void Bench::ConnectThenPoll(std::size_t index) {
  slots_[index].has_map = false;
  slots_[index].node->Connect();
}

void Bench::RunChanges() {
  const double cpu = ServerCpu();
  const std::uint64_t bytes = TotalBytes();
  name_ = "changes";
  count_ = options_.changes;
  failed_ = 0;
  for (std::size_t i = 0; i < options_.changes; ++i) {
    done_ = i;
    Progress(false);
    changer_ = (i * 7919) % slots_.size();
    const auto port = static_cast<std::uint16_t>(40001 + i);
    marker_ = fmt::format("192.0.2.1:{}\"", port);
    last_message_.clear();
    waiting_ = 0;
    for (auto& slot : slots_) {
      slot.told = !slot.has_map;
      waiting_ += slot.told ? 0 : 1;
    }
    if (slots_[changer_].has_map) --waiting_;
    if (waiting_ == 0) break;
    changed_at_ = core::MonotonicNow();
    slots_[changer_].node->Update(port, [](int, std::string_view) {});
    const auto timer = loop_->After(Seconds(10), [this] { loop_->Stop(); });
    loop_->Run();
    loop_->CancelTimer(timer);
    not_told_ += waiting_;
  }
  done_ = options_.changes;
  Progress(true);
  marker_.clear();
  change_bytes_ = TotalBytes() - bytes;
  change_cpu_ = cpu < 0 ? -1 : ServerCpu() - cpu;
}

void Bench::Run() {
  pid_ = options_.pid ? options_.pid : FindListener(target_.address.port);
  slots_.resize(options_.nodes);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    ControlNode::Events events;
    events.connected = [this, i](core::Result<> result) {
      Slot& slot = slots_[i];
      if (!result) {
        Finished(false);
      } else if (slot.registered) {
        slot.node->Poll();
      } else {
        slot.node->Register(options_.auth_key, [this, i](int status, std::string_view body) {
          Slot& registered = slots_[i];
          registered.registered =
              status == 200 && body.find("\"MachineAuthorized\":true") != std::string_view::npos;
          if (!registered.registered && failed_ == 0) {
            std::fprintf(stderr, "registration refused: %d %.*s\n", status,
                         static_cast<int>(std::min<std::size_t>(body.size(), 300)), body.data());
          }
          Finished(registered.registered);
        });
      }
    };
    events.map_message = [this, i](std::string_view message) { OnMapMessage(i, message); };
    events.closed = [this, i] {
      if (!slots_[i].has_map) Finished(false);
    };
    slots_[i].node = std::make_unique<ControlNode>(*loop_, target_, NodeIdentity::Generate(i),
                                                   std::move(events));
  }

  RunPhase(
      "register", [this](std::size_t i) { slots_[i].node->Connect(); }, slots_.size(),
      options_.in_flight);
  RunPhase(
      "connect", [this](std::size_t i) { slots_[i].node->Poll(); }, slots_.size(), slots_.size());
  if (pid_) {
    if (const auto stats = ReadProcessStats(*pid_)) rss_after_connect_ = stats->rss_bytes;
  }
  RunChanges();
  for (auto& slot : slots_) slot.node->Disconnect();
  // A real storm: everybody at once.
  RunPhase(
      "reconnect", [this](std::size_t i) { ConnectThenPoll(i); }, slots_.size(), slots_.size());
}

void Bench::Print() const {
  const auto stats = pid_ ? ReadProcessStats(*pid_) : std::nullopt;
  std::uint64_t largest = 0;
  for (const auto& slot : slots_) largest = std::max(largest, slot.largest_message);
  const double peers = static_cast<double>(std::max<std::size_t>(slots_.size(), 2) - 1);
  const double per_change = static_cast<double>(std::max<std::size_t>(options_.changes, 1));
  const double bytes_per_peer = static_cast<double>(largest) / peers;
  const double bytes_per_telling = static_cast<double>(change_bytes_) / per_change / peers;
  const double p50 = Percentile(told_seconds_, 0.5) * 1e3;
  const double p99 = Percentile(told_seconds_, 0.99) * 1e3;
  const double last = Percentile(last_told_seconds_, 1.0) * 1e3;

  if (options_.json) {
    fmt::print("{{\"nodes\":{},\"phases\":[", slots_.size());
    const char* separator = "";
    for (const auto& phase : phases_) {
      fmt::print(
          "{}{{\"name\":\"{}\",\"wall_s\":{:.3f},\"server_cpu_s\":{:.3f},"
          "\"own_cpu_s\":{:.3f},\"bytes\":{},\"messages\":{},\"done\":{},\"failed\":{},"
          "\"timed_out\":{}}}",
          separator, phase.name, phase.wall_seconds, phase.server_cpu_seconds,
          phase.own_cpu_seconds, phase.bytes, phase.messages, phase.done, phase.failed,
          phase.timed_out);
      separator = ",";
    }
    fmt::print(
        "],\"change\":{{\"count\":{},\"p50_ms\":{:.3f},\"p99_ms\":{:.3f},\"last_ms\":{:.3f},"
        "\"server_cpu_ms\":{:.4f},\"bytes_each\":{:.1f},\"not_told\":{}}},"
        "\"bytes_per_peer\":{:.1f},\"rss_bytes\":{},\"peak_rss_bytes\":{}}}\n",
        options_.changes, p50, p99, last, change_cpu_ < 0 ? -1 : change_cpu_ * 1e3 / per_change,
        bytes_per_telling, not_told_, bytes_per_peer, stats ? stats->rss_bytes : 0,
        stats ? stats->peak_rss_bytes : 0);
    return;
  }
  fmt::print("{} nodes, {}\n\n", slots_.size(), options_.url);
  fmt::print("{:<11} {:>7} {:>7} {:>9} {:>13} {:>13} {:>12} {:>9}\n", "phase", "done", "failed",
             "wall s", "server CPU s", "ms CPU/node", "MB received", "messages");
  for (const auto& phase : phases_) {
    const double nodes = static_cast<double>(std::max<std::size_t>(phase.done, 1));
    fmt::print("{:<11} {:>7} {:>7} {:>9.2f} {:>13} {:>13} {:>12.2f} {:>9}{}\n", phase.name,
               phase.done, phase.failed, phase.wall_seconds,
               phase.server_cpu_seconds < 0 ? "?" : fmt::format("{:.2f}", phase.server_cpu_seconds),
               phase.server_cpu_seconds < 0
                   ? "?"
                   : fmt::format("{:.3f}", phase.server_cpu_seconds * 1e3 / nodes),
               static_cast<double>(phase.bytes) / 1e6, phase.messages,
               phase.timed_out ? "  not done within the limit" : "");
  }
  fmt::print(
      "\n{} endpoint changes, each told to {:.0f} others: p50 {:.1f} ms, p99 {:.1f} ms, "
      "slowest last {:.1f} ms; {} tellings missing\n",
      options_.changes, peers, p50, p99, last, not_told_);
  if (change_cpu_ >= 0) {
    fmt::print("server CPU a change {:.2f} ms; ", change_cpu_ * 1e3 / per_change);
  }
  fmt::print("{:.0f} bytes a telling on the wire\n", bytes_per_telling);
  fmt::print("full map: {:.0f} bytes a peer (compressed)\n", bytes_per_peer);
  if (stats) {
    fmt::print(
        "server memory: {:.1f} MB with all streams open, {:.1f} MB at the end, "
        "{:.1f} MB at most\n",
        static_cast<double>(rss_after_connect_) / 1e6, static_cast<double>(stats->rss_bytes) / 1e6,
        static_cast<double>(stats->peak_rss_bytes) / 1e6);
  }
}

}  // namespace

core::Result<> RunControlBench(const ControlBenchOptions& options) {
  if (options.nodes < 2) {
    return core::Fail(core::ErrorCode::kInvalid, "--nodes: at least 2");
  }
  auto target = ParseTarget(options.url);
  if (!target) return core::Forward(target);
  core::engine::LoopOptions loop_options;
  loop_options.name = "bench";
  loop_options.buffer_count = 256;
  loop_options.buffer_size = 64 * 1024;
  auto loop = core::engine::CreateLoop(loop_options);
  if (!loop) return core::Forward(loop);
  Bench bench(options, std::move(*target), std::move(*loop));
  bench.Run();
  bench.Print();
  return {};
}

}  // namespace ringscale::bench

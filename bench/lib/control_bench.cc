#include "bench/lib/control_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/lib/control_node.h"
#include "bench/lib/control_report.h"
#include "bench/lib/map_messages.h"
#include "bench/lib/process_stats.h"
#include "core/engine/topology.h"

namespace ringscale::bench {
namespace {

using core::Duration;
using core::Instant;
using core::Millis;
using core::Seconds;

// Full maps of so many nodes are decompressed and counted; decompressing them all
// would cost the generator more than they cost the server.
constexpr std::size_t kDecodedMaps = 32;
// Keep-alives, which may precede the first map, are some dozen bytes.
constexpr std::size_t kSmallestMap = 100;
// What a change makes is smaller; larger messages are maps.
constexpr std::size_t kLargestDelta = 64 * 1024;
// No message for this long: everybody knows everything.
constexpr Duration kQuiet = Millis(300);
constexpr Duration kQuietLimit = Seconds(30);
constexpr Duration kTellingLimit = Seconds(10);
// Between changes: servers may batch what follows quickly.
constexpr Duration kPauseLeast = Millis(100);
constexpr std::int64_t kPauseFactor = 4;
constexpr Duration kRetryLeast = Millis(100);
constexpr unsigned kRetryDoublings = 5;
constexpr std::uint64_t kSpareFiles = 64;

std::size_t Occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

class Bench {
 public:
  Bench(const ControlBenchOptions& options, ControlTarget target,
        std::unique_ptr<core::engine::Loop> loop)
      : options_(options), target_(std::move(target)), loop_(std::move(loop)) {}

  core::Result<> Run();
  [[nodiscard]] const ControlReport& report() const { return report_; }

 private:
  struct Slot {
    std::unique_ptr<ControlNode> node;
    bool registered = false;
    bool live = false;        // it has a map, and its stream is open
    bool busy = false;        // it is not done with the phase
    bool setting_up = false;  // it counts against in_flight
    bool told = false;        // of the change under way
    unsigned tries = 0;
  };
  enum class Goal : std::uint8_t { kRegister, kMap };

  void MakeNodes();
  // Lets every registered node (for kRegister: every node) reach the goal.
  void RunPhase(std::string name, Goal goal);
  void RunChanges();
  void OneChange(std::size_t number);
  void Spin();
  // Runs the loop until Stop() or the limit.
  void RunLoop(Duration limit);
  void WaitForQuiet();

  void StartMore();
  void Start(std::size_t index);
  void TryAgain(std::size_t index);
  void SetUp(Slot& slot);
  void Finish(Slot& slot, bool ok);
  void OnConnected(std::size_t index, bool up);
  void OnRegistered(std::size_t index, int status, std::string_view body);
  void OnMessage(std::size_t index, std::size_t size, std::string_view message);
  void DecodeMap(std::string_view message);
  // True when the message holds the marker; equal messages to many nodes are
  // decompressed once.
  bool HoldsMarker(std::string_view message);

  struct Measure {
    Instant began;
    std::optional<double> server_cpu;
    double own_cpu = 0;
    std::uint64_t bytes = 0;
    std::uint64_t messages = 0;
  };
  [[nodiscard]] Measure Begin() const;
  void End(const Measure& begun, PhaseResult result);
  [[nodiscard]] std::uint64_t TotalBytes() const;
  void Progress(std::size_t done, std::size_t all);
  void EndProgress(const PhaseResult& result) const;

  const ControlBenchOptions& options_;
  const ControlTarget target_;
  const std::unique_ptr<core::engine::Loop> loop_;
  std::vector<Slot> slots_;
  std::optional<pid_t> pid_;
  ControlReport report_;
  std::uint64_t messages_ = 0;
  std::size_t decode_stride_ = 1;
  std::vector<double> bytes_per_peer_;  // of the maps decoded in this phase
  std::string first_problem_;

  // The phase under way. Events of nodes that are done with it change nothing.
  std::uint64_t phase_ = 0;
  std::string name_;
  Goal goal_ = Goal::kRegister;
  std::deque<std::size_t> queue_;
  std::size_t setting_up_ = 0;
  std::size_t all_ = 0;
  std::size_t done_ = 0;
  std::size_t refused_ = 0;
  std::size_t retries_ = 0;
  bool start_scheduled_ = false;
  Instant last_progress_;

  // The change under way.
  std::string marker_;
  std::size_t changer_ = 0;
  std::size_t waiting_ = 0;
  Instant changed_at_;
  std::string last_message_;
  bool last_message_holds_ = false;
};

// --- measuring ---

std::uint64_t Bench::TotalBytes() const {
  std::uint64_t total = 0;
  for (const Slot& slot : slots_) total += slot.node->bytes_received();
  return total;
}

Bench::Measure Bench::Begin() const {
  Measure measure{.began = core::MonotonicNow(), .server_cpu = std::nullopt};
  if (pid_) {
    if (const auto stats = ReadProcessStats(*pid_)) measure.server_cpu = stats->cpu_seconds;
  }
  measure.own_cpu = OwnCpuSeconds();
  measure.bytes = TotalBytes();
  measure.messages = messages_;
  return measure;
}

void Bench::End(const Measure& begun, PhaseResult result) {
  if (pid_) result.server = ReadProcessStats(*pid_);
  if (result.server && begun.server_cpu) {
    result.server_cpu_seconds = result.server->cpu_seconds - *begun.server_cpu;
  }
  result.own_cpu_seconds = OwnCpuSeconds() - begun.own_cpu;
  result.bytes = TotalBytes() - begun.bytes;
  result.messages = messages_ - begun.messages;
  EndProgress(result);
  report_.phases.push_back(std::move(result));
}

void Bench::Progress(std::size_t done, std::size_t all) {
  if (options_.quiet) return;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (loop_->Now() - last_progress_ < (terminal ? Millis(200) : Seconds(5))) return;
  last_progress_ = loop_->Now();
  std::fprintf(stderr, terminal ? "\r%-10s %zu of %zu" : "%-10s %zu of %zu\n", name_.c_str(), done,
               all);
}

void Bench::EndProgress(const PhaseResult& result) const {
  if (options_.quiet) return;
  std::fprintf(stderr, "%s%-10s %zu done, %zu failed, %zu retries, %.2f s\n",
               isatty(STDERR_FILENO) != 0 ? "\r" : "", result.name.c_str(), result.done,
               result.failed, result.retries, result.wall_seconds);
}

void Bench::RunLoop(Duration limit) {
  const auto timer = loop_->After(limit, [this] { loop_->Stop(); });
  loop_->Run();
  loop_->CancelTimer(timer);
}

void Bench::WaitForQuiet() {
  const Instant limit = core::MonotonicNow() + kQuietLimit;
  for (std::uint64_t before = messages_ + 1; before != messages_ && core::MonotonicNow() < limit;) {
    before = messages_;
    RunLoop(kQuiet);
  }
}

// --- phases ---

void Bench::RunPhase(std::string name, Goal goal) {
  ++phase_;
  name_ = std::move(name);
  goal_ = goal;
  setting_up_ = all_ = done_ = refused_ = retries_ = 0;
  start_scheduled_ = false;
  bytes_per_peer_.clear();
  queue_.clear();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    slot.setting_up = false;
    slot.tries = 0;
    slot.busy = goal == Goal::kRegister || slot.registered;
    if (!slot.busy) continue;
    ++all_;
    queue_.push_back(i);
  }
  if (all_ == 0) return;
  const Measure begun = Begin();
  loop_->After(Duration{}, [this] { StartMore(); });
  RunLoop(Seconds(options_.phase_limit_seconds));
  PhaseResult result;
  result.name = name_;
  result.wall_seconds = (core::MonotonicNow() - begun.began).seconds();
  result.done = done_;
  result.failed = all_ - done_;
  result.retries = retries_;
  for (Slot& slot : slots_) slot.busy = false;
  // What the others are told of it is part of its cost.
  if (goal == Goal::kMap) WaitForQuiet();
  if (!bytes_per_peer_.empty()) {
    report_.bytes_per_peer = Percentile(bytes_per_peer_, 0.5);
  }
  End(begun, std::move(result));
}

void Bench::StartMore() {
  start_scheduled_ = false;
  while (!queue_.empty() && setting_up_ < options_.in_flight) {
    const std::size_t index = queue_.front();
    queue_.pop_front();
    Start(index);
  }
}

void Bench::Start(std::size_t index) {
  Slot& slot = slots_[index];
  if (goal_ == Goal::kMap && slot.node->connected()) {
    slot.node->Poll();
    return;
  }
  slot.setting_up = true;
  ++setting_up_;
  slot.node->Connect();
}

// As clients do: later, and each time later still.
void Bench::TryAgain(std::size_t index) {
  Slot& slot = slots_[index];
  SetUp(slot);
  ++retries_;
  const auto delay = kRetryLeast * (std::int64_t{1} << std::min(slot.tries++, kRetryDoublings));
  loop_->After(delay, [this, index, phase = phase_] {
    if (phase != phase_ || !slots_[index].busy) return;
    queue_.push_back(index);
    StartMore();
  });
}

// It is not being set up any more, so that another one can be.
void Bench::SetUp(Slot& slot) {
  if (!std::exchange(slot.setting_up, false)) return;
  --setting_up_;
  if (queue_.empty() || std::exchange(start_scheduled_, true)) return;
  // Not from inside the node that this is about.
  loop_->After(Duration{}, [this, phase = phase_] {
    if (phase == phase_) StartMore();
  });
}

void Bench::Finish(Slot& slot, bool ok) {
  if (!std::exchange(slot.busy, false)) return;
  SetUp(slot);
  ok ? ++done_ : ++refused_;
  Progress(done_, all_);
  if (done_ + refused_ == all_) loop_->Stop();
}

// --- events ---

void Bench::OnConnected(std::size_t index, bool up) {
  Slot& slot = slots_[index];
  if (!up) {
    slot.live = false;
    if (first_problem_.empty()) first_problem_ = slot.node->last_error();
    if (slot.busy) TryAgain(index);
    return;
  }
  if (!slot.busy) return;
  if (goal_ == Goal::kMap) {
    SetUp(slot);
    slot.node->Poll();
    return;
  }
  slot.node->Register(
      options_.auth_keys[index % options_.auth_keys.size()],
      [this, index](int status, std::string_view body) { OnRegistered(index, status, body); });
}

void Bench::OnRegistered(std::size_t index, int status, std::string_view body) {
  Slot& slot = slots_[index];
  if (status == 0) return;  // the connection broke; the node tells
  slot.registered =
      status == 200 && body.find("\"MachineAuthorized\":true") != std::string_view::npos;
  if (!slot.registered && first_problem_.empty()) {
    first_problem_ =
        fmt::format("registration refused, status {}: {}", status, body.substr(0, 300));
  }
  Finish(slot, slot.registered);
}

void Bench::OnMessage(std::size_t index, std::size_t size, std::string_view message) {
  Slot& slot = slots_[index];
  ++messages_;
  if (!slot.live && size >= kSmallestMap) {
    slot.live = true;
    if (index % decode_stride_ == 0) DecodeMap(message);
    Finish(slot, true);
  }
  if (marker_.empty() || slot.told || !slot.live || !HoldsMarker(message)) return;
  slot.told = true;
  report_.told_seconds.push_back((core::MonotonicNow() - changed_at_).seconds());
  if (--waiting_ == 0) loop_->Stop();
}

void Bench::DecodeMap(std::string_view message) {
  const auto text = DecompressMessage(message);
  if (!text) {
    ++report_.maps_damaged;
    return;
  }
  // One is the node's own.
  const std::size_t keys = Occurrences(*text, "\"Key\":\"nodekey:");
  const std::size_t peers = keys == 0 ? 0 : keys - 1;
  if (bytes_per_peer_.empty()) {
    report_.maps_decoded = 0;
    report_.peers_least = report_.peers_most = peers;
  }
  ++report_.maps_decoded;
  report_.peers_least = std::min(report_.peers_least, peers);
  report_.peers_most = std::max(report_.peers_most, peers);
  bytes_per_peer_.push_back(static_cast<double>(message.size()) /
                            static_cast<double>(std::max<std::size_t>(peers, 1)));
}

// --- changes ---

bool Bench::HoldsMarker(std::string_view message) {
  if (message.empty()) return false;
  if (message == last_message_) return last_message_holds_;
  const auto text = DecompressMessage(message);
  last_message_ = message;
  last_message_holds_ = text && text->find(marker_) != std::string::npos;
  return last_message_holds_;
}

void Bench::RunChanges() {
  name_ = "changes";
  const Measure begun = Begin();
  for (std::size_t i = 0; i < options_.changes; ++i) {
    OneChange(i);
    Progress(i + 1, options_.changes);
  }
  report_.changes = options_.changes;
  PhaseResult result;
  result.name = name_;
  result.wall_seconds = (core::MonotonicNow() - begun.began).seconds();
  result.done = options_.changes;
  End(begun, std::move(result));
  const double others = static_cast<double>(std::max<std::size_t>(slots_.size(), 2) - 1);
  report_.bytes_per_telling = static_cast<double>(report_.phases.back().bytes) / others /
                              static_cast<double>(options_.changes);
}

void Bench::OneChange(std::size_t number) {
  constexpr std::uint16_t kFirstPort = 40001;  // no node begins with one of these
  constexpr std::size_t kPorts = 20000;
  constexpr std::size_t kStep = 7919;
  const auto port = static_cast<std::uint16_t>(kFirstPort + number % kPorts);
  changer_ = number * kStep % slots_.size();
  if (!slots_[changer_].live) return;
  marker_ = fmt::format("192.0.2.1:{}\"", port);
  last_message_.clear();
  waiting_ = 0;
  for (Slot& slot : slots_) {
    slot.told = !slot.live;
    waiting_ += slot.live ? 1 : 0;
  }
  slots_[changer_].told = true;
  if (--waiting_ == 0) return;
  changed_at_ = core::MonotonicNow();
  slots_[changer_].node->Update(port, [](int, std::string_view) {});
  Spin();
  RunLoop(kTellingLimit);
  const Duration took = core::MonotonicNow() - changed_at_;
  if (waiting_ == 0) report_.last_told_seconds.push_back(took.seconds());
  report_.not_told += waiting_;
  marker_.clear();
  RunLoop(std::max(kPauseLeast, took * kPauseFactor));
}

// Stays awake until all have been told: on the same machine, waking a sleeping
// generator for each message would be the server's work.
void Bench::Spin() {
  if (marker_.empty()) return;
  loop_->After(Duration{}, [this] { Spin(); });
}

// --- the whole run ---

void Bench::MakeNodes() {
  slots_.resize(options_.nodes);
  decode_stride_ = std::max<std::size_t>(1, options_.nodes / kDecodedMaps);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    ControlNode::Events events;
    events.connected = [this, i](const core::Result<>& result) {
      OnConnected(i, result.has_value());
    };
    events.closed = [this, i] { OnConnected(i, false); };
    events.map_message = [this, i](std::string_view message) {
      OnMessage(i, message.size(), message);
    };
    events.wants_message = [this, i](std::size_t size) {
      return size <= kLargestDelta || (!slots_[i].live && i % decode_stride_ == 0);
    };
    events.skipped_message = [this, i](std::size_t size) { OnMessage(i, size, {}); };
    slots_[i].node = std::make_unique<ControlNode>(*loop_, target_, NodeIdentity::Generate(i),
                                                   std::move(events));
  }
}

core::Result<> Bench::Run() {
  report_.url = options_.url;
  report_.nodes = options_.nodes;
  pid_ = options_.pid ? options_.pid : FindListener(target_.address.port);
  MakeNodes();
  RunPhase("register", Goal::kRegister);
  if (done_ == 0) {
    return core::Fail(core::ErrorCode::kUnavailable, "no node could register: " + first_problem_);
  }
  RunPhase("connect", Goal::kMap);
  if (options_.changes > 0) RunChanges();
  for (Slot& slot : slots_) {
    slot.node->Disconnect();
    slot.live = false;
  }
  // Everybody at once, with the keys they have.
  RunPhase("reconnect", Goal::kMap);
  if (!first_problem_.empty() && !options_.quiet) {
    std::fprintf(stderr, "first problem: %s\n", first_problem_.c_str());
  }
  return {};
}

}  // namespace

core::Result<> RunControlBench(const ControlBenchOptions& options) {
  if (options.nodes < 2) {
    return core::Fail(core::ErrorCode::kInvalid, "--nodes: at least 2");
  }
  if (options.in_flight == 0) {
    return core::Fail(core::ErrorCode::kInvalid, "--in-flight: at least 1");
  }
  const auto files = core::engine::RaiseFileLimit();
  if (files && *files < options.nodes + kSpareFiles) {
    return core::Fail(core::ErrorCode::kLimit,
                      fmt::format("--nodes {}: each needs a file descriptor, and this process may "
                                  "have {} (ulimit -Hn)",
                                  options.nodes, *files));
  }
  auto target = ParseTarget(options.url, options.trust);
  if (!target) return core::Forward(target);
  auto key = FetchServerKey(*target);
  if (!key) return core::Forward(key);
  target->server_key = *key;
  core::engine::LoopOptions loop_options;
  loop_options.name = "bench";
  loop_options.buffer_count = 256;
  loop_options.buffer_size = 64 * 1024;
  auto loop = core::engine::CreateLoop(loop_options);
  if (!loop) return core::Forward(loop);
  Bench bench(options, std::move(*target), std::move(*loop));
  if (auto run = bench.Run(); !run) return run;
  const std::string text = options.json ? ReportJson(bench.report()) : ReportTable(bench.report());
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace ringscale::bench

#include "bench/lib/relay_runs.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/lib/machine_load.h"
#include "bench/lib/process_stats.h"
#include "core/engine/topology.h"

namespace ringscale::bench {
namespace {

constexpr core::Duration kLook = core::Millis(20);

double ServerCpu(const RelayTarget& target) {
  const auto stats = target.pid ? ReadProcessStats(*target.pid) : std::nullopt;
  return stats ? stats->cpu_seconds : -1;
}

StormResult::Memory MemoryNow(const RelayTarget& target) {
  const auto stats = target.pid ? ReadProcessStats(*target.pid) : std::nullopt;
  if (!stats) return {};
  return {.server = stats->rss_bytes, .kernel = KernelSlabBytes()};
}

double Since(double now, double before) {
  return now < 0 || before < 0 ? -1 : now - before;
}

// Waits until all logins of a storm are over, at most `limit`.
void Await(const LoginStorm& storm, core::Duration limit, const char* what, std::size_t total,
           const ProgressFn& progress) {
  const core::Instant until = core::MonotonicNow() + limit;
  for (int looks = 0; !storm.finished() && core::MonotonicNow() < until; ++looks) {
    if (looks % 25 == 0) {
      progress(fmt::format("{}: {} of {}, {} failed", what, storm.done(), total, storm.failed()));
    }
    SleepFor(kLook);
  }
}

}  // namespace

core::Result<ConnectResult> MeasureConnect(const RelayTarget& target, const ConnectOptions& options,
                                           const ProgressFn& progress) {
  auto probe = LatencyProbe::Start(target, options.latency);
  if (!probe) return core::Forward(probe);
  SleepFor(core::Millis(300));
  (void)(*probe)->Cut();  // the first packets of a fresh connection
  ConnectResult result;
  double cpu = ServerCpu(target);
  progress("latency alone");
  SleepFor(options.phase);
  result.alone = (*probe)->Cut();
  result.cpu_alone = Since(ServerCpu(target), cpu);
  if (!options.with_logins) return result;

  cpu = ServerCpu(target);
  result.logins_began = (*probe)->seconds();
  auto storm = LoginStorm::Start(target, options.logins);
  if (!storm) return core::Forward(storm);
  const core::Instant until = core::MonotonicNow() + options.phase;
  for (int looks = 0; core::MonotonicNow() < until; ++looks) {
    if (looks % 25 == 0) {
      progress(fmt::format("logging in: {}, {} failed", (*storm)->done(), (*storm)->failed()));
    }
    SleepFor(kLook);
  }
  result.during = (*probe)->Cut();
  result.cpu_during = Since(ServerCpu(target), cpu);
  result.logins = (*storm)->Stop();
  return result;
}

core::Result<StormResult> MeasureStorm(const RelayTarget& target, const StormOptions& options,
                                       const ProgressFn& progress) {
  constexpr core::Duration kLimit = core::Seconds(300);
  (void)core::engine::RaiseFileLimit();
  StormResult result;
  result.clients = options.logins.total;
  auto probe = LatencyProbe::Start(target, options.latency);
  if (!probe) return core::Forward(probe);
  const auto cut = [&] {
    LatencyResult part = (*probe)->Cut();
    result.series.insert(result.series.end(), part.series.begin(), part.series.end());
    return part;
  };
  SleepFor(core::Seconds(1));
  result.before = cut();
  // Only now: buffers that all clients share are in memory once they have been used.
  result.before_all = MemoryNow(target);
  LoginStormOptions logins = options.logins;
  logins.keep = true;

  double cpu = ServerCpu(target);
  result.first_began = (*probe)->seconds();
  auto storm = LoginStorm::Start(target, logins);
  if (!storm) return core::Forward(storm);
  Await(**storm, kLimit, "logging in", logins.total, progress);
  result.first = (*storm)->Stop();
  result.during_first = cut();
  result.cpu_first = Since(ServerCpu(target), cpu);
  progress("connected, settling");
  SleepFor(options.settle);
  result.connected = MemoryNow(target);
  result.lost = (*storm)->CountLost();
  cut();
  if (!options.drop) return result;

  result.dropped = (*probe)->seconds();
  (*storm)->DropAll();
  cpu = ServerCpu(target);
  auto again = LoginStorm::Start(target, logins);
  if (!again) return core::Forward(again);
  Await(**again, kLimit, "coming back", logins.total, progress);
  result.again = (*again)->Stop();
  result.during_again = cut();
  result.back = (*probe)->seconds();
  result.cpu_again = Since(ServerCpu(target), cpu);
  progress("back, settling");
  SleepFor(options.settle);
  result.came_back = MemoryNow(target);
  result.lost += (*again)->CountLost();
  cut();
  return result;
}

core::Result<OverloadResult> MeasureOverload(const RelayTarget& target,
                                             const OverloadOptions& options,
                                             const ProgressFn& progress) {
  constexpr double kKeepsUp = 0.8;  // of what was attempted arrives
  constexpr double kMostBits = 1e12;
  OverloadResult result;
  result.times = options.times;
  ThroughputOptions one = options.throughput;
  for (one.bits_per_second = options.first_bits; one.bits_per_second < kMostBits;
       one.bits_per_second *= options.growth) {
    auto run = MeasureThroughput(target, one, progress);
    if (!run) return core::Forward(run);
    const double delivered = run->Bits(run->in_time);
    const bool over = delivered < kKeepsUp * run->Bits(run->attempted);
    result.peak_bits = std::max(result.peak_bits, delivered);
    result.ramp.push_back(*run);
    if (over) break;
  }
  one.bits_per_second = options.times * result.peak_bits;
  auto run = MeasureThroughput(target, one, progress);
  if (!run) return core::Forward(run);
  result.overload = *run;
  return result;
}

}  // namespace ringscale::bench

#include "bench/lib/relay_runs.h"

#include <fmt/format.h>

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

std::uint64_t ServerRss(const RelayTarget& target) {
  const auto stats = target.pid ? ReadProcessStats(*target.pid) : std::nullopt;
  return stats ? stats->rss_bytes : 0;
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
  result.rss_before = ServerRss(target);
  auto probe = LatencyProbe::Start(target, options.latency);
  if (!probe) return core::Forward(probe);
  SleepFor(core::Seconds(1));
  LoginStormOptions logins = options.logins;
  logins.keep = true;

  double cpu = ServerCpu(target);
  result.first_began = (*probe)->seconds();
  auto storm = LoginStorm::Start(target, logins);
  if (!storm) return core::Forward(storm);
  Await(**storm, kLimit, "logging in", logins.total, progress);
  result.first = (*storm)->Stop();
  result.cpu_first = Since(ServerCpu(target), cpu);
  progress("connected, settling");
  SleepFor(options.settle);
  result.rss_connected = ServerRss(target);
  result.lost = (*storm)->CountLost();

  if (options.drop) {
    result.dropped = (*probe)->seconds();
    (*storm)->DropAll();
    cpu = ServerCpu(target);
    auto again = LoginStorm::Start(target, logins);
    if (!again) return core::Forward(again);
    Await(**again, kLimit, "coming back", logins.total, progress);
    result.again = (*again)->Stop();
    result.back = (*probe)->seconds();
    result.cpu_again = Since(ServerCpu(target), cpu);
    progress("back, settling");
    SleepFor(options.settle);
    result.rss_after = ServerRss(target);
    result.lost += (*again)->CountLost();
    result.delays = (*probe)->Cut();
    return result;
  }
  result.delays = (*probe)->Cut();
  return result;
}

}  // namespace ringscale::bench

// ringscale-bench relay: load for relays, ours or not, one or several in turn.
#pragma once

#include <string>
#include <vector>

#include "bench/lib/relay_runs.h"
#include "bench/lib/relay_soak.h"
#include "bench/lib/relay_target.h"
#include "bench/lib/relay_tcp.h"
#include "bench/lib/relay_throughput.h"
#include "core/base/result.h"

namespace ringscale::bench {

struct RelayBenchOptions {
  std::vector<RelayTarget> targets;
  unsigned rounds = 1;        // every target once a round, so that slow drifts hit all alike
  core::Duration wait_quiet;  // before each run, for other processes to calm down
  bool json = false;
  bool quiet = false;   // no progress on stderr
  std::string report;   // HTML file; empty = none
  std::string command;  // for JSON and the page
};

// `megabits`: the offered rates, 0 = as fast as possible. `mode` is what the run is
// called in reports.
core::Result<> RunRelayThroughput(const RelayBenchOptions& options, const std::string& mode,
                                  const ThroughputOptions& throughput,
                                  const std::vector<double>& megabits);
// Senders on one relay, receivers on another of the same region: every target to
// the one after it, the last to the first.
core::Result<> RunRelayMesh(const RelayBenchOptions& options, const ThroughputOptions& throughput,
                            const std::vector<double>& megabits);
core::Result<> RunRelayOverload(const RelayBenchOptions& options, const OverloadOptions& overload);
core::Result<> RunRelayConnect(const RelayBenchOptions& options, const ConnectOptions& connect);
core::Result<> RunRelayStorm(const RelayBenchOptions& options, const StormOptions& storm);
// One run for each number of flows.
core::Result<> RunRelayTcp(const RelayBenchOptions& options, const TcpOptions& tcp,
                           const std::vector<std::size_t>& flows);
core::Result<> RunRelayStun(const RelayBenchOptions& options, const StunOptions& stun);
// An error, too, when the verdict is bad.
core::Result<> RunRelaySoak(const RelayBenchOptions& options, const SoakOptions& soak);

// Runs that were printed with --json before, side by side in one table and page.
core::Result<> ShowRelayRuns(const RelayBenchOptions& options,
                             const std::vector<std::string>& files);

}  // namespace ringscale::bench

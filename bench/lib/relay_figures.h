// From results of runs to what is reported of them.
#pragma once

#include <string>

#include "bench/lib/relay_report.h"
#include "bench/lib/relay_runs.h"
#include "bench/lib/relay_tcp.h"
#include "bench/lib/relay_throughput.h"

namespace ringscale::bench {

// Each adds records (one a phase) and curves. `mode` is the name under which they
// are found; a run of the same mode adds to its charts.
void AddThroughput(RelayReport& report, const std::string& mode, const std::string& relay,
                   const ThroughputResult& result);
void AddConnect(RelayReport& report, const std::string& relay, const ConnectOptions& options,
                const ConnectResult& result);
void AddStorm(RelayReport& report, const std::string& relay, const StormResult& result);
void AddOverload(RelayReport& report, const std::string& relay, const OverloadResult& result);
void AddStun(RelayReport& report, const std::string& relay, const StunResult& result);
void AddTcp(RelayReport& report, const std::string& relay, const TcpResult& result);

}  // namespace ringscale::bench

// What ringscale-bench control found out, and how it prints it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/lib/process_stats.h"

namespace ringscale::bench {

// What one phase cost.
struct PhaseResult {
  std::string name;
  double wall_seconds = 0;
  std::optional<double> server_cpu_seconds;  // when the process is known
  double own_cpu_seconds = 0;
  std::uint64_t bytes = 0;     // received by all nodes
  std::uint64_t messages = 0;  // framed map messages, all nodes
  std::size_t done = 0;
  std::size_t failed = 0;              // refused, or not done within the limit
  std::size_t retries = 0;             // of connections that broke
  std::optional<ProcessStats> server;  // at its end
};

struct ControlReport {
  std::string url;
  std::size_t nodes = 0;
  std::vector<PhaseResult> phases;

  // Full maps that were decompressed and counted, of the last phase that had any.
  std::size_t maps_decoded = 0;
  std::size_t peers_least = 0;
  std::size_t peers_most = 0;
  double bytes_per_peer = 0;  // compressed
  std::size_t maps_damaged = 0;

  std::size_t changes = 0;
  std::vector<double> told_seconds;  // each node that was told, each change
  std::vector<double> last_told_seconds;
  std::size_t not_told = 0;
  double bytes_per_telling = 0;  // on the wire
};

[[nodiscard]] std::string ReportTable(const ControlReport& report);
[[nodiscard]] std::string ReportJson(const ControlReport& report);

}  // namespace ringscale::bench

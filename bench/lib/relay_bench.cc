#include "bench/lib/relay_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "bench/lib/machine_load.h"

namespace ringscale::bench {
namespace {

void Progress(const RelayBenchOptions& options, const std::string& text) {
  if (!options.quiet && isatty(STDERR_FILENO) != 0) {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

void PrintHead() {
  fmt::print("{:<22} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8} {:>8} {:>7} {:>9} {:>9}  {}\n", "relay",
             "wanted", "offered", "delivered", "loss %", "slowest", "CPU s/GB", "us/packet", "CPU",
             "p50 us", "p99 us", "remarks");
}

void PrintRow(const std::string& name, const ThroughputResult& r) {
  std::string remarks;
  if (r.generator_was_limit()) remarks += " generator was the limit";
  if (r.corrupt != 0) remarks += fmt::format(" {} CORRUPT", r.corrupt);
  if (r.misplaced != 0) remarks += fmt::format(" {} out of order", r.misplaced);
  if (r.closed != 0) remarks += fmt::format(" {} closed", r.closed);
  const double us = r.cpu_per_gb() * static_cast<double>(r.packet_bytes) / 1e3;
  fmt::print(
      "{:<22} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.3f} {:>7.3f} {:>8.3f} {:>8.3f} {:>7.3f} {:>9.1f} "
      "{:>9.1f} {}\n",
      name, r.Bits(r.attempted) / 1e6, r.Bits(r.offered) / 1e6, r.Bits(r.in_time) / 1e6,
      100 * r.loss(), r.slowest_pair, r.cpu_per_gb(), us, r.server_cpu_seconds / r.seconds,
      static_cast<double>(r.latency.Quantile(0.5).ns) / 1e3,
      static_cast<double>(r.latency.Quantile(0.99).ns) / 1e3,
      remarks + fmt::format(" gen {:.2f} others {:.2f}", r.busiest_thread, r.other_cores));
}

}  // namespace

core::Result<> RunRelayThroughput(const RelayBenchOptions& options,
                                  const ThroughputOptions& throughput,
                                  const std::vector<double>& megabits) {
  PrintHead();
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (const double rate : megabits) {
      for (const RelayTarget& target : options.targets) {
        Progress(options, fmt::format("{} at {} Mbit/s", target.name, rate));
        if (options.wait_quiet.ns > 0) WaitForQuietMachine(options.wait_quiet);
        ThroughputOptions one = throughput;
        one.bits_per_second = rate * 1e6;
        auto result = MeasureThroughput(target, one);
        if (!result) return core::Forward(result);
        PrintRow(target.name, *result);
        std::fflush(stdout);
      }
    }
  }
  return {};
}

}  // namespace ringscale::bench

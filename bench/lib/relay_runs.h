// The runs that ringscale-bench relay is made of, beside throughput
// (relay_throughput.h): each measures one relay once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/lib/login_storm.h"
#include "bench/lib/relay_latency.h"
#include "bench/lib/relay_target.h"
#include "bench/lib/relay_throughput.h"
#include "core/base/result.h"

namespace ringscale::bench {

// Delays of established traffic, first alone and then while clients log in.
struct ConnectOptions {
  LatencyOptions latency;
  core::Duration phase = core::Seconds(5);
  bool with_logins = true;
  LoginStormOptions logins;
};
struct ConnectResult {
  LatencyResult alone;
  LatencyResult during;
  LoginStorm::Outcome logins;
  double logins_began = 0;  // on the clock of the latency series
  // Of the server; negative when not known.
  double cpu_alone = -1;
  double cpu_during = -1;
  [[nodiscard]] double cpu_per_login() const {
    return cpu_alone < 0 || cpu_during < 0 || logins.done == 0
               ? -1
               : (cpu_during - cpu_alone) / static_cast<double>(logins.done);
  }
};
core::Result<ConnectResult> MeasureConnect(const RelayTarget& target, const ConnectOptions& options,
                                           const ProgressFn& progress);

// Many clients log in and stay; all are cut off at once and come back. Memory is
// looked at when nothing has happened for `settle`.
struct StormOptions {
  LatencyOptions latency;
  LoginStormOptions logins;  // `total` clients
  bool drop = true;          // false: they only stay (idle memory)
  core::Duration settle = core::Seconds(10);
};
struct StormResult {
  std::size_t clients = 0;
  LoginStorm::Outcome first;
  LoginStorm::Outcome again;
  std::size_t lost = 0;  // connections that the relay closed while they were idle
  LatencyResult before;
  LatencyResult during_first;
  LatencyResult during_again;
  std::vector<LatencyPoint> series;  // from the start to the end
  double first_began = 0;
  double dropped = 0;  // on the clock of the latency series
  double back = 0;
  // 0 where it is not known.
  struct Memory {
    std::uint64_t server = 0;  // resident
    // Of this machine: both ends of the connections when the relay is here, too.
    std::uint64_t kernel = 0;
  };
  Memory before_all;
  Memory connected;       // after `settle`
  Memory came_back;       // after `settle`
  double cpu_first = -1;  // server's CPU seconds for the logins
  double cpu_again = -1;
  // Bytes a client, at the end; negative when not known.
  [[nodiscard]] double bytes_per_client() const { return PerClient(&Memory::server); }
  [[nodiscard]] double kernel_bytes_per_client() const { return PerClient(&Memory::kernel); }

 private:
  [[nodiscard]] double PerClient(std::uint64_t Memory::* kind) const {
    const Memory& end = came_back.server != 0 ? came_back : connected;
    return before_all.*kind == 0 || end.*kind == 0 || clients == 0
               ? -1
               : (static_cast<double>(end.*kind) - static_cast<double>(before_all.*kind)) /
                     static_cast<double>(clients);
  }
};
core::Result<StormResult> MeasureStorm(const RelayTarget& target, const StormOptions& options,
                                       const ProgressFn& progress);

// More than a relay carries: first how much that is, by rates that grow until less
// than all arrives, then a multiple of it.
struct OverloadOptions {
  ThroughputOptions throughput;  // of each rate; its own rate does not matter
  double first_bits = 50e6;
  double growth = 1.5;
  double times = 3;
};
struct OverloadResult {
  std::vector<ThroughputResult> ramp;
  double peak_bits = 0;  // the most that arrived
  double times = 0;
  ThroughputResult overload;
  // What arrived under overload, of the peak.
  [[nodiscard]] double share() const {
    return peak_bits > 0 ? overload.Bits(overload.in_time) / peak_bits : 0;
  }
};
core::Result<OverloadResult> MeasureOverload(const RelayTarget& target,
                                             const OverloadOptions& options,
                                             const ProgressFn& progress);

// Binding requests, a fixed number always under way.
struct StunOptions {
  std::optional<std::uint16_t> port;  // unset: what the DERP map says, else 3478
  std::size_t under_way = 256;
  core::Duration duration = core::Seconds(5);
};
struct StunResult {
  std::uint64_t answers = 0;
  std::uint64_t wrong = 0;  // answers to nothing we asked, or malformed
  std::uint64_t lost = 0;   // requests that were given up
  double seconds = 0;
  double own_cpu_seconds = 0;
  double server_cpu_seconds = -1;  // negative: not known
};
core::Result<StunResult> MeasureStun(const RelayTarget& target, const StunOptions& options);

}  // namespace ringscale::bench

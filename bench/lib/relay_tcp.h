// TCP inside the tunnel: bulk flows of the kernel from one TUN host to another,
// every packet through the relay. Says what the relay's queue for a client does to
// a congestion window, and how long everything else for that client waits.
#pragma once

#include <cstdint>
#include <string>

#include "bench/lib/histogram.h"
#include "bench/lib/relay_drops.h"
#include "bench/lib/relay_target.h"
#include "bench/lib/relay_throughput.h"
#include "bench/lib/tunnel_end.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

struct TcpOptions {
  std::size_t flows = 1;
  TunnelOptions tunnel;       // of both ends; only the receiving one is slow
  core::Duration round_trip;  // added on the way
  std::string congestion = "cubic";
  core::Duration warm_up = core::Seconds(2);
  core::Duration duration = core::Seconds(5);
  std::string metrics;  // URL of the relay's metrics; empty = drops are not known
  std::string cipher_suites = "TLS_AES_128_GCM_SHA256";
};

// All of the measured time.
struct TcpResult {
  double seconds = 0;
  std::size_t flows = 0;
  double wanted_bytes_per_second = 0;  // what a slow receiver reads; 0 = everything
  double round_trip_ms = 0;            // that was added
  std::uint64_t bytes = 0;             // of all flows, that receivers got
  double slowest_flow = 0;             // of the fastest one's
  std::uint64_t segments = 0;
  std::uint64_t retransmits = 0;
  std::uint64_t packets = 0;  // from the sending host into the relay
  std::uint64_t lost = 0;     // of these; a few may be under way
  Histogram rtt;              // the senders' smoothed ones, looked at every 20 ms
  Histogram data_pings;       // one way, to the receiving client
  Histogram disco_pings;
  Histogram bystanders;            // one way, between two other clients
  std::uint64_t window_bytes = 0;  // congestion windows of all flows, at the end
  double own_cpu_seconds = 0;
  double busiest_thread = 0;       // of the time, its CPU
  double server_cpu_seconds = -1;  // negative: not known
  double other_cores = 0;
  bool drops_known = false;
  RelayDrops drops;

  [[nodiscard]] double bits_per_second() const {
    return seconds > 0 ? static_cast<double>(bytes) * 8 / seconds : 0;
  }
  [[nodiscard]] double cpu_per_gb() const {
    return server_cpu_seconds < 0 || bytes == 0
               ? -1
               : server_cpu_seconds / (static_cast<double>(bytes) / 1e9);
  }
};

// Needs root (network namespaces, TUN devices).
core::Result<TcpResult> MeasureTcp(const RelayTarget& target, const TcpOptions& options,
                                   const ProgressFn& progress);

}  // namespace ringscale::bench

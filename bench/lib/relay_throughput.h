// How much a relay carries: pairs of clients, one sends and the other checks
// every packet's content and order. Open loop (the rate does not wait for the
// relay) or as fast as possible.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "bench/lib/histogram.h"
#include "bench/lib/relay_target.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

// Says how far a run is; called about twice a second.
using ProgressFn = std::function<void(const std::string&)>;

struct ThroughputOptions {
  std::size_t pairs = 10;
  std::size_t packet_bytes = 1400;
  double bits_per_second = 0;  // of packets, all pairs together; 0 = as fast as possible
  std::uint32_t coalesce = 1;  // packets a write
  std::size_t receivers = 0;   // 0: one each; else the pairs share this many (fan-in)
  // Further pairs whose receivers read slowly, each on its own receiver; they send
  // at the rate of the others, and are checked but not counted.
  std::size_t slow_pairs = 0;
  std::uint64_t slow_bytes_per_second = 64 * 1024;
  // Where the receivers log in: another relay of the same region, for what passes
  // between the two. Unset: where the senders do.
  std::optional<RelayTarget> receivers_at;
  unsigned threads = 1;
  core::Duration warm_up = core::Seconds(1);
  core::Duration duration = core::Seconds(5);
  std::string cipher_suites = "TLS_AES_128_GCM_SHA256";
};

// All of the measured time, not of the warm-up. Bytes are those of packets,
// without DERP's and TLS's own.
struct ThroughputResult {
  double seconds = 0;
  std::uint64_t attempted = 0;       // packets that the schedule asked for
  std::uint64_t offered = 0;         // that TCP took
  std::uint64_t delivered = 0;       // of those offered; they may arrive a little later
  std::uint64_t in_time = 0;         // that arrived within the measured time
  std::uint64_t corrupt = 0;         // wrong content
  std::uint64_t misplaced = 0;       // repeated or out of order
  std::uint64_t closed = 0;          // connections that the relay ended
  std::uint64_t slow_delivered = 0;  // to slow receivers, within the measured time
  std::size_t slow_pairs = 0;
  double slowest_pair = 0;  // packets delivered, of the fastest pair's
  double own_cpu_seconds = 0;
  double busiest_thread = 0;       // of the time, its CPU
  double server_cpu_seconds = -1;  // of both relays when there are two; negative: not known
  std::uint64_t server_rss_bytes = 0;
  double other_cores = 0;  // that processes besides server and generator used
  std::size_t packet_bytes = 0;
  Histogram latency;  // one way, from the write to the read

  [[nodiscard]] double Bits(std::uint64_t packets) const {
    return seconds > 0
               ? static_cast<double>(packets) * static_cast<double>(packet_bytes) * 8 / seconds
               : 0;
  }
  [[nodiscard]] double loss() const {
    return offered == 0 ? 0 : 1 - static_cast<double>(delivered) / static_cast<double>(offered);
  }
  // Negative when the server's CPU is not known.
  [[nodiscard]] double cpu_per_gb() const {
    const double gb = static_cast<double>(in_time) * static_cast<double>(packet_bytes) / 1e9;
    return server_cpu_seconds < 0 || gb <= 0 ? -1 : server_cpu_seconds / gb;
  }
  // The generator had no CPU left: the figures say little about the relay.
  [[nodiscard]] bool generator_was_limit() const { return busiest_thread > 0.97; }
};

core::Result<ThroughputResult> MeasureThroughput(const RelayTarget& target,
                                                 const ThroughputOptions& options,
                                                 const ProgressFn& progress);

}  // namespace ringscale::bench

// What a front counts, and the sums over all fronts of a process.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/obs/metrics.h"
#include "core/tls/transport.h"

namespace ringscale::serverd {

// Written by the front's thread, read by any.
struct FrontStats {
  core::Counter accepted;
  core::Counter requests;  // ordinary ones
  core::Counter handed_to_control;
  core::Counter handed_to_relay;
  core::Counter fast_starts;        // relay clients that knew our key
  core::Counter websocket_accepts;  // DERP inside WebSocket
  // Why connections ended otherwise.
  core::Counter full;  // the bound of all connections
  core::Counter accept_limit;
  core::Counter source_limit;
  core::Counter first_byte_late;
  core::Counter head_late;
  core::Counter preface_late;  // no first record, no ClientInfo
  core::Counter answer_late;
  core::Counter reader_stalled;  // did not take its answers
  core::Counter keep_alive_over;
  core::Counter no_certificate;  // TLS was tried, and there is none
  core::Counter tls_failed;
  core::Counter handshake_dropped;  // waited too long for its turn
  core::Counter handshake_evicted;  // gave its place to a newer one
  core::Counter bad_request;
  core::Counter noise_failed;
  core::Counter derp_refused;  // an answer of 4xx
  core::Counter derp_failed;   // the login
  core::Counter handover_failed;
  core::Counter bridges_full;
  core::Counter bridge_stalled;  // did not take what others sent
  core::Counter heap_trims;
  core::Gauge connections;
  std::array<core::Counter, core::tls::kTlsVersions> requests_by_tls;  // all, with upgrades
  std::array<core::Gauge, core::tls::kTlsVersions> bridges;
};

// Any thread; may outlive the fronts.
class FrontTotals {
 public:
  void Add(std::shared_ptr<const FrontStats> stats) {
    const std::lock_guard lock(mutex_);
    stats_.push_back(std::move(stats));
  }
  // `read` gives the value of one front.
  template <class Read>
  [[nodiscard]] std::int64_t Sum(const Read& read) const {
    const std::lock_guard lock(mutex_);
    std::int64_t sum = 0;
    for (const auto& stats : stats_) sum += static_cast<std::int64_t>(read(*stats));
    return sum;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const FrontStats>> stats_;
};

}  // namespace ringscale::serverd

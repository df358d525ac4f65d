// One-way delay through a relay: packets sent on a schedule that does not wait
// for the relay. A packet's delay counts from the moment it was meant to be sent,
// so that a stall shows in every packet it held up (no coordinated omission).
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/lib/histogram.h"
#include "bench/lib/relay_target.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

struct LatencyOptions {
  std::size_t packet_bytes = 1400;
  double bits_per_second = 50e6;
  // SCHED_FIFO where the system allows it, so that load on the same core does not
  // count as delay of the relay.
  bool realtime = true;
  core::Duration window = core::Millis(100);  // of the series
  std::string cipher_suites = "TLS_AES_128_GCM_SHA256";
};

// The worst of the packets that were meant to be sent in one window.
struct LatencyPoint {
  double seconds = 0;  // since the probe's start
  core::Duration p50;
  core::Duration max;
};

struct LatencyResult {
  Histogram delays;
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t wrong = 0;  // corrupt or out of order
  bool realtime = false;
  std::vector<LatencyPoint> series;
};

// A sender and a receiver on a thread of their own.
class LatencyProbe {
 public:
  // Logs both in, then starts the thread.
  static core::Result<std::unique_ptr<LatencyProbe>> Start(const RelayTarget& target,
                                                           const LatencyOptions& options);
  LatencyProbe(const LatencyProbe&) = delete;
  LatencyProbe& operator=(const LatencyProbe&) = delete;
  ~LatencyProbe();

  // Results of what has been measured since the last call, in another vessel from
  // now on: one for each phase of a run. `seconds()` tells where the phases meet.
  LatencyResult Cut();
  [[nodiscard]] double seconds() const;

 private:
  struct State;
  explicit LatencyProbe(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ringscale::bench

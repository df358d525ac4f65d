// When an open-loop sender sends: a schedule that does not wait for answers nor
// for what is late.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace ringscale::bench {

class Pacer {
 public:
  // `per_second` <= 0: as fast as possible, always a whole burst is due. Packets
  // become due `burst` at a time, the first burst `phase` after `start`.
  Pacer(double per_second, std::uint32_t burst, core::Instant start, core::Duration phase = {})
      : burst_(burst == 0 ? 1 : burst),
        interval_ns_(per_second > 0 ? 1e9 * burst_ / per_second : 0),
        start_(start + phase) {}

  [[nodiscard]] bool unlimited() const { return interval_ns_ <= 0; }
  [[nodiscard]] std::uint32_t burst() const { return burst_; }

  // Bursts that are due and neither taken nor skipped. 1 when unlimited.
  [[nodiscard]] std::uint64_t Due(core::Instant now) const {
    if (unlimited()) return 1;
    if (now < start_) return 0;
    const auto passed =
        static_cast<std::uint64_t>(static_cast<double>((now - start_).ns) / interval_ns_) + 1;
    return passed > done_ ? passed - done_ : 0;
  }
  void Take(std::uint64_t bursts = 1) { done_ += bursts; }

  // When the next burst that is not taken was meant to be sent.
  [[nodiscard]] core::Instant Next() const {
    if (unlimited()) return start_;
    return start_ +
           core::Nanos(static_cast<std::int64_t>(static_cast<double>(done_) * interval_ns_));
  }

 private:
  std::uint32_t burst_;
  double interval_ns_;
  core::Instant start_;
  std::uint64_t done_ = 0;
};

}  // namespace ringscale::bench

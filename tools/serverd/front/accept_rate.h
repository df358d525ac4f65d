// How many connections per second the front door takes: a token bucket that all
// fronts share. Thread-safe.
#pragma once

#include <algorithm>
#include <mutex>

#include "core/base/time.h"

namespace ringscale::serverd {

class AcceptRate {
 public:
  // 0 per second: no limit. At least one connection fits into the bucket.
  AcceptRate(double per_second, double burst)
      : per_second_(per_second), burst_(std::max(burst, 1.0)), tokens_(burst_) {}

  bool Take(core::Instant now) {
    if (per_second_ <= 0) return true;
    const std::lock_guard lock(mutex_);
    if (last_.ns != 0 && now > last_) {
      tokens_ += per_second_ * static_cast<double>((now - last_).ns) * 1e-9;
      tokens_ = std::min(tokens_, burst_);
    }
    last_ = std::max(last_, now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  const double per_second_;
  const double burst_;
  std::mutex mutex_;
  double tokens_;
  core::Instant last_;
};

}  // namespace ringscale::serverd

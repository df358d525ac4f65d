// How often one connection is told that a peer is not here: once per second, with
// a burst of three. Eight bytes.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace ringscale::relay {

class NotHereLimiter {
 public:
  [[nodiscard]] bool Allow(core::Instant now) {
    constexpr std::int64_t kPeriod = core::Seconds(1).ns;
    constexpr std::int64_t kBurst = 3;
    const std::int64_t start = full_at_ < now.ns ? now.ns : full_at_;
    if (start + kPeriod > now.ns + kBurst * kPeriod) return false;
    full_at_ = start + kPeriod;
    return true;
  }

 private:
  // When the bucket will be full again.
  std::int64_t full_at_ = INT64_MIN;
};

}  // namespace ringscale::relay

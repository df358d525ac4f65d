// How fast a client may send: a token bucket in bytes. One that has used it up is
// not read from for a while, so that TCP slows it down; nothing is dropped.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/time.h"

namespace ringscale::relay {

struct RateLimit {
  std::uint64_t bytes_per_second = 0;  // 0: no limit
  std::uint64_t burst_bytes = 0;

  [[nodiscard]] bool on() const { return bytes_per_second != 0; }

  // A bucket that held `tokens` at `at`, now.
  [[nodiscard]] std::int64_t Refilled(std::int64_t tokens, core::Instant at,
                                      core::Instant now) const {
    const double earned =
        static_cast<double>((now - at).ns) * 1e-9 * static_cast<double>(bytes_per_second);
    const double sum = static_cast<double>(tokens) + earned;
    return static_cast<std::int64_t>(std::min(sum, static_cast<double>(burst_bytes)));
  }
  // How long until a bucket in debt is empty.
  [[nodiscard]] core::Duration Wait(std::int64_t tokens) const {
    if (tokens >= 0) return {};
    const double seconds = static_cast<double>(-tokens) / static_cast<double>(bytes_per_second);
    return core::Nanos(static_cast<std::int64_t>(seconds * 1e9) + 1);
  }
};

}  // namespace ringscale::relay

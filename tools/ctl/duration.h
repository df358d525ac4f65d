// Durations as Prometheus writes them: "90d", "1h30m", "2w", "0".
#pragma once

#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::ctl {

// Units y (365 days), w, d, h, m, s, ms, each at most once and in this order.
core::Result<core::Duration> ParseDuration(std::string_view text);

}  // namespace ringscale::ctl

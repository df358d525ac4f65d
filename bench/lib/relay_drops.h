// What a relay says it has dropped, read from its metrics page.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::bench {

// By labels, such as reason="queue_head",kind="other".
using RelayDrops = std::map<std::string, std::uint64_t>;

// From Prometheus' text, ours or derper's.
RelayDrops ParseDrops(std::string_view page);
// What was added; reasons without any are left out.
RelayDrops DropsSince(const RelayDrops& now, const RelayDrops& before);

// `url`: http:// or https:// (whatever its certificate) with a path: /metrics of
// ringscale, /debug/varz of derper. Blocks.
core::Result<RelayDrops> FetchDrops(const std::string& url);

}  // namespace ringscale::bench

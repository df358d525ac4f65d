// Relays to load, from a DERP map instead of URLs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/lib/relay_target.h"
#include "core/base/result.h"

namespace ringscale::bench {

// Text of a file or of what an http(s) URL answers, which may block.
core::Result<std::string> ReadMap(const std::string& file_or_url);

// The relays of a region (its id or code; may be empty when there is only one) in
// the order of the map, without nodes that only answer STUN. `json` is a
// tailcfg.DERPMap. Names are looked up, which may block.
core::Result<std::vector<RelayTarget>> TargetsOfMap(std::string_view json,
                                                    const std::string& region);

}  // namespace ringscale::bench

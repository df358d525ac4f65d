// tailcfg.MapRequest: a node reports about itself and asks for its network map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/state/types.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"

namespace ringscale::control {

struct MapRequest {
  std::uint32_t version = 0;  // the client's capability version
  bool zstd = false;          // Compress: "zstd"
  bool keep_alive = false;
  core::NodePublic node_key;
  core::DiscoPublic disco_key;  // zero = not told
  bool stream = false;
  bool omit_peers = false;
  bool read_only = false;
  std::string hostinfo;             // compact JSON object, or empty
  std::vector<Endpoint> endpoints;  // unique, in the client's order, none link-local
  std::string tka_head;
  std::vector<std::string> debug_flags;
};

struct MapRequestLimits {
  std::size_t body = 256 * 1024;
  std::size_t hostinfo = 16 * 1024;
  std::size_t endpoints = 64;  // further ones are ignored
};

// kInvalid or kLimit with a message for the client's log.
[[nodiscard]] core::Result<MapRequest> ParseMapRequest(std::string_view body,
                                                       const MapRequestLimits& limits = {});

}  // namespace ringscale::control

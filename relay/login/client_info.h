// The JSON that a client seals into its ClientInfo frame.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::relay {

using MeshKey = std::array<std::uint8_t, 32>;

struct ClientInfo {
  std::int64_t version = 0;
  std::optional<MeshKey> mesh_key;
  bool can_ack_pings = false;
  bool is_prober = false;
  std::string app_name;  // for statistics; at most kMaxAppNameBytes are kept
};
inline constexpr std::size_t kMaxAppNameBytes = 128;

// Strict JSON; the object's keys match in any case, unknown ones are ignored
// whatever they hold. kInvalid when it is not JSON, a known key holds the wrong
// type, or a mesh key is not exactly 64 hex digits.
core::Result<ClientInfo> ParseClientInfo(std::string_view json);

// 64 hex digits of either case.
std::optional<MeshKey> ParseMeshKey(std::string_view hex);

}  // namespace ringscale::relay

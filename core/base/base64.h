// Base 64 (RFC 4648).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"

namespace ringscale::core {

// Standard alphabet, padded (RFC 4648 section 4).
std::string Base64Encode(Bytes bytes);
// Strict: complete padding, unused bits zero, no other characters.
std::optional<std::vector<std::uint8_t>> Base64Decode(std::string_view text);

// URL-safe alphabet without padding (RFC 4648 section 5).
std::string Base64UrlEncode(Bytes bytes);
std::optional<std::vector<std::uint8_t>> Base64UrlDecode(std::string_view text);

}  // namespace ringscale::core

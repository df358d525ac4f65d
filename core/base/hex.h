// Hexadecimal text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"

namespace ringscale::core {

// Lower-case digits.
std::string HexEncode(Bytes bytes);

// Strict: an even number of digits of either case and nothing else.
std::optional<std::vector<std::uint8_t>> HexDecode(std::string_view text);

// The same into memory of the caller; false, with `out` untouched, unless `text`
// is well-formed and exactly as long as `out` needs.
bool HexDecodeTo(std::string_view text, MutableBytes out);

}  // namespace ringscale::core

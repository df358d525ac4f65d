// Random bytes and text from the system's random source. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::core {

// For keys, nonces and identifiers. Never fails: a system without random bytes
// cannot go on, so the process stops.
void SecureRandom(MutableBytes out);

std::uint64_t SecureRandom64();

// `length` characters, each drawn evenly from `alphabet` (1 to 256 characters).
std::string RandomText(std::size_t length, std::string_view alphabet);

inline constexpr std::string_view kHexAlphabet = "0123456789abcdef";
inline constexpr std::string_view kAlphanumeric =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

}  // namespace ringscale::core

// Keys that are the same in every run.
#pragma once

#include <array>
#include <cstdint>

#include "core/crypto/keys.h"

namespace ringscale::fuzz {

inline core::PrivateKey FixedKey(std::uint8_t seed) {
  std::array<std::uint8_t, 32> raw{};
  raw.fill(seed);
  return core::PrivateKey::FromRaw(raw);
}

}  // namespace ringscale::fuzz

// The X25519 function (RFC 7748).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/crypto/keys.h"

namespace ringscale::core {

using SharedSecret = std::array<std::uint8_t, 32>;

// nullopt when the result is all zero: `peer` was a point of low order, and
// everybody could have computed the secret. The caller wipes what it gets.
[[nodiscard]] std::optional<SharedSecret> X25519(const PrivateKey& ours,
                                                 const std::array<std::uint8_t, 32>& peer);

}  // namespace ringscale::core

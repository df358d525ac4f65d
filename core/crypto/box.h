// NaCl crypto_box (X25519, XSalsa20-Poly1305): ClientInfo and ServerInfo of DERP.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/crypto/keys.h"

namespace ringscale::core {

inline constexpr std::size_t kBoxNonceSize = 24;
inline constexpr std::size_t kBoxTagSize = 16;
inline constexpr std::size_t kBoxOverhead = kBoxNonceSize + kBoxTagSize;

using BoxNonce = std::array<std::uint8_t, kBoxNonceSize>;

// Opens nonce + tag + ciphertext, the order that DERP sends. nullopt when it is
// too short, was not sealed by `sender` for `receiver`, or `sender` is a key of
// low order (the zero key among them).
[[nodiscard]] std::optional<std::string> OpenBox(const PrivateKey& receiver,
                                                 const std::array<std::uint8_t, 32>& sender,
                                                 Bytes nonce_and_box);

// Seals under a random nonce; nonce + tag + ciphertext. nullopt only for a
// receiver key of low order.
[[nodiscard]] std::optional<std::string> SealBox(const PrivateKey& sender,
                                                 const std::array<std::uint8_t, 32>& receiver,
                                                 std::string_view plaintext);
// The same under a nonce of the caller: test vectors.
[[nodiscard]] std::optional<std::string> SealBox(const PrivateKey& sender,
                                                 const std::array<std::uint8_t, 32>& receiver,
                                                 std::string_view plaintext, const BoxNonce& nonce);

}  // namespace ringscale::core

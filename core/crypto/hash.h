// Hash functions. BLAKE2s and its HMAC and HKDF serve the Noise handshake,
// BLAKE2b the stored form of the secrets that we issue. Any thread; no
// allocation after a thread's first call.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/bytes.h"

namespace ringscale::core {

using Digest256 = std::array<std::uint8_t, 32>;

// Hash of a followed by b.
Digest256 Blake2s256(Bytes a, Bytes b = {});

// HMAC (RFC 2104) over BLAKE2s-256, block size 64. The key may have any length.
Digest256 HmacBlake2s(Bytes key, Bytes a, Bytes b = {});

// HKDF (RFC 5869) over BLAKE2s-256 with empty info: the first two output blocks.
struct HkdfOutput {
  Digest256 first;
  Digest256 second;
};
HkdfOutput HkdfBlake2s(Bytes salt, Bytes input);

Digest256 Blake2b256(Bytes bytes);

Digest256 Sha256(Bytes bytes);

}  // namespace ringscale::core

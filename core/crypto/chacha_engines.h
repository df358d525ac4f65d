// The two libraries behind chacha20poly1305.h; inside this room only.
#pragma once

#include <span>
#include <string_view>

#include "core/base/bytes.h"
#include "core/crypto/chacha20poly1305.h"

namespace ringscale::core::chacha20poly1305::internal {

// Sizes were checked by the caller: `out` fits exactly. Seal is false only for lack
// of memory, Open for a wrong tag too (`out` then holds nothing of use).
class OpenSslEngine {
 public:
  static bool Seal(const Key& key, const Nonce& nonce, Bytes ad,
                   std::span<const std::string_view> pieces, std::uint8_t* out);
  static bool Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, std::uint8_t* out);
};

// libipsec-mb, optional. Call the others only where Usable() is true.
class IpsecEngine {
 public:
  static bool Usable();
  static bool Seal(const Key& key, const Nonce& nonce, Bytes ad,
                   std::span<const std::string_view> pieces, std::uint8_t* out);
  static bool Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, std::uint8_t* out);
};

}  // namespace ringscale::core::chacha20poly1305::internal

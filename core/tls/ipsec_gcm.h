// AES-GCM of libipsec-mb, found at run time for this CPU. Included by aead.cc and
// ipsec_gcm.cc only; the library is optional.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

class IpsecGcm {
 public:
  // Room for the library's structures (checked in ipsec_gcm.cc).
  struct alignas(64) ExpandedKey {
    std::uint8_t bytes[1024];
  };
  struct alignas(64) Context {
    std::uint8_t bytes[128];
  };

  // Null when the library is not built in or the CPU lacks AES instructions.
  static const IpsecGcm* Get();

  // `suite` is one of the AES suites in all that follows.
  void Expand(Suite suite, const std::uint8_t* key, ExpandedKey& expanded) const;
  void Begin(Suite suite, const ExpandedKey& key, Context& context, const std::uint8_t* nonce,
             Bytes ad) const;
  void Seal(Suite suite, const ExpandedKey& key, Context& context, Bytes in,
            std::uint8_t* out) const;
  void EndSeal(Suite suite, const ExpandedKey& key, Context& context, std::uint8_t* tag) const;
  void SealInPlace(Suite suite, const ExpandedKey& key, Context& context, const std::uint8_t* nonce,
                   Bytes ad, MutableBytes memory, std::uint8_t* tag) const;
  // Writes the tag that the ciphertext should have had; the caller compares.
  void OpenInPlace(Suite suite, const ExpandedKey& key, Context& context, const std::uint8_t* nonce,
                   Bytes ad, MutableBytes memory, std::uint8_t* tag) const;
};

}  // namespace ringscale::core::tls

// The part of the TLS 1.3 key schedule that is needed after a handshake
// (RFC 8446 sections 7.1 to 7.3).
#pragma once

#include <cstddef>

#include "core/base/bytes.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

[[nodiscard]] constexpr std::size_t SecretSize(Suite suite) {
  return suite == Suite::kAes256GcmSha384 ? 48 : 32;
}
[[nodiscard]] constexpr std::size_t KeySize(Suite suite) {
  return suite == Suite::kAes128GcmSha256 ? 16 : 32;
}

// Takes over an application traffic secret of SecretSize(suite) bytes: derives key
// and iv, starts at record 0. False for a wrong size.
[[nodiscard]] bool InstallTrafficSecret(Suite suite, Bytes secret, DirectionKeys& keys);

// The next generation of the secret: what a KeyUpdate does. False only when
// OpenSSL has no memory.
[[nodiscard]] bool AdvanceTrafficSecret(Suite suite, DirectionKeys& keys);

}  // namespace ringscale::core::tls

// The certificate by which a DERP server tells its key during the TLS handshake, so
// that clients log in one round trip earlier ("fast start"). It certifies nothing;
// everybody but DERP clients ignores it at the end of the chain.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::core::tls {

// PEM: self-signed by a fresh key, serial = `protocol_version` (1 to 255), common name
// "derpkey" and 64 hex digits of the key.
Result<std::string> MakeMetaCertificate(const std::array<std::uint8_t, 32>& server_key,
                                        std::uint8_t protocol_version, WallTime now);

}  // namespace ringscale::core::tls

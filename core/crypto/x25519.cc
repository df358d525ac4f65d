#include "core/crypto/x25519.h"

#include <sodium.h>

#include "core/crypto/sodium_init.h"

namespace ringscale::core {

std::optional<SharedSecret> X25519(const PrivateKey& ours,
                                   const std::array<std::uint8_t, 32>& peer) {
  internal::InitSodium();
  SharedSecret secret;
  if (crypto_scalarmult_curve25519(secret.data(), ours.raw(), peer.data()) != 0) {
    return std::nullopt;
  }
  return secret;
}

}  // namespace ringscale::core

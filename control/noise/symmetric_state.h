// The symmetric half of a Noise handshake (Noise specification, section 5.2)
// with BLAKE2s and ChaCha20-Poly1305. Every key is used for one message, so the
// nonce is always zero.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/crypto/hash.h"

namespace ringscale::control::noise {

class SymmetricState {
 public:
  // `protocol_name` longer than 32 bytes.
  SymmetricState(std::string_view protocol_name, std::string_view prologue);
  // Goes on where another one stopped (hash and chaining key).
  SymmetricState(const core::Digest256& hash, const core::Digest256& chaining);
  SymmetricState(const SymmetricState&) = delete;
  SymmetricState& operator=(const SymmetricState&) = delete;
  ~SymmetricState();

  void MixHash(core::Bytes data);
  void MixKey(core::Bytes input);
  // out.size() = in.size() + 16.
  void EncryptAndHash(core::Bytes in, core::MutableBytes out);
  // out.size() = in.size() - 16. False when the tag does not fit.
  [[nodiscard]] bool DecryptAndHash(core::Bytes in, core::MutableBytes out);
  // The two transport keys: initiator to responder, responder to initiator.
  [[nodiscard]] core::HkdfOutput Split() const;

  [[nodiscard]] const core::Digest256& hash() const { return hash_; }
  [[nodiscard]] const core::Digest256& chaining() const { return chaining_; }

 private:
  core::Digest256 hash_{};
  core::Digest256 chaining_{};
  core::Digest256 key_{};
};

}  // namespace ringscale::control::noise

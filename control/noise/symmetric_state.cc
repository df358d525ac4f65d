#include "control/noise/symmetric_state.h"

#include <cstdlib>

#include "core/crypto/chacha20poly1305.h"
#include "core/crypto/secret_text.h"

namespace ringscale::control::noise {

namespace aead = core::chacha20poly1305;

SymmetricState::SymmetricState(std::string_view protocol_name, std::string_view prologue)
    : hash_(core::Blake2s256(core::AsBytes(protocol_name))), chaining_(hash_) {
  MixHash(core::AsBytes(prologue));
}

SymmetricState::SymmetricState(const core::Digest256& hash, const core::Digest256& chaining)
    : hash_(hash), chaining_(chaining) {}

SymmetricState::~SymmetricState() {
  core::Wipe(chaining_);
  core::Wipe(key_);
}

void SymmetricState::MixHash(core::Bytes data) {
  hash_ = core::Blake2s256(hash_, data);
}

void SymmetricState::MixKey(core::Bytes input) {
  core::HkdfOutput output = core::HkdfBlake2s(chaining_, input);
  chaining_ = output.first;
  key_ = output.second;
  core::Wipe(output.first);
  core::Wipe(output.second);
}

void SymmetricState::EncryptAndHash(core::Bytes in, core::MutableBytes out) {
  // Fails for wrong sizes only, and those are ours.
  if (!aead::Seal(key_, aead::CounterNonce(0), hash_, in, out)) std::abort();
  MixHash(out);
}

bool SymmetricState::DecryptAndHash(core::Bytes in, core::MutableBytes out) {
  if (!aead::Open(key_, aead::CounterNonce(0), hash_, in, out)) return false;
  MixHash(in);
  return true;
}

core::HkdfOutput SymmetricState::Split() const {
  return core::HkdfBlake2s(chaining_, {});
}

}  // namespace ringscale::control::noise

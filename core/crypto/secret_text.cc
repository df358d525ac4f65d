#include "core/crypto/secret_text.h"

#include <sodium.h>

namespace ringscale::core {

bool SecretEquals(std::string_view a, std::string_view b) {
  return SecretEquals(AsBytes(a), AsBytes(b));
}

bool SecretEquals(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

void Wipe(MutableBytes memory) {
  if (!memory.empty()) sodium_memzero(memory.data(), memory.size());
}

void Wipe(std::string& text) {
  text.resize(text.capacity());
  sodium_memzero(text.data(), text.size());
  text.clear();
}

}  // namespace ringscale::core

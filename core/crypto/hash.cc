#include "core/crypto/hash.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <cstdlib>
#include <cstring>

#include "core/crypto/secret_text.h"
#include "core/crypto/sodium_init.h"

namespace ringscale::core {

namespace {

constexpr std::size_t kBlake2sBlock = 64;

// Fetching an algorithm costs microseconds and locks: once per process.
const EVP_MD* Fetch(const char* name) {
  const EVP_MD* digest = EVP_MD_fetch(nullptr, name, nullptr);
  if (digest == nullptr) std::abort();  // part of OpenSSL's default provider
  return digest;
}
const EVP_MD* Blake2sDigest() {
  static const EVP_MD* const digest = Fetch("BLAKE2S-256");
  return digest;
}
const EVP_MD* Sha256Digest() {
  static const EVP_MD* const digest = Fetch("SHA2-256");
  return digest;
}

// One context per thread and algorithm: starting again with the same algorithm
// does not allocate.
class Hasher {
 public:
  explicit Hasher(const EVP_MD* digest) : digest_(digest), context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr) std::abort();
  }
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  ~Hasher() { EVP_MD_CTX_free(context_); }

  template <class... Pieces>
  Digest256 Hash(Pieces... pieces) {
    Digest256 out;
    const bool ok = EVP_DigestInit_ex2(context_, digest_, nullptr) == 1 && (Add(pieces) && ...) &&
                    EVP_DigestFinal_ex(context_, out.data(), nullptr) == 1;
    if (!ok) std::abort();  // only for lack of memory
    return out;
  }

 private:
  bool Add(Bytes piece) {
    return piece.empty() || EVP_DigestUpdate(context_, piece.data(), piece.size()) == 1;
  }

  const EVP_MD* digest_;
  EVP_MD_CTX* context_;
};

Hasher& Blake2sHasher() {
  thread_local Hasher hasher(Blake2sDigest());
  return hasher;
}

}  // namespace

Digest256 Blake2s256(Bytes a, Bytes b) {
  return Blake2sHasher().Hash(a, b);
}

Digest256 HmacBlake2s(Bytes key, Bytes a, Bytes b) {
  Hasher& hasher = Blake2sHasher();
  std::array<std::uint8_t, kBlake2sBlock> pad{};
  if (key.size() > pad.size()) {
    Digest256 short_key = hasher.Hash(key);
    std::memcpy(pad.data(), short_key.data(), short_key.size());
    Wipe(short_key);
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  for (std::uint8_t& byte : pad) byte ^= 0x36;
  Digest256 inner = hasher.Hash(Bytes(pad), a, b);
  for (std::uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  const Digest256 out = hasher.Hash(Bytes(pad), Bytes(inner));
  Wipe(pad);
  Wipe(inner);
  return out;
}

HkdfOutput HkdfBlake2s(Bytes salt, Bytes input) {
  Digest256 pseudorandom = HmacBlake2s(salt, input);
  constexpr std::array<std::uint8_t, 1> kOne = {1};
  constexpr std::array<std::uint8_t, 1> kTwo = {2};
  HkdfOutput out;
  out.first = HmacBlake2s(pseudorandom, kOne);
  out.second = HmacBlake2s(pseudorandom, out.first, kTwo);
  Wipe(pseudorandom);
  return out;
}

Digest256 Blake2b256(Bytes bytes) {
  internal::InitSodium();
  Digest256 out;
  crypto_generichash(out.data(), out.size(), bytes.data(), bytes.size(), nullptr, 0);
  return out;
}

Digest256 Sha256(Bytes bytes) {
  thread_local Hasher hasher(Sha256Digest());
  return hasher.Hash(bytes);
}

}  // namespace ringscale::core

#include <openssl/evp.h>

#include <cstdlib>

#include "core/crypto/chacha_engines.h"

namespace ringscale::core::chacha20poly1305::internal {

namespace {

// Fetched once per process: an implicit fetch per call costs more than a record.
const EVP_CIPHER* Cipher() {
  static const EVP_CIPHER* const cipher = [] {
    const EVP_CIPHER* fetched = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    if (fetched == nullptr) std::abort();  // part of OpenSSL's default provider
    return fetched;
  }();
  return cipher;
}

class Context {
 public:
  explicit Context(bool encrypt) : context_(EVP_CIPHER_CTX_new()) {
    if (context_ == nullptr ||
        EVP_CipherInit_ex2(context_, Cipher(), nullptr, nullptr, encrypt ? 1 : 0, nullptr) != 1) {
      std::abort();
    }
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_CIPHER_CTX_free(context_); }

  [[nodiscard]] EVP_CIPHER_CTX* get() const { return context_; }

  [[nodiscard]] bool Start(const Key& key, const Nonce& nonce, Bytes ad) {
    int written = 0;
    return EVP_CipherInit_ex2(context_, nullptr, key.data(), nonce.data(), -1, nullptr) == 1 &&
           (ad.empty() || EVP_CipherUpdate(context_, nullptr, &written, ad.data(),
                                           static_cast<int>(ad.size())) == 1);
  }

 private:
  EVP_CIPHER_CTX* context_;
};

}  // namespace

bool OpenSslEngine::Seal(const Key& key, const Nonce& nonce, Bytes ad,
                         std::span<const std::string_view> pieces, std::uint8_t* out) {
  thread_local Context context(true);
  if (!context.Start(key, nonce, ad)) return false;
  int written = 0;
  for (std::string_view piece : pieces) {
    if (piece.empty()) continue;
    if (EVP_EncryptUpdate(context.get(), out, &written, AsBytes(piece).data(),
                          static_cast<int>(piece.size())) != 1) {
      return false;
    }
    out += piece.size();
  }
  std::uint8_t rest[kTagSize];
  return EVP_EncryptFinal_ex(context.get(), rest, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, out) == 1;
}

bool OpenSslEngine::Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in,
                         std::uint8_t* out) {
  thread_local Context context(false);
  const Bytes text = in.first(in.size() - kTagSize);
  // OpenSSL takes the expected tag by a pointer that is not const; it only reads.
  auto* tag = const_cast<std::uint8_t*>(in.data() + text.size());
  int written = 0;
  std::uint8_t rest[kTagSize];
  return context.Start(key, nonce, ad) &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag) == 1 &&
         (text.empty() || EVP_DecryptUpdate(context.get(), out, &written, text.data(),
                                            static_cast<int>(text.size())) == 1) &&
         EVP_DecryptFinal_ex(context.get(), rest, &written) == 1;
}

}  // namespace ringscale::core::chacha20poly1305::internal

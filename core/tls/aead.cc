#include "core/tls/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/tls/aead_choice.h"
#include "core/tls/ipsec_gcm.h"
#include "core/tls/key_cache.h"

namespace ringscale::core::tls {

namespace {

constexpr std::size_t kNonceSize = 12;
constexpr std::size_t kSuites = 3;

bool IsGcm(Suite suite) {
  return suite != Suite::kChacha20Poly1305Sha256;
}

// Fetched once per process: an implicit fetch per call costs more than a record.
const EVP_CIPHER* Cipher(Suite suite) {
  static const std::array<const EVP_CIPHER*, kSuites> ciphers = {
      EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr),
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr),
      EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)};
  return ciphers[static_cast<std::size_t>(suite)];
}

// RFC 8446 section 5.3.
void MakeNonce(const DirectionKeys& keys, std::uint8_t* nonce) {
  std::memcpy(nonce, keys.iv, 4);
  StoreBe64(nonce + 4, LoadBe64(keys.iv + 4) ^ keys.sequence);
}

// OpenSSL contexts of one suite, keyed for the keys used last.
class OpenSslContexts {
 public:
  OpenSslContexts() = default;
  OpenSslContexts(const OpenSslContexts&) = delete;
  OpenSslContexts& operator=(const OpenSslContexts&) = delete;
  ~OpenSslContexts() {
    for (EVP_CIPHER_CTX* context : contexts_) EVP_CIPHER_CTX_free(context);
  }

  // A context ready for the additional data of the next record; null on failure.
  EVP_CIPHER_CTX* Start(Suite suite, const DirectionKeys& keys, bool seal) {
    if (contexts_[0] == nullptr && !Create(suite)) return nullptr;
    std::uint8_t nonce[kNonceSize];
    MakeNonce(keys, nonce);
    const auto [slot, fresh] = cache_.Find(keys.key_id);
    EVP_CIPHER_CTX* context = contexts_[slot];
    const std::uint8_t* key = fresh ? keys.key : nullptr;
    return EVP_CipherInit_ex2(context, nullptr, key, nonce, seal ? 1 : 0, nullptr) == 1 ? context
                                                                                        : nullptr;
  }

 private:
  static constexpr std::size_t kContexts = 16;

  bool Create(Suite suite) {
    // Back to front: the first context is the mark that all of them exist.
    for (std::size_t i = kContexts; i-- > 0;) {
      if (contexts_[i] == nullptr) contexts_[i] = EVP_CIPHER_CTX_new();
      if (contexts_[i] == nullptr ||
          EVP_CipherInit_ex2(contexts_[i], Cipher(suite), nullptr, nullptr, 1, nullptr) != 1) {
        EVP_CIPHER_CTX_free(contexts_[i]);
        contexts_[i] = nullptr;
        return false;
      }
    }
    return true;
  }

  std::array<EVP_CIPHER_CTX*, kContexts> contexts_{};
  KeyCache<kContexts> cache_;
};

// Expanded keys in pages that core dumps leave out.
class ExpandedKeys {
 public:
  ExpandedKeys() : keys_(static_cast<IpsecGcm::ExpandedKey*>(::operator new(kBytes, kPage))) {
    (void)::madvise(keys_, kBytes, MADV_DONTDUMP);
  }
  ExpandedKeys(const ExpandedKeys&) = delete;
  ExpandedKeys& operator=(const ExpandedKeys&) = delete;
  ~ExpandedKeys() {
    OPENSSL_cleanse(keys_, kBytes);
    (void)::madvise(keys_, kBytes, MADV_DODUMP);
    ::operator delete(keys_, kPage);
  }

  const IpsecGcm::ExpandedKey& Get(const IpsecGcm& gcm, Suite suite, const DirectionKeys& keys) {
    const auto [slot, fresh] = cache_.Find(keys.key_id);
    if (fresh) gcm.Expand(suite, keys.key, keys_[slot]);
    return keys_[slot];
  }

 private:
  static constexpr std::size_t kKeys = 64;
  static constexpr std::size_t kBytes = kKeys * sizeof(IpsecGcm::ExpandedKey);
  static constexpr std::align_val_t kPage{4096};
  static_assert(kBytes % 4096 == 0);

  IpsecGcm::ExpandedKey* keys_;
  KeyCache<kKeys> cache_;
};

}  // namespace

struct AeadPool::Impl {
  const IpsecGcm* ipsec = nullptr;  // null: OpenSSL does AES-GCM too
  std::array<OpenSslContexts, kSuites> openssl;
  std::unique_ptr<ExpandedKeys> expanded;
  IpsecGcm::Context context;

  // The record being sealed.
  Suite suite = Suite::kAes128GcmSha256;
  EVP_CIPHER_CTX* evp = nullptr;
  const IpsecGcm::ExpandedKey* key = nullptr;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { OPENSSL_cleanse(&context, sizeof(context)); }

  [[nodiscard]] bool UsesIpsec(Suite wanted) const { return ipsec != nullptr && IsGcm(wanted); }
  EVP_CIPHER_CTX* StartEvp(Suite wanted, const DirectionKeys& keys, bool seal) {
    return openssl[static_cast<std::size_t>(wanted)].Start(wanted, keys, seal);
  }
};

AeadPool::AeadPool(Engine engine) : impl_(std::make_unique<Impl>()) {
  const bool ipsec = engine == Engine::kAuto ? ChooseGcm().use_ipsec : engine == Engine::kIpsecMb;
  if (ipsec && IpsecGcm::Get() != nullptr) {
    impl_->ipsec = IpsecGcm::Get();
    impl_->expanded = std::make_unique<ExpandedKeys>();
  }
}
AeadPool::AeadPool(AeadPool&&) noexcept = default;
AeadPool& AeadPool::operator=(AeadPool&&) noexcept = default;
AeadPool::~AeadPool() = default;

AeadPool::Engine AeadPool::gcm_engine() const {
  return impl_->ipsec != nullptr ? Engine::kIpsecMb : Engine::kOpenSsl;
}
bool AeadPool::HasIpsecMb() {
  return ChooseGcm().ipsec_agrees;
}
const std::string& AeadPool::DescribeChoice() {
  return ChooseGcm().description;
}

bool AeadPool::BeginSeal(Suite suite, const DirectionKeys& keys, Bytes ad) {
  Impl& impl = *impl_;
  impl.suite = suite;
  if (impl.UsesIpsec(suite)) {
    std::uint8_t nonce[kNonceSize];
    MakeNonce(keys, nonce);
    impl.key = &impl.expanded->Get(*impl.ipsec, suite, keys);
    impl.ipsec->Begin(suite, *impl.key, impl.context, nonce, ad);
    return true;
  }
  impl.evp = impl.StartEvp(suite, keys, true);
  int written = 0;
  return impl.evp != nullptr && EVP_EncryptUpdate(impl.evp, nullptr, &written, ad.data(),
                                                  static_cast<int>(ad.size())) == 1;
}

bool AeadPool::SealPiece(Bytes in, std::uint8_t* out) {
  Impl& impl = *impl_;
  if (in.empty()) return true;
  if (impl.UsesIpsec(impl.suite)) {
    impl.ipsec->Seal(impl.suite, *impl.key, impl.context, in, out);
    return true;
  }
  int written = 0;
  return EVP_EncryptUpdate(impl.evp, out, &written, in.data(), static_cast<int>(in.size())) == 1;
}

bool AeadPool::EndSeal(std::uint8_t* tag) {
  Impl& impl = *impl_;
  if (impl.UsesIpsec(impl.suite)) {
    impl.ipsec->EndSeal(impl.suite, *impl.key, impl.context, tag);
    return true;
  }
  int written = 0;
  return EVP_EncryptFinal_ex(impl.evp, tag, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(impl.evp, EVP_CTRL_AEAD_GET_TAG, kAeadTagSize, tag) == 1;
}

bool AeadPool::SealInPlace(Suite suite, const DirectionKeys& keys, Bytes ad, MutableBytes memory,
                           std::uint8_t* tag) {
  Impl& impl = *impl_;
  if (impl.UsesIpsec(suite)) {
    std::uint8_t nonce[kNonceSize];
    MakeNonce(keys, nonce);
    impl.ipsec->SealInPlace(suite, impl.expanded->Get(*impl.ipsec, suite, keys), impl.context,
                            nonce, ad, memory, tag);
    return true;
  }
  return BeginSeal(suite, keys, ad) && SealPiece(memory, memory.data()) && EndSeal(tag);
}

bool AeadPool::OpenInPlace(Suite suite, const DirectionKeys& keys, Bytes ad, MutableBytes memory) {
  Impl& impl = *impl_;
  if (memory.size() < kAeadTagSize) return false;
  const MutableBytes text = memory.first(memory.size() - kAeadTagSize);
  std::uint8_t* tag = memory.data() + text.size();
  if (impl.UsesIpsec(suite)) {
    std::uint8_t nonce[kNonceSize];
    MakeNonce(keys, nonce);
    std::uint8_t expected[kAeadTagSize];
    impl.ipsec->OpenInPlace(suite, impl.expanded->Get(*impl.ipsec, suite, keys), impl.context,
                            nonce, ad, text, expected);
    return CRYPTO_memcmp(expected, tag, kAeadTagSize) == 0;
  }
  EVP_CIPHER_CTX* evp = impl.StartEvp(suite, keys, false);
  int written = 0;
  std::uint8_t rest[kAeadTagSize];
  return evp != nullptr &&
         EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, kAeadTagSize, tag) == 1 &&
         EVP_DecryptUpdate(evp, nullptr, &written, ad.data(), static_cast<int>(ad.size())) == 1 &&
         (text.empty() || EVP_DecryptUpdate(evp, text.data(), &written, text.data(),
                                            static_cast<int>(text.size())) == 1) &&
         EVP_DecryptFinal_ex(evp, rest, &written) == 1;
}

}  // namespace ringscale::core::tls

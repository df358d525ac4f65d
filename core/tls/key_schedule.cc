#include "core/tls/key_schedule.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <atomic>
#include <cstring>
#include <string_view>

namespace ringscale::core::tls {

namespace {

std::uint64_t NextKeyId() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

struct KdfContext {
  KdfContext() {
    EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
    context = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);  // the context holds its own reference
  }
  KdfContext(const KdfContext&) = delete;
  KdfContext& operator=(const KdfContext&) = delete;
  ~KdfContext() { EVP_KDF_CTX_free(context); }
  EVP_KDF_CTX* context;
};

// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
bool ExpandLabel(Suite suite, Bytes secret, std::string_view label, MutableBytes out) {
  thread_local KdfContext kdf;
  if (kdf.context == nullptr) return false;
  constexpr std::string_view kPrefix = "tls13 ";
  std::uint8_t info[32];
  std::size_t size = 0;
  StoreBe16(info, static_cast<std::uint16_t>(out.size()));
  size += 2;
  info[size++] = static_cast<std::uint8_t>(kPrefix.size() + label.size());
  std::memcpy(info + size, kPrefix.data(), kPrefix.size());
  size += kPrefix.size();
  std::memcpy(info + size, label.data(), label.size());
  size += label.size();
  info[size++] = 0;  // no context

  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  char sha256[] = "SHA2-256";
  char sha384[] = "SHA2-384";
  char* digest = suite == Suite::kAes256GcmSha384 ? sha384 : sha256;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                        const_cast<std::uint8_t*>(secret.data()), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, size),
      OSSL_PARAM_construct_end()};
  const bool ok = EVP_KDF_derive(kdf.context, out.data(), out.size(), params) == 1;
  EVP_KDF_CTX_reset(kdf.context);  // it keeps the secret otherwise
  return ok;
}

bool DeriveKeys(Suite suite, DirectionKeys& keys) {
  const Bytes secret(keys.secret, SecretSize(suite));
  keys.sequence = 0;
  keys.key_id = NextKeyId();
  return ExpandLabel(suite, secret, "key", MutableBytes(keys.key, KeySize(suite))) &&
         ExpandLabel(suite, secret, "iv", keys.iv);
}

}  // namespace

bool InstallTrafficSecret(Suite suite, Bytes secret, DirectionKeys& keys) {
  if (secret.size() != SecretSize(suite)) return false;
  std::memcpy(keys.secret, secret.data(), secret.size());
  return DeriveKeys(suite, keys);
}

bool AdvanceTrafficSecret(Suite suite, DirectionKeys& keys) {
  std::uint8_t next[sizeof(keys.secret)];
  const std::size_t size = SecretSize(suite);
  const bool ok =
      ExpandLabel(suite, Bytes(keys.secret, size), "traffic upd", MutableBytes(next, size));
  if (ok) std::memcpy(keys.secret, next, size);
  OPENSSL_cleanse(next, sizeof(next));
  return ok && DeriveKeys(suite, keys);
}

}  // namespace ringscale::core::tls

#include "core/crypto/chacha_engines.h"

#ifdef RINGSCALE_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <sodium.h>

#include <optional>

namespace ringscale::core::chacha20poly1305::internal {

namespace {

struct Functions {
  chacha_poly_init_t begin;
  chacha_poly_enc_dec_update_t seal;
  chacha_poly_enc_dec_update_t open;
  chacha_poly_finalize_t end;
};

// The manager is needed only to learn which functions suit this CPU; the
// functions themselves keep no state in it.
std::optional<Functions> Find() {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) return std::nullopt;
  std::optional<Functions> functions;
  IMB_ARCH arch = IMB_ARCH_NONE;
  init_mb_mgr_auto(manager, &arch);
  if (imb_get_errno(manager) == 0 && arch != IMB_ARCH_NONE && arch != IMB_ARCH_NOAESNI) {
    functions = {.begin = manager->chacha20_poly1305_init,
                 .seal = manager->chacha20_poly1305_enc_update,
                 .open = manager->chacha20_poly1305_dec_update,
                 .end = manager->chacha20_poly1305_finalize};
  }
  free_mb_mgr(manager);
  return functions;
}

// Null where the library cannot be used.
const Functions* Found() {
  static const std::optional<Functions> functions = Find();
  return functions ? &*functions : nullptr;
}

}  // namespace

bool IpsecEngine::Usable() {
  return Found() != nullptr;
}

bool IpsecEngine::Seal(const Key& key, const Nonce& nonce, Bytes ad,
                       std::span<const std::string_view> pieces, std::uint8_t* out) {
  const Functions* functions = Found();
  if (functions == nullptr) return false;
  thread_local chacha20_poly1305_context_data context;
  functions->begin(key.data(), &context, nonce.data(), ad.data(), ad.size());
  for (std::string_view piece : pieces) {
    if (piece.empty()) continue;
    functions->seal(key.data(), &context, out, piece.data(), piece.size());
    out += piece.size();
  }
  functions->end(&context, out, kTagSize);
  return true;
}

bool IpsecEngine::Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, std::uint8_t* out) {
  const Functions* functions = Found();
  if (functions == nullptr) return false;
  thread_local chacha20_poly1305_context_data context;
  const Bytes text = in.first(in.size() - kTagSize);
  std::uint8_t expected[kTagSize];
  functions->begin(key.data(), &context, nonce.data(), ad.data(), ad.size());
  if (!text.empty()) functions->open(key.data(), &context, out, text.data(), text.size());
  functions->end(&context, expected, kTagSize);
  return sodium_memcmp(expected, in.data() + text.size(), kTagSize) == 0;
}

}  // namespace ringscale::core::chacha20poly1305::internal

#else

namespace ringscale::core::chacha20poly1305::internal {

bool IpsecEngine::Usable() {
  return false;
}
bool IpsecEngine::Seal(const Key&, const Nonce&, Bytes, std::span<const std::string_view>,
                       std::uint8_t*) {
  return false;
}
bool IpsecEngine::Open(const Key&, const Nonce&, Bytes, Bytes, std::uint8_t*) {
  return false;
}

}  // namespace ringscale::core::chacha20poly1305::internal

#endif

#include "core/tls/ipsec_gcm.h"

#ifdef RINGSCALE_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>

namespace ringscale::core::tls {

static_assert(sizeof(gcm_key_data) <= sizeof(IpsecGcm::ExpandedKey));
static_assert(sizeof(gcm_context_data) <= sizeof(IpsecGcm::Context));

namespace {

struct Functions {
  aes_gcm_pre_t expand;
  aes_gcm_init_t begin;
  aes_gcm_enc_dec_update_t seal;
  aes_gcm_enc_dec_finalize_t end;
  aes_gcm_enc_dec_t seal_all;
  aes_gcm_enc_dec_t open_all;
};
// Written once by Get, before anybody can call the rest.
Functions functions[2];

const Functions& For(Suite suite) {
  return functions[suite == Suite::kAes256GcmSha384 ? 1 : 0];
}

const gcm_key_data* Native(const IpsecGcm::ExpandedKey& key) {
  return reinterpret_cast<const gcm_key_data*>(key.bytes);
}
gcm_context_data* Native(IpsecGcm::Context& context) {
  return reinterpret_cast<gcm_context_data*>(context.bytes);
}

// The manager is needed only to learn which functions suit this CPU; the
// functions themselves keep no state in it.
bool FindFunctions() {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) return false;
  IMB_ARCH arch = IMB_ARCH_NONE;
  init_mb_mgr_auto(manager, &arch);
  const bool usable = imb_get_errno(manager) == 0 && arch != IMB_ARCH_NONE &&
                      arch != IMB_ARCH_NOAESNI && (manager->features & IMB_FEATURE_AESNI) != 0;
  if (usable) {
    functions[0] = {manager->gcm128_pre,          manager->gcm128_init, manager->gcm128_enc_update,
                    manager->gcm128_enc_finalize, manager->gcm128_enc,  manager->gcm128_dec};
    functions[1] = {manager->gcm256_pre,          manager->gcm256_init, manager->gcm256_enc_update,
                    manager->gcm256_enc_finalize, manager->gcm256_enc,  manager->gcm256_dec};
  }
  free_mb_mgr(manager);
  return usable;
}

}  // namespace

const IpsecGcm* IpsecGcm::Get() {
  static const IpsecGcm instance;
  static const bool usable = FindFunctions();
  return usable ? &instance : nullptr;
}

void IpsecGcm::Expand(Suite suite, const std::uint8_t* key, ExpandedKey& expanded) const {
  For(suite).expand(key, reinterpret_cast<gcm_key_data*>(expanded.bytes));
}

void IpsecGcm::Begin(Suite suite, const ExpandedKey& key, Context& context,
                     const std::uint8_t* nonce, Bytes ad) const {
  For(suite).begin(Native(key), Native(context), nonce, ad.data(), ad.size());
}

void IpsecGcm::Seal(Suite suite, const ExpandedKey& key, Context& context, Bytes in,
                    std::uint8_t* out) const {
  For(suite).seal(Native(key), Native(context), out, in.data(), in.size());
}

void IpsecGcm::EndSeal(Suite suite, const ExpandedKey& key, Context& context,
                       std::uint8_t* tag) const {
  For(suite).end(Native(key), Native(context), tag, 16);
}

void IpsecGcm::SealInPlace(Suite suite, const ExpandedKey& key, Context& context,
                           const std::uint8_t* nonce, Bytes ad, MutableBytes memory,
                           std::uint8_t* tag) const {
  For(suite).seal_all(Native(key), Native(context), memory.data(), memory.data(), memory.size(),
                      nonce, ad.data(), ad.size(), tag, 16);
}

void IpsecGcm::OpenInPlace(Suite suite, const ExpandedKey& key, Context& context,
                           const std::uint8_t* nonce, Bytes ad, MutableBytes memory,
                           std::uint8_t* tag) const {
  For(suite).open_all(Native(key), Native(context), memory.data(), memory.data(), memory.size(),
                      nonce, ad.data(), ad.size(), tag, 16);
}

}  // namespace ringscale::core::tls

#else

namespace ringscale::core::tls {

// Without the library Get is null and nobody calls the rest.
const IpsecGcm* IpsecGcm::Get() {
  return nullptr;
}
void IpsecGcm::Expand(Suite, const std::uint8_t*, ExpandedKey&) const {}
void IpsecGcm::Begin(Suite, const ExpandedKey&, Context&, const std::uint8_t*, Bytes) const {}
void IpsecGcm::Seal(Suite, const ExpandedKey&, Context&, Bytes, std::uint8_t*) const {}
void IpsecGcm::EndSeal(Suite, const ExpandedKey&, Context&, std::uint8_t*) const {}
void IpsecGcm::SealInPlace(Suite, const ExpandedKey&, Context&, const std::uint8_t*, Bytes,
                           MutableBytes, std::uint8_t*) const {}
void IpsecGcm::OpenInPlace(Suite, const ExpandedKey&, Context&, const std::uint8_t*, Bytes,
                           MutableBytes, std::uint8_t*) const {}

}  // namespace ringscale::core::tls

#endif

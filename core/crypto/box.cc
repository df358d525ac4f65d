#include "core/crypto/box.h"

#include <sodium.h>

#include "core/base/random.h"
#include "core/crypto/sodium_init.h"

namespace ringscale::core {

static_assert(kBoxNonceSize == crypto_box_NONCEBYTES);
static_assert(kBoxTagSize == crypto_box_MACBYTES);

std::optional<std::string> OpenBox(const PrivateKey& receiver,
                                   const std::array<std::uint8_t, 32>& sender,
                                   Bytes nonce_and_box) {
  internal::InitSodium();
  if (nonce_and_box.size() < kBoxOverhead) return std::nullopt;
  const Bytes box = nonce_and_box.subspan(kBoxNonceSize);
  std::string plaintext(box.size() - kBoxTagSize, '\0');
  if (crypto_box_open_easy(reinterpret_cast<unsigned char*>(plaintext.data()), box.data(),
                           box.size(), nonce_and_box.data(), sender.data(), receiver.raw()) != 0) {
    return std::nullopt;
  }
  return plaintext;
}

std::optional<std::string> SealBox(const PrivateKey& sender,
                                   const std::array<std::uint8_t, 32>& receiver,
                                   std::string_view plaintext) {
  BoxNonce nonce;
  SecureRandom(nonce);
  return SealBox(sender, receiver, plaintext, nonce);
}

std::optional<std::string> SealBox(const PrivateKey& sender,
                                   const std::array<std::uint8_t, 32>& receiver,
                                   std::string_view plaintext, const BoxNonce& nonce) {
  internal::InitSodium();
  std::string out(kBoxOverhead + plaintext.size(), '\0');
  out.replace(0, kBoxNonceSize, AsText(nonce));
  if (crypto_box_easy(reinterpret_cast<unsigned char*>(out.data() + kBoxNonceSize),
                      AsBytes(plaintext).data(), plaintext.size(), nonce.data(), receiver.data(),
                      sender.raw()) != 0) {
    return std::nullopt;
  }
  return out;
}

}  // namespace ringscale::core

#include "core/crypto/keys.h"

#include <sodium.h>

#include "core/base/hex.h"
#include "core/base/random.h"
#include "core/crypto/sodium_init.h"

namespace ringscale::core {

namespace {
constexpr std::string_view kPrivatePrefix = "privkey:";
constexpr std::size_t kHexDigits = 64;
}  // namespace

namespace internal {

std::string EncodeKey(std::string_view prefix, const std::uint8_t* raw) {
  // sodium_bin2hex looks nothing up in tables: the same code writes private keys.
  std::array<char, kHexDigits + 1> hex;
  sodium_bin2hex(hex.data(), hex.size(), raw, 32);
  std::string text;
  text.reserve(prefix.size() + kHexDigits);
  text.append(prefix).append(hex.data(), kHexDigits);
  sodium_memzero(hex.data(), hex.size());
  return text;
}

bool DecodeKey(std::string_view prefix, std::string_view text, std::uint8_t* raw) {
  if (!text.starts_with(prefix)) return false;
  return HexDecodeTo(text.substr(prefix.size()), MutableBytes(raw, 32));
}

}  // namespace internal

PrivateKey PrivateKey::Generate() {
  PrivateKey key;
  SecureRandom(key.raw_);
  key.raw_[0] &= 248;
  key.raw_[31] = static_cast<std::uint8_t>((key.raw_[31] & 127) | 64);
  return key;
}

std::optional<PrivateKey> PrivateKey::Parse(std::string_view text) {
  PrivateKey key;
  if (!internal::DecodeKey(kPrivatePrefix, text, key.raw_.data())) return std::nullopt;
  return key;
}

PrivateKey PrivateKey::FromRaw(const std::array<std::uint8_t, 32>& raw) {
  PrivateKey key;
  key.raw_ = raw;
  return key;
}

PrivateKey::PrivateKey(PrivateKey&& other) noexcept : raw_(other.raw_) {
  sodium_memzero(other.raw_.data(), other.raw_.size());
}

PrivateKey& PrivateKey::operator=(PrivateKey&& other) noexcept {
  if (this != &other) {
    raw_ = other.raw_;
    sodium_memzero(other.raw_.data(), other.raw_.size());
  }
  return *this;
}

PrivateKey::~PrivateKey() {
  sodium_memzero(raw_.data(), raw_.size());
}

std::array<std::uint8_t, 32> PrivateKey::PublicRaw() const {
  internal::InitSodium();
  std::array<std::uint8_t, 32> out;
  crypto_scalarmult_curve25519_base(out.data(), raw_.data());
  return out;
}

std::string PrivateKey::TextForKeyFile() const {
  return internal::EncodeKey(kPrivatePrefix, raw_.data());
}

}  // namespace ringscale::core

#include "control/state/secrets.h"

#include <algorithm>

#include "core/base/hex.h"
#include "core/base/random.h"
#include "core/crypto/hash.h"
#include "core/crypto/secret_text.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kPrefixSize = 12;
constexpr std::size_t kSecretSize = 64;
constexpr std::size_t kAuthIdSize = 24;
constexpr std::size_t kStableIdSize = 16;

std::string RandomHex(const RandomSource& random, std::size_t digits) {
  std::array<std::uint8_t, kSecretSize / 2> bytes{};
  const auto used = core::MutableBytes(bytes).first(digits / 2);
  random(used);
  std::string hex = core::HexEncode(used);
  core::Wipe(used);
  return hex;
}

bool IsKeyText(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

}  // namespace

void SystemRandom(core::MutableBytes bytes) {
  core::SecureRandom(bytes);
}

IssuedSecret IssueSecret(std::string_view intro, const RandomSource& random) {
  IssuedSecret issued;
  issued.prefix = RandomHex(random, kPrefixSize);
  std::string secret = RandomHex(random, kSecretSize);
  issued.hash = HashSecret(secret);
  issued.text = std::string(intro) + issued.prefix + "-" + secret;
  core::Wipe(secret);
  return issued;
}

std::optional<SecretParts> ParseSecret(std::string_view intro, std::string_view text) {
  if (!text.starts_with(intro)) return std::nullopt;
  text.remove_prefix(intro.size());
  if (text.size() != kPrefixSize + 1 + kSecretSize || text[kPrefixSize] != '-' ||
      !IsKeyText(text)) {
    return std::nullopt;
  }
  return SecretParts{text.substr(0, kPrefixSize), text.substr(kPrefixSize + 1)};
}

std::array<std::uint8_t, 32> HashSecret(std::string_view secret) {
  return core::Blake2b256(core::AsBytes(secret));
}

bool SecretMatches(const std::array<std::uint8_t, 32>& hash, std::string_view secret) {
  return core::SecretEquals(core::Bytes(hash), core::Bytes(HashSecret(secret)));
}

std::string NewAuthId(const RandomSource& random) {
  return std::string(kAuthIdIntro) + RandomHex(random, kAuthIdSize);
}

bool IsAuthId(std::string_view text) {
  if (!text.starts_with(kAuthIdIntro)) return false;
  text.remove_prefix(kAuthIdIntro.size());
  return text.size() == kAuthIdSize && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string NewStableId(const RandomSource& random) {
  std::string id;
  while (id.size() < kStableIdSize) {
    std::array<std::uint8_t, kStableIdSize> bytes{};
    random(bytes);
    for (std::uint8_t byte : bytes) {
      // 248 = 4 * 62: the rest would favour the first letters.
      if (byte < 248 && id.size() < kStableIdSize) {
        id.push_back(core::kAlphanumeric[byte % core::kAlphanumeric.size()]);
      }
    }
  }
  return id;
}

}  // namespace ringscale::control

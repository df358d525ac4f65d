// The field's keys as distinct types, with their text form
// "<prefix><64 lower-case hex digits>" (control protocol, section 1).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ringscale::core {

namespace internal {
std::string EncodeKey(std::string_view prefix, const std::uint8_t* raw);
// False unless `text` is exactly prefix + 64 hex digits of either case.
bool DecodeKey(std::string_view prefix, std::string_view text, std::uint8_t* raw);
}  // namespace internal

// A public 32-byte key. The zero key means "none".
template <class Tag>
struct PublicKey {
  std::array<std::uint8_t, 32> raw{};

  auto operator<=>(const PublicKey&) const = default;
  [[nodiscard]] bool zero() const { return raw == std::array<std::uint8_t, 32>{}; }
  [[nodiscard]] std::string text() const { return internal::EncodeKey(Tag::kPrefix, raw.data()); }
  static std::optional<PublicKey> Parse(std::string_view text) {
    PublicKey key;
    if (!internal::DecodeKey(Tag::kPrefix, text, key.raw.data())) return std::nullopt;
    return key;
  }
};

struct NodeKeyTag {
  static constexpr std::string_view kPrefix = "nodekey:";
};
struct MachineKeyTag {
  static constexpr std::string_view kPrefix = "mkey:";
};
struct DiscoKeyTag {
  static constexpr std::string_view kPrefix = "discokey:";
};
struct ChallengeKeyTag {
  static constexpr std::string_view kPrefix = "chalpub:";
};

using NodePublic = PublicKey<NodeKeyTag>;
using MachinePublic = PublicKey<MachineKeyTag>;
using DiscoPublic = PublicKey<DiscoKeyTag>;
using ChallengePublic = PublicKey<ChallengeKeyTag>;

// An X25519 private key, clamped at creation, wiped when it goes. Not copyable,
// never printed. Text form "privkey:<hex>" only for key files.
class PrivateKey {
 public:
  static PrivateKey Generate();
  static std::optional<PrivateKey> Parse(std::string_view text);
  static PrivateKey FromRaw(const std::array<std::uint8_t, 32>& raw);  // not clamped: test vectors
  PrivateKey(PrivateKey&& other) noexcept;
  PrivateKey& operator=(PrivateKey&& other) noexcept;
  PrivateKey(const PrivateKey&) = delete;
  PrivateKey& operator=(const PrivateKey&) = delete;
  ~PrivateKey();

  [[nodiscard]] std::array<std::uint8_t, 32> PublicRaw() const;
  template <class Public>
  [[nodiscard]] Public PublicAs() const {
    return Public{PublicRaw()};
  }
  [[nodiscard]] const std::uint8_t* raw() const { return raw_.data(); }
  [[nodiscard]] std::string TextForKeyFile() const;

 private:
  PrivateKey() = default;
  std::array<std::uint8_t, 32> raw_{};
};

// For tables that hold keys chosen by strangers, use core/base/keyed_hash.h.

}  // namespace ringscale::core

// The secrets we issue: pre-auth keys, API keys, ids of pending registrations.
// They carry 256 random bits, so a fast hash is enough to store them by.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::control {

// Fills the bytes with random ones; the simulation brings its own.
using RandomSource = std::function<void(core::MutableBytes)>;
void SystemRandom(core::MutableBytes bytes);

inline constexpr std::string_view kPreAuthKeyIntro = "hskey-auth-";
inline constexpr std::string_view kApiKeyIntro = "hskey-api-";
inline constexpr std::string_view kAuthIdIntro = "hskey-authreq-";

// "<intro><12 hex prefix>-<64 hex secret>"
struct IssuedSecret {
  std::string text;                     // shown once
  std::string prefix;                   // stored, shown in lists
  std::array<std::uint8_t, 32> hash{};  // stored
};
IssuedSecret IssueSecret(std::string_view intro, const RandomSource& random);

// Views into the text.
struct SecretParts {
  std::string_view prefix;
  std::string_view secret;
};
// nullopt unless the text has the shape above (letters, digits, '-' and '_' are
// taken in both parts).
std::optional<SecretParts> ParseSecret(std::string_view intro, std::string_view text);

// BLAKE2b-256.
std::array<std::uint8_t, 32> HashSecret(std::string_view secret);
// In constant time.
bool SecretMatches(const std::array<std::uint8_t, 32>& hash, std::string_view secret);

// "hskey-authreq-<24 hex>"
std::string NewAuthId(const RandomSource& random);
bool IsAuthId(std::string_view text);

// 16 random letters and digits.
std::string NewStableId(const RandomSource& random);

}  // namespace ringscale::control

#include "control/noise/early_payload.h"

#include <array>
#include <cstdint>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::control::noise {

std::string BuildEarlyPayload(const core::ChallengePublic& challenge) {
  constexpr std::string_view kMagic = "\xff\xff\xffTS";
  const std::string json = "{\"nodeKeyChallenge\":\"" + challenge.text() + "\"}";
  std::array<std::uint8_t, 4> length{};
  core::StoreBe32(length.data(), static_cast<std::uint32_t>(json.size()));
  std::string payload(kMagic);
  payload += core::AsText(length);
  payload += json;
  return payload;
}

}  // namespace ringscale::control::noise

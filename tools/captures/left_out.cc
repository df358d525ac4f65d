#include "tools/captures/left_out.h"

#include <algorithm>
#include <array>

namespace ringscale::captures {

bool IsServiceCapability(std::string_view name) {
  static constexpr std::array<std::string_view, 11> kNames = {
      "https://tailscale.com/cap/file-sharing",
      "https://tailscale.com/cap/is-admin",  // the role of the node's user
      "https://tailscale.com/cap/is-owner",
      "https://tailscale.com/cap/ssh",
      "https://tailscale.com/cap/tailnet-lock",
      "default-auto-update",
      "probe-udp-lifetime",
      "ssh-behavior-v1",
      "ssh-env-vars",
      "store-appc-routes",
      "tailnet-display-name",
  };
  return std::ranges::find(kNames, name) != kNames.end();
}

bool SameRefusal(int status, std::string_view wanted, std::string_view got,
                 std::string_view policy) {
  if (status == 500) return !got.empty();
  static constexpr std::string_view kDomain = " is not associated with this Tailnet";
  const auto end = wanted.find(kDomain);
  if (end != std::string_view::npos && !policy.contains(wanted.substr(0, end))) {
    const auto other = got.find(kDomain);
    return other != std::string_view::npos && wanted.substr(end) == got.substr(other);
  }
  return wanted == got;
}

}  // namespace ringscale::captures

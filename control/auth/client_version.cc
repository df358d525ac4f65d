#include "control/auth/client_version.h"

#include <array>
#include <string_view>

#include "control/derp/derp_map.h"

namespace ringscale::control {
namespace {

struct Release {
  std::uint32_t capability_version;
  std::string_view name;
};
// tailcfg.CurrentCapabilityVersion at each release tag.
constexpr std::array<Release, 16> kReleases = {{
    {102, "1.70"},
    {104, "1.72"},
    {106, "1.74"},
    {109, "1.78"},
    {113, "1.80"},
    {115, "1.82"},
    {116, "1.84"},
    {122, "1.86"},
    {123, "1.86.5"},
    {125, "1.88"},
    {130, "1.90"},
    {131, "1.92"},
    {133, "1.96"},
    {138, "1.98"},
    {141, "1.100"},
    {142, "1.102"},
}};

}  // namespace

std::string ReleaseOf(std::uint32_t capability_version) {
  std::string_view name;
  for (const Release& release : kReleases) {
    if (release.capability_version <= capability_version) name = release.name;
  }
  return name.empty() ? "before 1.70" : std::string(name);
}

std::string UnsupportedClient(std::uint32_t capability_version) {
  return "unsupported client version: " + ReleaseOf(capability_version) + " (" +
         std::to_string(capability_version) + "); this server needs Tailscale " +
         ReleaseOf(kMinCapabilityVersion) + " (" + std::to_string(kMinCapabilityVersion) +
         ") or newer";
}

std::string UnpinnedClient(std::uint32_t capability_version, bool unchecked) {
  return "This client (Tailscale " + ReleaseOf(capability_version) +
         ") does not know certificate pins: it " +
         (unchecked ? "uses the relay without checking its certificate" : "cannot use the relay") +
         ". Update it to " + ReleaseOf(kCapabilityDerpPin) +
         ", or give the server a certificate that clients trust.";
}

}  // namespace ringscale::control

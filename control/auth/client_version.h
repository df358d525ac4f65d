// Which clients this server speaks to.
#pragma once

#include <cstdint>
#include <string>

namespace ringscale::control {

// Tailscale 1.80: from here on every form of the protocol that we use is known.
inline constexpr std::uint32_t kMinCapabilityVersion = 113;

// The release that brought this capability version: "1.80", "before 1.70".
std::string ReleaseOf(std::uint32_t capability_version);

// What the user of an older client reads.
std::string UnsupportedClient(std::uint32_t capability_version);

// What a client needs that does not know the pin of a server's own certificate
// (kCapabilityDerpPin); `unchecked`: it is told to use the relay all the same.
std::string UnpinnedClient(std::uint32_t capability_version, bool unchecked);

}  // namespace ringscale::control

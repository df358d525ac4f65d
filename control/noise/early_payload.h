// The bytes that a server sends before HTTP/2 on a native connection
// (tailscale.com/control/ts2021, earlyPayload).
#pragma once

#include <string>

#include "core/crypto/keys.h"

namespace ringscale::control::noise {

// Magic, big-endian length, {"nodeKeyChallenge":"chalpub:..."}.
std::string BuildEarlyPayload(const core::ChallengePublic& challenge);

}  // namespace ringscale::control::noise

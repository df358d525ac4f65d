// From derper's flags and files to the configuration of `ringscale relay`.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "relay/app/rate_limit.h"
#include "relay/login/client_info.h"
#include "tools/ctl/commands.h"
#include "tools/serverd/config.h"

namespace ringscale::relayd {

// What the flags mean in keys of the configuration. kUnsupported names a flag that
// asks for what is not served.
core::Result<std::vector<serverd::ConfigOverrides::Setting>> SettingsOf(
    const std::vector<ctl::GivenFlag>& flags);

// The whole configuration of a relay: sources as for `serve`, derper's flags last.
core::Result<serverd::Config> LoadRelayConfig(const ctl::RelayFlags& flags);

// What a derper invocation (Go's flags) asks for; `version` when it only asks that.
struct DerperCommand {
  ctl::RelayFlags flags;
  bool version = false;
};
core::Result<DerperCommand> ReadDerperCommand(const std::vector<std::string>& arguments);

// "privkey:..." alone or as derper's {"PrivateKey": "privkey:..."}; a missing file
// is made, in derper's form. Errors as core::LoadPrivateKey.
core::Result<core::PrivateKey> LoadRelayKey(const std::string& path);

// 64 hex digits and white space around them.
core::Result<relay::MeshKey> LoadMeshKey(const std::string& path);

// derper's rate file: {"PerClientRateLimitBytesPerSec": n, "PerClientRateBurstBytes": n}.
core::Result<relay::RateLimit> LoadRateConfig(const std::string& path);

// "HOST[:PORT]" of a URL's authority.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
// One entry of relay.mesh_with.
struct MeshPeer {
  HostPort host;  // whom the certificate must name
  HostPort dial;  // where to connect to
};
MeshPeer MeshPeerOf(const std::string& entry);

}  // namespace ringscale::relayd

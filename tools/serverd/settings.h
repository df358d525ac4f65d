// What the configuration means for the parts of the server.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "control/derp/derp_map.h"
#include "control/dns/dns_settings.h"
#include "control/state/registry.h"
#include "core/io/probe.h"
#include "core/net/trusted_proxies.h"
#include "relay/app/relay_service.h"
#include "tools/serverd/config.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {

control::DnsSettings DnsSettingsOf(const Config& config);
// `pin`: of our own certificate, or empty (CertificateKeeper::pin).
control::EmbeddedRegion EmbeddedRegionOf(const Config& config, const std::string& pin);
control::RegistryOptions RegistryOptionsOf(const Config& config);
FrontLimits FrontLimitsOf(const Config& config);

core::Result<core::net::TrustedProxies> TrustedProxiesOf(const Config& config);
// Unset: whatever the machine allows.
std::optional<core::io::RingKind> RingKindOf(const Config& config);

// What an embedded and a dedicated relay have in common.
relay::RelayServiceOptions RelayOptionsOf(const Config& config);

// Names by which clients may reach this machine: the certificate carries them.
std::set<std::string> OwnNames(const Config& config);

// Scheme, host and port of server_url; host empty when it is not configured.
struct ServerName {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  bool https = false;
};
ServerName ServerNameOf(const Config& config);

}  // namespace ringscale::serverd

// What the configuration means for the parts of the server.
#pragma once

#include "control/derp/derp_map.h"
#include "control/dns/dns_settings.h"
#include "control/state/registry.h"
#include "tools/serverd/config.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {

control::DnsSettings DnsSettingsOf(const Config& config);
// `pin`: of our own certificate, or empty (CertificateKeeper::pin).
control::EmbeddedRegion EmbeddedRegionOf(const Config& config, const std::string& pin);
control::RegistryOptions RegistryOptionsOf(const Config& config);
FrontLimits FrontLimitsOf(const Config& config);

// Scheme, host and port of server_url; host empty when it is not configured.
struct ServerName {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  bool https = false;
};
ServerName ServerNameOf(const Config& config);

}  // namespace ringscale::serverd

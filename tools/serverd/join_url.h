// The login-server URL that a person is told at start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/net/address.h"

namespace ringscale::serverd {

struct JoinUrl {
  std::string url;
  // What will not work with it, in a sentence; empty when all is well.
  std::string warning;
};

// Clients take http:// for private addresses and localhost as it is. For any other
// host they insist on https port 443 once a dial has failed within two minutes, so
// such an address is only offered when that port is ours too.
// `addresses`: this machine's, in the order of preference; `http_port`: of the
// listener that is not 443 (0 = none).
JoinUrl ChooseJoinUrl(const std::string& server_url, const std::vector<core::IpAddress>& addresses,
                      std::uint16_t http_port, bool https_443_is_ours);

// Addresses of this machine's interfaces that are up, without loopback,
// link-local ones and those of tunnels; IPv4 first.
std::vector<core::IpAddress> MachineAddresses();

}  // namespace ringscale::serverd

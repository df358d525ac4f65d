// What single values must look like, and what must hold between keys.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "control/dns/dns_settings.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

bool IsNotEmpty(std::string_view text);
using control::IsDomainName;
bool IsDomainNameOrEmpty(std::string_view text);
bool IsHostOrEmpty(std::string_view text);       // domain name or bare IP address
bool IsServerUrlOrEmpty(std::string_view text);  // scheme, host, port; no more
bool IsHttpUrl(std::string_view text);
bool IsHttpUrlOrEmpty(std::string_view text);
bool IsHomePage(std::string_view text);  // "", "blank" or a URL
bool IsMeshPeer(std::string_view text);  // "HOST[:PORT][/DIAL-HOST[:PORT]]"
bool IsListenAddressOrNone(std::string_view text);
bool IsNameserver(std::string_view text);
bool IsIpv4OrEmpty(std::string_view text);
bool IsIpv6OrEmpty(std::string_view text);
bool IsRegionCode(std::string_view text);
bool IsSocketPathOrEmpty(std::string_view text);

// A server URL that IsServerUrlOrEmpty accepts and that is not empty.
struct ServerUrl {
  bool https = false;
  std::string host;  // lower case, without brackets and trailing dot
  std::uint16_t port = 0;
};
ServerUrl SplitServerUrl(std::string_view url);

// Calls `report` with the keys to blame (Config::Blame) and a sentence for everything
// that does not fit together.
using BlamedKeys = std::initializer_list<std::string_view>;
void CheckKeysTogether(
    const Config& config,
    const std::function<void(BlamedKeys keys, const std::string& message)>& report);

}  // namespace ringscale::serverd

// The server's own name, as one client or visitor knows it.
#pragma once

#include <string>
#include <string_view>

#include "tools/serverd/config.h"

namespace ringscale::serverd {

// Base URL without a trailing slash: server_url where it is configured, else what
// the request itself used.
inline std::string BaseUrl(const Config& config, std::string_view host, bool https) {
  if (!config.server_url.empty()) {
    std::string url = config.server_url;
    while (url.ends_with('/')) url.pop_back();
    return url;
  }
  return std::string(https ? "https://" : "http://") + std::string(host);
}

// The host of an authority ("name:port", "[::1]:443"): lower case, without port
// and brackets.
inline std::string HostOf(std::string_view authority) {
  std::string host;
  if (authority.starts_with('[')) {
    host = authority.substr(1, authority.find(']') - 1);
  } else {
    host = authority.substr(0, authority.rfind(':'));
  }
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return host;
}

}  // namespace ringscale::serverd

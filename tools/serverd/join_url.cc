#include "tools/serverd/join_url.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace ringscale::serverd {
namespace {

std::string HttpUrl(const core::IpAddress& ip, std::uint16_t port) {
  const std::string host = ip.is_v6() ? "[" + ip.text() + "]" : ip.text();
  return "http://" + host + (port == 80 ? "" : ":" + std::to_string(port));
}

bool IsLinkLocal(const core::IpAddress& ip) {
  if (ip.is_v4()) return ip.bytes[0] == 169 && ip.bytes[1] == 254;
  return ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
}

}  // namespace

JoinUrl ChooseJoinUrl(const std::string& server_url, const std::vector<core::IpAddress>& addresses,
                      std::uint16_t http_port, bool https_443_is_ours) {
  if (!server_url.empty()) return {.url = server_url, .warning = ""};
  const auto private_one = std::find_if(addresses.begin(), addresses.end(), [](const auto& ip) {
    return ip.is_private() || ip.is_loopback();
  });
  if (http_port != 0 && private_one != addresses.end()) {
    return {.url = HttpUrl(*private_one, http_port), .warning = ""};
  }
  if (http_port != 0 && !addresses.empty()) {
    JoinUrl join{.url = HttpUrl(addresses.front(), http_port), .warning = ""};
    if (!https_443_is_ours) {
      join.warning =
          "clients will lose this server after their first reconnect: for a public address they "
          "insist on https port 443, which is not ours. Let ringscale listen on :443, or set "
          "server_url and a certificate";
    }
    return join;
  }
  if (http_port == 0 && https_443_is_ours && !addresses.empty()) {
    const auto& ip = private_one != addresses.end() ? *private_one : addresses.front();
    return {.url = "https://" + (ip.is_v6() ? "[" + ip.text() + "]" : ip.text()),
            .warning =
                "clients must trust the certificate: start tailscaled with SSL_CERT_FILE set to "
                "the CA in the data directory, or give ringscale a certificate"};
  }
  return {.url = "http://localhost:" + std::to_string(http_port == 0 ? 8080 : http_port),
          .warning = "this machine has no address that others could reach"};
}

std::vector<core::IpAddress> MachineAddresses() {
  std::vector<core::IpAddress> found;
  std::ptrdiff_t v4_count = 0;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    if ((entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0 ||
        (entry->ifa_flags & IFF_POINTOPOINT) != 0) {
      continue;
    }
    sockaddr_storage native{};
    std::memcpy(&native, entry->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const core::IpAddress ip = core::SocketAddress::FromNative(native).ip;
    if (!ip.valid() || IsLinkLocal(ip)) continue;
    if (ip.is_v4()) {
      found.insert(found.begin() + v4_count++, ip);
    } else {
      found.push_back(ip);
    }
  }
  freeifaddrs(list);
  return found;
}

}  // namespace ringscale::serverd

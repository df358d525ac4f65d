#include "tools/serverd/config/checks.h"

#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/net/address.h"
#include "core/net/listener.h"

namespace ringscale::serverd {
namespace {

constexpr std::size_t kMaxLabel = 63;
constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.ends_with('.')) lower.pop_back();
  return lower;
}

std::optional<ServerUrl> ParseServerUrl(std::string_view url) {
  ServerUrl parsed;
  if (url.starts_with(kHttps)) {
    parsed.https = true;
    url.remove_prefix(kHttps.size());
  } else if (url.starts_with(kHttp)) {
    url.remove_prefix(kHttp.size());
  } else {
    return std::nullopt;
  }
  if (url.ends_with('/')) url.remove_suffix(1);
  parsed.port = parsed.https ? 443 : 80;
  std::string_view host = url;
  std::string_view port;
  if (url.starts_with('[')) {
    const auto end = url.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = url.substr(1, end - 1);
    port = url.substr(end + 1);
    const auto ip = core::IpAddress::Parse(host);
    if (!ip || !ip->is_v6()) return std::nullopt;
  } else {
    host = url.substr(0, url.find(':'));
    port = url.substr(host.size());
    if (!IsDomainName(host)) return std::nullopt;  // IPv4 addresses have that form too
  }
  if (!port.empty()) {
    port.remove_prefix(1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
    if (port.empty() || error != std::errc() || end != port.data() + port.size() ||
        parsed.port == 0) {
      return std::nullopt;
    }
    if (url.starts_with('[') && url[url.find(']') + 1] != ':') return std::nullopt;
  }
  parsed.host = Lower(host);
  return parsed;
}

// Hosts for which clients stay with http:// and its port.
bool ClientsKeepHttp(const std::string& host) {
  if (host == "localhost") return true;
  const auto ip = core::IpAddress::Parse(host);
  return ip && (ip->is_private() || ip->is_loopback());
}

bool ListensOn(const Config& config, std::uint16_t port) {
  return std::ranges::any_of(config.listen, [&](const std::string& text) {
    const auto address = core::net::ParseListenAddress(text);
    return address && address->address.port == port;
  });
}

bool Within(const std::optional<core::IpPrefix>& prefix, std::string_view range) {
  const auto outer = core::IpPrefix::Parse(range);
  return !prefix || (prefix->length >= outer->length && outer->Contains(prefix->address));
}

}  // namespace

bool IsNotEmpty(std::string_view text) {
  return !text.empty();
}

bool IsDomainNameOrEmpty(std::string_view text) {
  return text.empty() || IsDomainName(text);
}

bool IsHostOrEmpty(std::string_view text) {
  return IsDomainNameOrEmpty(text) || core::IpAddress::Parse(text).has_value();
}

bool IsServerUrlOrEmpty(std::string_view text) {
  return text.empty() || ParseServerUrl(text).has_value();
}

bool IsHttpUrl(std::string_view text) {
  for (const std::string_view scheme : {kHttp, kHttps}) {
    if (!text.starts_with(scheme) || text.size() == scheme.size()) continue;
    return std::ranges::none_of(text, [](char c) {
      return static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\\' || c == 0x7F;
    });
  }
  return false;
}

bool IsHttpUrlOrEmpty(std::string_view text) {
  return text.empty() || IsHttpUrl(text);
}

bool IsHomePage(std::string_view text) {
  return text == "blank" || IsHttpUrlOrEmpty(text);
}

bool IsMeshPeer(std::string_view text) {
  // One of each side: what a URL may name as its authority.
  const auto is_host = [](std::string_view host) {
    return !host.empty() && host.find('/') == std::string_view::npos &&
           ParseServerUrl("https://" + std::string(host)).has_value();
  };
  const auto slash = text.find('/');
  return is_host(text.substr(0, slash)) &&
         (slash == std::string_view::npos || is_host(text.substr(slash + 1)));
}

bool IsListenAddressOrNone(std::string_view text) {
  return text.empty() || core::net::ParseListenAddress(text).has_value();
}

bool IsNameserver(std::string_view text) {
  return core::IpAddress::Parse(text).has_value() || IsHttpUrl(text);
}

bool IsIpv4OrEmpty(std::string_view text) {
  const auto ip = core::IpAddress::Parse(text);
  return text.empty() || (ip && ip->is_v4());
}

bool IsIpv6OrEmpty(std::string_view text) {
  const auto ip = core::IpAddress::Parse(text);
  return text.empty() || (ip && ip->is_v6());
}

bool IsRegionCode(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel &&
         std::ranges::all_of(text, [](char c) { return IsAlphanumeric(c) || c == '-'; });
}

bool IsSocketPathOrEmpty(std::string_view text) {
  return text.size() < sizeof(sockaddr_un::sun_path);
}

ServerUrl SplitServerUrl(std::string_view url) {
  return ParseServerUrl(url).value_or(ServerUrl{});
}

void CheckKeysTogether(
    const Config& config,
    const std::function<void(BlamedKeys keys, const std::string& message)>& report) {
  const std::string host = SplitServerUrl(config.server_url).host;
  const std::string base = Lower(config.dns.base_domain);
  if (!host.empty() && !base.empty() && (host == base || host.ends_with("." + base))) {
    report({"dns.base_domain", "server_url"},
           "server_url's host " + host + " is within dns.base_domain " + base +
               ": clients would look it up in the tailnet that they need it to join; expected "
               "another base_domain");
  }
  if (config.dns.magic_dns && config.dns.base_domain.empty()) {
    report({"dns.base_domain", "dns.magic_dns"}, "expected a domain name with magic_dns = true");
  }
  if (config.dns.override_local_dns && config.dns.nameservers_global.empty()) {
    report({"dns.override_local_dns"},
           "dns.nameservers.global must name servers when override_local_dns = true");
  }
  if (config.tls.cert.empty() != config.tls.key.empty()) {
    report({"tls.cert", "tls.key"}, "tls.cert and tls.key belong together: give both or neither");
  }
  if (config.tls.self_signed && !config.tls.cert.empty()) {
    report({"tls.self_signed"}, "either self_signed = true or certificate files, not both");
  }
  if (!config.prefixes.v4 && !config.prefixes.v6) {
    report({"prefixes.v4"}, "nodes need addresses: give prefixes.v4, prefixes.v6 or both");
  }
  if (!config.unix_socket.group.empty() && !config.unix_socket.group_access) {
    report({"unix_socket.group"}, "it has no effect without unix_socket.group_access = true");
  }
  if (!IsSocketPathOrEmpty(config.SocketPath())) {
    report({"data_dir"}, "the socket's path " + config.SocketPath() +
                             " is longer than 107 bytes: give unix_socket.path");
  }
  if (!config.relay.mesh_with.empty() && config.relay.mesh_key_file.empty()) {
    report({"relay.mesh_with"}, "a mesh needs its key: give relay.mesh_key_file");
  }
  if (config.limits.pending_registrations_per_source > config.limits.pending_registrations) {
    report({"limits.pending_registrations_per_source", "limits.pending_registrations"},
           "expected pending_registrations_per_source to be at most pending_registrations");
  }
}

core::Error Config::Blame(std::initializer_list<std::string_view> keys, core::Error error) const {
  std::string_view key = *keys.begin();
  std::string where = "by default";
  for (const std::string_view candidate : keys) {
    const auto origin = origins.by_key.find(candidate);
    if (origin == origins.by_key.end()) continue;
    key = candidate;
    where = origin->second;
    break;
  }
  error.message = where + ": " + std::string(key) + ": " + error.message;
  return error;
}

std::string Config::SocketPath() const {
  return unix_socket.path.empty() ? data_dir + "/ringscale.sock" : unix_socket.path;
}

std::vector<std::string> Config::Warnings(std::optional<bool> https_443) const {
  std::vector<std::string> warnings = source_warnings;
  if (!server_url.empty()) {
    const ServerUrl url = SplitServerUrl(server_url);
    if (!url.https && !ClientsKeepHttp(url.host) && !https_443.value_or(ListensOn(*this, 443))) {
      warnings.push_back(
          "server_url " + server_url +
          " works with private addresses and localhost only: for any other host clients go to "
          "https://" +
          url.host + ":443 after a failed connection, and stay there" +
          (!listen_auto            ? "; add \":443\" to listen, or use an https:// URL"
           : https_443.has_value() ? "; this server cannot listen on port 443"
                                   : "; that works if this server can listen on port 443"));
    }
    if (url.https && tls.cert.empty() && !tls.self_signed && trusted_proxies.empty()) {
      warnings.push_back(
          "server_url is https:// without certificate files, so a reverse proxy is expected, but "
          "trusted_proxies is empty: all clients will seem to come from the proxy");
    }
  }
  if (derp.enabled && !derp.verify_clients) {
    warnings.push_back("derp.verify_clients is false: anybody may use the relay");
  }
  if (!Within(prefixes.v4, "100.64.0.0/10")) {
    warnings.push_back("prefixes.v4 " + prefixes.v4->text() +
                       " is outside 100.64.0.0/10: clients expect their addresses there, and other "
                       "networks may use these");
  }
  if (!Within(prefixes.v6, "fd7a:115c:a1e0::/48")) {
    warnings.push_back("prefixes.v6 " + prefixes.v6->text() +
                       " is outside fd7a:115c:a1e0::/48: clients expect their addresses there");
  }
  if (derp.enabled && (derp.region_id < 900 || derp.region_id > 999)) {
    warnings.push_back("derp.region_id " + std::to_string(derp.region_id) +
                       " may be that of a public region: 900 to 999 are free for own ones");
  }
  if (!derp.enabled && derp.paths.empty() && derp.urls.empty()) {
    warnings.push_back(
        "there is no relay: derp.enabled is false, derp.paths and derp.urls are empty; peers that "
        "cannot reach each other directly stay apart");
  }
  if (derp.enabled && derp.stun_listen.empty()) {
    warnings.push_back(
        "derp.stun_listen is empty: clients cannot find out their public addresses here");
  }
  if (const auto address = core::net::ParseListenAddress(metrics.listen);
      address && !address->address.ip.is_loopback()) {
    warnings.push_back("metrics.listen " + metrics.listen +
                       " is not a loopback address: everybody who reaches it can read the metrics");
  }
  return warnings;
}

}  // namespace ringscale::serverd

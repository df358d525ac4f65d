#include "tools/serverd/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/net/listener.h"
#include "tools/serverd/join_url.h"
#include "tools/serverd/urls.h"

namespace ringscale::serverd {

ServerName ServerNameOf(const Config& config) {
  ServerName name;
  std::string_view url = config.server_url;
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return name;
  name.https = url.substr(0, scheme) == "https";
  url.remove_prefix(scheme + 3);
  const std::string_view authority = url.substr(0, url.find('/'));
  name.port = name.https ? 443 : 80;
  const auto colon = authority.rfind(':');
  const auto bracket = authority.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || bracket < colon)) {
    const std::string_view digits = authority.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), name.port);
    name.host = HostOf(authority);
  } else {
    name.host = HostOf(std::string(authority) + ":");
  }
  return name;
}

control::DnsSettings DnsSettingsOf(const Config& config) {
  control::DnsSettings dns;
  dns.magic_dns = config.dns.magic_dns;
  dns.base_domain = config.dns.base_domain;
  dns.override_local_dns = config.dns.override_local_dns;
  dns.global_nameservers = config.dns.nameservers_global;
  dns.split_nameservers = config.dns.nameservers_split;
  dns.search_domains = config.dns.search_domains;
  for (const auto& record : config.dns.extra_records) {
    dns.extra_records.push_back({.name = record.name, .type = record.type, .value = record.value});
  }
  if (config.prefixes.v4) dns.prefixes.push_back(*config.prefixes.v4);
  if (config.prefixes.v6) dns.prefixes.push_back(*config.prefixes.v6);
  return dns;
}

control::EmbeddedRegion EmbeddedRegionOf(const Config& config, const std::string& pin) {
  control::EmbeddedRegion region;
  region.id = config.derp.region_id;
  region.code = config.derp.region_code;
  region.name = config.derp.region_name;
  const ServerName server = ServerNameOf(config);
  region.host = config.derp.host.empty() ? server.host : config.derp.host;
  region.port = config.derp.port != 0 ? config.derp.port : server.port;
  region.ipv4 = config.derp.ipv4;
  region.ipv6 = config.derp.ipv6;
  region.stun_port = 0;
  region.second_stun_port = 0;
  for (const auto& listen : config.derp.stun_listen) {
    const auto address = core::net::ParseListenAddress(listen);
    if (!address) continue;
    if (region.stun_port == 0) {
      region.stun_port = address->address.port;
    } else if (region.second_stun_port == 0 && address->address.port != region.stun_port) {
      region.second_stun_port = address->address.port;
    }
  }
  region.pin = pin;
  region.insecure_for_old_clients = config.derp.insecure_for_old_clients;
  return region;
}

control::RegistryOptions RegistryOptionsOf(const Config& config) {
  control::RegistryOptions options;
  options.prefix_v4 = config.prefixes.v4;
  options.prefix_v6 = config.prefixes.v6;
  options.addresses = config.prefixes.random ? control::AddressStrategy::kRandom
                                             : control::AddressStrategy::kSequential;
  options.base_domain = config.dns.base_domain;
  options.node_expiry = config.node.expiry;
  options.ephemeral_timeout = config.node.ephemeral_inactivity_timeout;
  return options;
}

FrontLimits FrontLimitsOf(const Config& config) {
  FrontLimits limits;
  limits.connections = config.limits.front_connections;
  limits.bridges = config.limits.relay_bridges;
  limits.sources.per_source = config.limits.connections_per_source;
  limits.handshakes.in_progress = config.limits.handshakes_per_front;
  return limits;
}

core::Result<core::net::TrustedProxies> TrustedProxiesOf(const Config& config) {
  std::vector<std::string> proxies;
  for (const auto& prefix : config.trusted_proxies) proxies.push_back(prefix.text());
  return core::net::TrustedProxies::Parse(proxies);
}

std::optional<core::io::RingKind> RingKindOf(const Config& config) {
  switch (config.engine.io) {
    case Config::Engine::Io::kEpoll:
      return core::io::RingKind::kEpoll;
    case Config::Engine::Io::kIoUring:
      return core::io::RingKind::kUring;
    case Config::Engine::Io::kAuto:
      break;
  }
  return std::nullopt;
}

relay::RelayServiceOptions RelayOptionsOf(const Config& config) {
  relay::RelayServiceOptions options;
  options.shards = static_cast<std::uint16_t>(config.engine.relay_shards);
  options.ring_kind = RingKindOf(config);
  options.tls = config.engine.tls;
  options.limits.connections = config.limits.relay_connections;
  options.limits.queue.bytes[static_cast<std::size_t>(relay::Lane::kData)] =
      static_cast<std::uint32_t>(config.limits.relay_queue_bytes);
  options.limits.queue.max_age_ms = static_cast<std::uint32_t>(
      std::min<std::int64_t>(config.limits.relay_queue_age.millis(), UINT32_MAX));
  return options;
}

std::set<std::string> OwnNames(const Config& config) {
  std::set<std::string> names = {"localhost", std::string(control::kInventedDerpHost), "127.0.0.1",
                                 "::1"};
  for (const auto& ip : MachineAddresses()) names.insert(ip.text());
  for (const std::string& host :
       {ServerNameOf(config).host, config.derp.host, config.derp.ipv4, config.derp.ipv6}) {
    if (!host.empty()) names.insert(host);
  }
  return names;
}

}  // namespace ringscale::serverd

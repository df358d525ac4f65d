// A value other than the default for every key of the configuration.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "tools/serverd/config.h"
#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {

// As TOML. Keys that are neither named here nor switches take a number.
inline std::string_view OtherValue(const Key& key) {
  static const std::map<std::string_view, std::string_view> values = {
      {"listen", "[\":81\"]"},
      {"server_url", "\"https://a.example\""},
      {"data_dir", "\"/x\""},
      {"trusted_proxies", "[\"10.0.0.0/8\"]"},
      {"unix_socket.path", "\"/x.sock\""},
      {"unix_socket.group", "\"g\""},
      {"log.level", "\"warn\""},
      {"log.format", "\"json\""},
      {"metrics.listen", "\"127.0.0.1:1\""},
      {"tls.cert", "\"c\""},
      {"tls.key", "\"k\""},
      {"derp.region_code", "\"x\""},
      {"derp.region_name", "\"x\""},
      {"derp.host", "\"x\""},
      {"derp.ipv4", "\"192.0.2.1\""},
      {"derp.ipv6", "\"::1\""},
      {"derp.stun_listen", "[]"},
      {"derp.paths", "[\"x\"]"},
      {"derp.urls", "[\"http://x\"]"},
      {"derp.update_interval", "\"7h\""},
      {"relay.key_file", "\"x\""},
      {"relay.http_listen", "\":81\""},
      {"relay.home", "\"blank\""},
      {"relay.bootstrap_dns_names", "[\"x\"]"},
      {"relay.mesh_key_file", "\"x\""},
      {"relay.mesh_with", "[\"x\"]"},
      {"relay.tailscaled_socket", "\"x\""},
      {"relay.verify_client_url", "\"http://x\""},
      {"relay.rate_config", "\"x\""},
      {"relay.tcp_keep_alive", "\"70s\""},
      {"relay.tcp_user_timeout", "\"70s\""},
      {"relay.tcp_write_timeout", "\"70s\""},
      {"relay.drain", "\"70s\""},
      {"dns.base_domain", "\"x.y\""},
      {"dns.search_domains", "[\"x\"]"},
      {"dns.extra_records", "[{name=\"a\",type=\"A\",value=\"1.2.3.4\"}]"},
      {"dns.nameservers.global", "[\"9.9.9.9\"]"},
      {"dns.nameservers.split", "{a=[\"9.9.9.9\"]}"},
      {"prefixes.v4", "\"\""},
      {"prefixes.v6", "\"\""},
      {"prefixes.allocation", "\"random\""},
      {"policy.mode", "\"database\""},
      {"policy.path", "\"/p\""},
      {"node.expiry", "\"1d\""},
      {"node.ephemeral.inactivity_timeout", "\"70s\""},
      {"node.routes.ha.probe_interval", "\"70s\""},
      {"node.routes.ha.probe_timeout", "\"70s\""},
      {"limits.pending_registration_lifetime", "\"70s\""},
      {"limits.relay_queue", "\"1GiB\""},
      {"limits.relay_queue_age", "\"70s\""},
      {"engine.io", "\"epoll\""},
      {"engine.tls", "\"kernel\""},
      {"store.max_size", "\"1GiB\""},
  };
  if (const auto value = values.find(key.path); value != values.end()) return value->second;
  Config defaults;
  const std::string shown = key.show(defaults);
  if (shown == "true") return "false";
  return shown == "false" ? "true" : "17";
}

}  // namespace ringscale::serverd

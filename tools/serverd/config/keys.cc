#include "tools/serverd/config/keys.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/key_kinds.h"

namespace ringscale::serverd {
namespace {

// What a running server takes over (ControlPlane::Reload, Server): the others are
// sockets, threads, and what the store and the addresses of nodes were laid out by. Who
// adds a key here makes Reload apply it.
constexpr std::string_view kAtReload[] = {
    "server_url",
    "trusted_proxies",
    "log.level",
    "log.format",
    "tls.cert",
    "tls.key",
    "tls.self_signed",
    "derp.region_id",
    "derp.region_code",
    "derp.region_name",
    "derp.host",
    "derp.port",
    "derp.ipv4",
    "derp.ipv6",
    "derp.allow_plain",
    "derp.insecure_for_old_clients",
    "derp.paths",
    "derp.urls",
    "derp.update_interval",
    "dns.magic_dns",
    "dns.override_local_dns",
    "dns.search_domains",
    "dns.extra_records",
    "dns.nameservers.global",
    "dns.nameservers.split",
    "policy.mode",
    "policy.path",
    "node.expiry",
    "node.ephemeral.inactivity_timeout",
    "node.routes.ha.probe_interval",
    "node.routes.ha.probe_timeout",
    "node.routes.ha.probe_misses",
    "limits.connections_per_source",
    "limits.pending_registrations",
    "limits.pending_registrations_per_source",
    "limits.pending_registration_lifetime",
    "limits.handshakes_per_front",
    "limits.full_maps_in_transmission",
    "limits.front_connections",
    "limits.control_connections",
};

std::vector<Key> MakeKeys() {
  using core::LogFormat;
  using core::LogLevel;
  using Family = core::IpAddress::Family;
  using Io = Config::Engine::Io;
  std::vector<Key> keys = {
      ListenKey(),
      TextKey("server_url", RINGSCALE_MEMBER(server_url),
              "The URL by which clients reach the server: what they pass to\n"
              "\"tailscale up --login-server\". Empty: whatever each client used.\n"
              "https:// without certificate files (section tls) means that a reverse proxy\n"
              "in front terminates TLS.",
              "a URL such as \"https://net.example.com\" without a path, or nothing",
              IsServerUrlOrEmpty),
      TextKey("data_dir", RINGSCALE_MEMBER(data_dir),
              "Database, private keys, certificates. Empty: /var/lib/ringscale for root, else\n"
              "$XDG_DATA_HOME/ringscale or ~/.local/share/ringscale."),
      TrustedProxiesKey(),

      TextKey("unix_socket.path", RINGSCALE_MEMBER(unix_socket.path),
              "The socket by which the other sub-commands reach the server. Empty:\n"
              "ringscale.sock in data_dir.",
              "a path of at most 107 bytes", IsSocketPathOrEmpty),
      SwitchKey("unix_socket.group_access", RINGSCALE_MEMBER(unix_socket.group_access),
                "Whether members of a group may use it too (mode 0660 instead of 0600). Who may\n"
                "use the socket may do everything."),
      TextKey("unix_socket.group", RINGSCALE_MEMBER(unix_socket.group),
              "That group's name. Empty: the server's own group."),

      ChoiceKey<LogLevel>("log.level", RINGSCALE_MEMBER(log.level),
                          {{"trace", LogLevel::kTrace},
                           {"debug", LogLevel::kDebug},
                           {"info", LogLevel::kInfo},
                           {"warn", LogLevel::kWarn},
                           {"error", LogLevel::kError}},
                          "\"trace\", \"debug\", \"info\", \"warn\" or \"error\"",
                          "trace, debug, info, warn or error."),
      ChoiceKey<LogFormat>("log.format", RINGSCALE_MEMBER(log.format),
                           {{"text", LogFormat::kText}, {"json", LogFormat::kJson}},
                           "\"text\" or \"json\"", "text for people, json for machines."),

      TextKey("metrics.listen", RINGSCALE_MEMBER(metrics.listen),
              "Where Prometheus finds /metrics. There is no password: keep it off the\n"
              "internet. Empty: nowhere.",
              "\"ADDRESS:PORT\" or nothing", IsListenAddressOrNone),

      TextKey("tls.cert", RINGSCALE_MEMBER(tls.cert),
              "Certificate chain and private key (PEM), both or neither. They are read again\n"
              "when they change. Without them the server makes a certificate of its own,\n"
              "which clients know by its pin."),
      TextKey("tls.key", RINGSCALE_MEMBER(tls.key), "The private key of tls.cert."),
      SwitchKey("tls.self_signed", RINGSCALE_MEMBER(tls.self_signed),
                "Clients reach the server's own certificate although server_url is https://,\n"
                "no proxy stands in between. They need its CA (tls-ca.pem in data_dir)."),

      SwitchKey("derp.enabled", RINGSCALE_MEMBER(derp.enabled),
                "The embedded relay, for peers that cannot reach each other directly. Only\n"
                "members of the tailnet may use it."),
      NumberKey<std::uint32_t>("derp.region_id", RINGSCALE_MEMBER(derp.region_id), 1, 65535,
                               "a number from 1 to 65535",
                               "Its region in the DERP map. 900 to 999 are free for own ones."),
      TextKey("derp.region_code", RINGSCALE_MEMBER(derp.region_code), "Its short name.",
              "a word of letters, digits and dashes", IsRegionCode),
      TextKey("derp.region_name", RINGSCALE_MEMBER(derp.region_name), "Its name for people."),
      TextKey("derp.host", RINGSCALE_MEMBER(derp.host),
              "Host name by which clients reach the relay. Empty: that of server_url, else\n"
              "whatever each client used.",
              "a host name, an IP address or nothing", IsHostOrEmpty),
      NumberKey<std::uint16_t>("derp.port", RINGSCALE_MEMBER(derp.port), 0, 65535,
                               "a number from 0 to 65535",
                               "The port of it. 0: that of server_url, else each client's."),
      TextKey("derp.ipv4", RINGSCALE_MEMBER(derp.ipv4),
              "Fixed addresses of the relay, so that clients need no DNS for it.",
              "an IPv4 address or nothing", IsIpv4OrEmpty),
      TextKey("derp.ipv6", RINGSCALE_MEMBER(derp.ipv6), "The same for IPv6.",
              "an IPv6 address or nothing", IsIpv6OrEmpty),
      ListKey("derp.stun_listen", RINGSCALE_MEMBER(derp.stun_listen),
              "a list of \"ADDRESS:PORT\", such as \":3478\"", IsListenAddress,
              "UDP addresses of STUN. With two ports clients can tell that they are behind a\n"
              "NAT that maps by destination; further ones answer but are not announced."),
      SwitchKey("derp.allow_plain", RINGSCALE_MEMBER(derp.allow_plain),
                "DERP without TLS also from elsewhere than this machine and trusted proxies.\n"
                "Who can read such a connection can repeat its login."),
      SwitchKey("derp.verify_clients", RINGSCALE_MEMBER(derp.verify_clients),
                "Whether only members of the tailnet may use the relay. Without it anybody who\n"
                "reaches the relay can, for whatever traffic."),
      SwitchKey("derp.insecure_for_old_clients", RINGSCALE_MEMBER(derp.insecure_for_old_clients),
                "Clients before 1.82 do not know the pin of the server's own certificate; with\n"
                "this they use the relay without checking it. The tunnel inside stays\n"
                "encrypted end to end."),
      ListKey("derp.paths", RINGSCALE_MEMBER(derp.paths), "a list of files", IsNotEmpty,
              "More DERP maps from files, JSON or YAML. Regions are merged by id, a null\n"
              "region removes one."),
      ListKey("derp.urls", RINGSCALE_MEMBER(derp.urls),
              "a list of URLs that start with http:// or https://", IsHttpUrl,
              "More DERP maps from the web.\n"
              "Example: [\"https://controlplane.tailscale.com/derpmap/default\"]"),
      DurationKey("derp.update_interval", RINGSCALE_MEMBER(derp.update_interval), core::Seconds(60),
                  "a duration of at least \"1m\"", "How often those are fetched again."),

      SwitchKey("dns.magic_dns", RINGSCALE_MEMBER(dns.magic_dns),
                "Whether members reach each other by name."),
      TextKey("dns.base_domain", RINGSCALE_MEMBER(dns.base_domain),
              "The domain of those names: laptop.tailnet.internal. Not the domain of\n"
              "server_url, nor one above it.",
              "a domain name", IsDomainNameOrEmpty),
      SwitchKey("dns.override_local_dns", RINGSCALE_MEMBER(dns.override_local_dns),
                "Whether members use nameservers.global for everything, instead of those of\n"
                "the network they are in."),
      ListKey("dns.search_domains", RINGSCALE_MEMBER(dns.search_domains), "a list of domain names",
              IsDomainName, "Domains in which members look up short names, after base_domain."),
      ExtraRecordsKey(),
      ListKey("dns.nameservers.global", RINGSCALE_MEMBER(dns.nameservers_global),
              "a list of IP addresses or DNS-over-HTTPS URLs", IsNameserver,
              "Nameservers for everything. Example: [\"9.9.9.9\", \"2620:fe::fe\"]"),
      SplitDnsKey(),

      PrefixKey("prefixes.v4", RINGSCALE_MEMBER(prefixes.v4), Family::kV4, 8, 30,
                "an IPv4 network such as \"100.64.0.0/10\" (prefix length 8 to 30), or nothing",
                "The addresses that nodes get. Clients expect them inside 100.64.0.0/10 and\n"
                "fd7a:115c:a1e0::/48. Empty: none of that family."),
      PrefixKey("prefixes.v6", RINGSCALE_MEMBER(prefixes.v6), Family::kV6, 32, 120,
                "an IPv6 network such as \"fd7a:115c:a1e0::/48\" (prefix length 32 to 120), or "
                "nothing",
                "The same for IPv6."),
      ChoiceKey<bool>("prefixes.allocation", RINGSCALE_MEMBER(prefixes.random),
                      {{"sequential", false}, {"random", true}}, "\"sequential\" or \"random\"",
                      "sequential: the next free address; random: any."),

      ChoiceKey<bool>(
          "policy.mode", RINGSCALE_MEMBER(policy.database), {{"file", false}, {"database", true}},
          "\"file\" or \"database\"",
          "file: the policy is that of policy.path, read again when it changes and on\n"
          "SIGHUP. database: it is set with \"ringscale policy set\" and kept with its\n"
          "history."),
      TextKey("policy.path", RINGSCALE_MEMBER(policy.path),
              "The policy file (HuJSON). Empty: everybody reaches everybody."),

      DurationKey("node.expiry", RINGSCALE_MEMBER(node.expiry), core::Duration{},
                  "a duration such as \"90d\", or \"0\"",
                  "How long a login lasts until it has to be repeated; tagged nodes never\n"
                  "expire. \"0\": for ever. Example: \"180d\""),
      DurationKey("node.ephemeral.inactivity_timeout",
                  RINGSCALE_MEMBER(node.ephemeral_inactivity_timeout), core::Seconds(65),
                  "a duration of at least \"65s\"",
                  "How long an ephemeral node may be away before it is deleted. Running clients\n"
                  "may be silent for up to a minute."),
      DurationKey("node.routes.ha.probe_interval", RINGSCALE_MEMBER(node.route_probe_interval),
                  core::Duration{}, "a duration such as \"5s\", or \"0\"",
                  "How often a router is asked whether it is there, while another one offers a\n"
                  "subnet of it too. \"0\": never."),
      DurationKey("node.routes.ha.probe_timeout", RINGSCALE_MEMBER(node.route_probe_timeout),
                  core::Seconds(1), "a duration of at least \"1s\"",
                  "How long an answer may take. A missed one is asked for again at once."),
      NumberKey<std::uint32_t>("node.routes.ha.probe_misses",
                               RINGSCALE_MEMBER(node.route_probe_misses), 1, 100,
                               "a number from 1 to 100",
                               "So many answers missing in a row, and another router takes over:\n"
                               "after interval + misses * timeout at the latest."),

      CountKey("limits.connections_per_source", RINGSCALE_MEMBER(limits.connections_per_source), 0,
               "Connections of one address (IPv6: one /64) that have not said yet who they\n"
               "are. 0: any number. This machine's own (127.0.0.1, ::1) may be 4096; that is\n"
               "everybody behind a proxy here that trusted_proxies does not name."),
      CountKey("limits.pending_registrations", RINGSCALE_MEMBER(limits.pending_registrations), 1,
               "Interactive logins that wait for approval, in all and of one address."),
      CountKey("limits.pending_registrations_per_source",
               RINGSCALE_MEMBER(limits.pending_registrations_per_source), 1, "The latter."),
      DurationKey("limits.pending_registration_lifetime",
                  RINGSCALE_MEMBER(limits.pending_registration_lifetime), core::Seconds(60),
                  "a duration of at least \"1m\"", "How long one waits."),
      CountKey("limits.handshakes_per_front", RINGSCALE_MEMBER(limits.handshakes_per_front), 1,
               "Handshakes in progress per front thread."),
      CountKey("limits.full_maps_in_transmission",
               RINGSCALE_MEMBER(limits.full_maps_in_transmission), 1,
               "Full network maps being sent at a time; in a reconnect storm the others wait."),
      CountKey("limits.front_connections", RINGSCALE_MEMBER(limits.front_connections), 1,
               "Connections that are in their handshake or fetch web pages."),
      CountKey("limits.control_connections", RINGSCALE_MEMBER(limits.control_connections), 1,
               "Control connections."),
      CountKey("limits.relay_connections", RINGSCALE_MEMBER(limits.relay_connections), 1,
               "Relay connections."),
      CountKey("limits.relay_bridges", RINGSCALE_MEMBER(limits.relay_bridges), 1,
               "Relay clients over WebSocket or TLS 1.2, which cost more."),
      SizeKey("limits.relay_queue", RINGSCALE_MEMBER(limits.relay_queue_bytes),
              std::uint64_t{32} << 10, std::uint64_t{1} << 30, "a size from \"32KiB\" to \"1GiB\"",
              "Packets that wait in the relay for one client. The oldest are dropped first;\n"
              "path discovery has a queue of its own and goes first."),
      DurationKey("limits.relay_queue_age", RINGSCALE_MEMBER(limits.relay_queue_age),
                  core::Millis(20), "a duration of at least \"20ms\"",
                  "How long a packet may wait there."),

      ChoiceKey<Io>("engine.io", RINGSCALE_MEMBER(engine.io),
                    {{"auto", Io::kAuto}, {"io_uring", Io::kIoUring}, {"epoll", Io::kEpoll}},
                    "\"auto\", \"io_uring\" or \"epoll\"",
                    "auto: io_uring where the kernel allows it, else epoll."),
      ChoiceKey<relay::TlsTransport>(
          "engine.tls", RINGSCALE_MEMBER(engine.tls),
          {{"auto", relay::TlsTransport::kAuto},
           {"user", relay::TlsTransport::kUser},
           {"kernel", relay::TlsTransport::kKernel}},
          "\"auto\", \"user\" or \"kernel\"",
          "Who makes the TLS records of relay clients. kernel: the kernel's module tls, for\n"
          "connections that it takes, else the server. auto: the kernel where it can change\n"
          "keys in place (Linux 6.14). ringscale-bench tls says what is faster here."),
      NumberKey<std::uint32_t>("engine.relay_shards", RINGSCALE_MEMBER(engine.relay_shards), 0, 64,
                               "a number from 0 to 64",
                               "Relay threads. 0: one per core that the server may use."),
      NumberKey<std::uint32_t>("engine.fronts", RINGSCALE_MEMBER(engine.fronts), 0, 64,
                               "a number from 0 to 64",
                               "Threads that accept connections. 0: one per such core."),
      SwitchKey("engine.core_dumps", RINGSCALE_MEMBER(engine.core_dumps),
                "Whether a crash may leave a core dump, and debuggers and profilers of the\n"
                "server's own user may look into it. The memory holds private keys."),

      SizeKey("store.max_size", RINGSCALE_MEMBER(store.max_bytes), std::uint64_t{16} << 20,
              std::numeric_limits<std::uint64_t>::max(), "a size of at least \"16MiB\"",
              "How far the database may grow."),
  };
  // After the keys of "derp".
  auto relay = RelayKeys();
  const auto dns = std::ranges::find(keys, "dns.magic_dns", &Key::path);
  keys.insert(dns, std::make_move_iterator(relay.begin()), std::make_move_iterator(relay.end()));
  for (Key& key : keys)
    key.at_reload = std::ranges::find(kAtReload, key.path) != std::end(kAtReload);
  return keys;
}

constexpr Section kSections[] = {
    {"unix_socket", "The command line's way to the server."},
    {"log", "Logs go to standard error."},
    {"metrics", "Figures for monitoring."},
    {"tls", "Certificates."},
    {"derp", "Relays."},
    {"relay",
     "A dedicated relay: ringscale relay. It uses derp.host, derp.stun_listen,\n"
     "derp.allow_plain and the sections tls, limits and engine, too."},
    {"dns", "Names in the tailnet."},
    {"dns.nameservers", "IP addresses or DNS-over-HTTPS URLs."},
    {"prefixes", "Addresses of the tailnet. Nodes keep those they have."},
    {"policy", "Who may reach whom. Without a policy everybody reaches everybody."},
    {"node", "Nodes."},
    {"node.ephemeral", "Nodes that are deleted when they are gone."},
    {"node.routes.ha", "Several routers of one subnet."},
    {"limits", "What strangers and crowds may use up."},
    {"engine", "Threads and system calls."},
    {"store", "The database."},
};

// Names in headscale's configuration, and what is said about them.
constexpr std::pair<std::string_view, std::string_view> kForeignNames[] = {
    {"listen_addr", "listen"},
    {"metrics_listen_addr", "metrics.listen"},
    {"grpc_listen_addr", ""},
    {"tls_cert_path", "tls.cert"},
    {"tls_key_path", "tls.key"},
    {"unix_socket_permission", "unix_socket.group_access"},
    {"unix_socket.mode", "unix_socket.group_access"},
    {"noise", ""},
    {"database", ""},
    {"derp.server.enabled", "derp.enabled"},
    {"derp.server.region_id", "derp.region_id"},
    {"derp.server.region_code", "derp.region_code"},
    {"derp.server.region_name", "derp.region_name"},
    {"derp.server.stun_listen_addr", "derp.stun_listen"},
    {"derp.server.ipv4", "derp.ipv4"},
    {"derp.server.ipv6", "derp.ipv6"},
    {"derp.server", "derp"},
    {"derp.auto_update_enabled", "derp.update_interval"},
    {"derp.update_frequency", "derp.update_interval"},
    {"ephemeral_node_inactivity_timeout", "node.ephemeral.inactivity_timeout"},
    {"ip_prefixes", "prefixes.v4"},
    {"dns.nameservers.restricted", "dns.nameservers.split"},
};

}  // namespace

std::span<const Key> Keys() {
  static const std::vector<Key> keys = MakeKeys();
  return keys;
}

std::span<const Section> Sections() {
  return kSections;
}

const Key* FindKey(std::string_view path) {
  const auto key = std::ranges::find(Keys(), path, &Key::path);
  return key == Keys().end() ? nullptr : &*key;
}

const Section* FindSection(std::string_view path) {
  const auto* section = std::ranges::find(kSections, path, &Section::path);
  return section == std::end(kSections) ? nullptr : section;
}

bool IsSection(std::string_view path) {
  return std::ranges::any_of(kSections, [&](const Section& section) {
    const std::string_view name = section.path;
    return name.starts_with(path) && (name.size() == path.size() || name[path.size()] == '.');
  });
}

std::string EnvironmentName(std::string_view path) {
  std::string name = "RINGSCALE_";
  for (const char c : path) {
    name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

std::string Advice(std::string_view path) {
  for (const auto& [theirs, ours] : kForeignNames) {
    if (path != theirs) continue;
    if (ours.empty()) return "; there is nothing to configure, keys and database are in data_dir";
    return "; here it is " + std::string(ours);
  }
  std::vector<std::string_view> names;
  for (const Key& key : Keys()) names.push_back(key.path);
  for (const Section& section : kSections) names.push_back(section.path);
  std::string_view nearest = Nearest(path, names);
  if (nearest.empty()) {
    // The right name in the wrong section.
    const std::string_view last = path.substr(path.rfind('.') + 1);
    for (const std::string_view name : names) {
      if (name.substr(name.rfind('.') + 1) == last) nearest = name;
    }
  }
  if (nearest.empty()) return {};
  return "; did you mean " + std::string(nearest) + "?";
}

}  // namespace ringscale::serverd

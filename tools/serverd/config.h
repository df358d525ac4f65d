// The configuration of the server: ringscale.toml, environment, flags of `serve`.
// Read and checked completely before any thread starts; every key is optional.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/net/address.h"
#include "core/obs/log.h"
#include "relay/app/kernel_transport.h"

namespace ringscale::serverd {

struct ExtraDnsRecord {
  std::string name;
  std::string type;  // "A" or "AAAA"
  std::string value;
  bool operator==(const ExtraDnsRecord&) const = default;
};

struct Config {
  // --- top level ---
  // "ADDRESS:PORT"; every entry serves TLS and plain HTTP. "auto", the default:
  // ":8080", and ":443" when it can be bound.
  std::vector<std::string> listen = {":8080"};
  bool listen_auto = true;
  std::string server_url;  // empty: built per client from its own request
  std::string data_dir;    // never empty after loading
  std::vector<core::IpPrefix> trusted_proxies;

  struct UnixSocket {
    std::string path;           // empty: <data_dir>/ringscale.sock
    bool group_access = false;  // mode 0660 instead of 0600
    std::string group;          // name of the group; empty: the process's own
    bool operator==(const UnixSocket&) const = default;
  } unix_socket;

  struct Log {
    core::LogLevel level = core::LogLevel::kInfo;
    core::LogFormat format = core::LogFormat::kText;
    bool operator==(const Log&) const = default;
  } log;

  struct Metrics {
    std::string listen = "127.0.0.1:9090";  // empty: none
    bool operator==(const Metrics&) const = default;
  } metrics;

  struct Tls {
    std::string cert;  // PEM files; both or neither
    std::string key;
    // Clients reach our own certificate although server_url is https:// and no files
    // are given (else a proxy is assumed to terminate TLS).
    bool self_signed = false;
    bool operator==(const Tls&) const = default;
  } tls;

  struct Derp {
    bool enabled = true;
    std::uint32_t region_id = 999;
    std::string region_code = "ringscale";
    std::string region_name = "ringscale embedded relay";
    std::string host;        // empty: from server_url, else per client
    std::uint16_t port = 0;  // 0: from server_url, else per client
    std::string ipv4;
    std::string ipv6;
    std::vector<std::string> stun_listen = {":3478", ":3479"};
    bool allow_plain = false;
    bool verify_clients = true;  // false: anybody may use the relay
    bool insecure_for_old_clients = true;
    std::vector<std::string> paths;
    std::vector<std::string> urls;
    core::Duration update_interval = core::Seconds(3 * 3600);
    bool operator==(const Derp&) const = default;
  } derp;

  // Of `ringscale relay` only.
  struct Relay {
    std::string key_file;             // derper's or ours; empty: in data_dir
    std::string http_listen = ":80";  // empty: none
    std::string home;                 // of "/": empty, "blank" or a URL to go to
    std::vector<std::string> bootstrap_dns_names;
    std::string mesh_key_file;
    std::vector<std::string> mesh_with;  // "HOST[:PORT][/DIAL-HOST]"
    bool verify_clients = false;         // by the tailscaled of this machine
    std::string tailscaled_socket = "/var/run/tailscale/tailscaled.sock";
    std::string verify_client_url;
    bool verify_client_url_fail_open = true;
    std::uint32_t accept_limit = 0;  // connections per second; 0: any number
    std::uint32_t accept_burst = 0;
    std::string rate_config;  // derper's file of receive rates
    core::Duration tcp_keep_alive = core::Seconds(600);
    core::Duration tcp_user_timeout = core::Seconds(15);
    core::Duration tcp_write_timeout = core::Seconds(2);  // 0: none
    core::Duration drain = core::Seconds(10);
    bool operator==(const Relay&) const = default;
  } relay;

  struct Dns {
    bool magic_dns = true;
    std::string base_domain = "tailnet.internal";
    bool override_local_dns = false;
    std::vector<std::string> nameservers_global;
    std::map<std::string, std::vector<std::string>> nameservers_split;
    std::vector<std::string> search_domains;
    std::vector<ExtraDnsRecord> extra_records;
    bool operator==(const Dns&) const = default;
  } dns;

  struct Policy {
    bool database = false;  // mode = "database" instead of "file"
    std::string path;       // empty: no policy
    bool operator==(const Policy&) const = default;
  } policy;

  struct Prefixes {
    std::optional<core::IpPrefix> v4 = core::IpPrefix::Parse("100.64.0.0/10");
    std::optional<core::IpPrefix> v6 = core::IpPrefix::Parse("fd7a:115c:a1e0::/48");
    bool random = false;  // allocation = "random" instead of "sequential"
    bool operator==(const Prefixes&) const = default;
  } prefixes;

  struct Node {
    core::Duration expiry{};  // of user-owned nodes; 0 = never
    core::Duration ephemeral_inactivity_timeout = core::Seconds(30 * 60);
    core::Duration route_probe_interval = core::Seconds(5);  // 0 = no probes
    core::Duration route_probe_timeout = core::Seconds(3);
    std::uint32_t route_probe_misses = 2;
    bool operator==(const Node&) const = default;
  } node;

  struct Limits {
    std::uint32_t connections_per_source = 32;  // not authenticated yet; 0 = none
    std::uint32_t pending_registrations = 1024;
    std::uint32_t pending_registrations_per_source = 16;
    core::Duration pending_registration_lifetime = core::Seconds(15 * 60);
    std::uint32_t handshakes_per_front = 64;
    std::uint32_t full_maps_in_transmission = 64;
    std::uint32_t front_connections = 16384;
    std::uint32_t control_connections = 200'000;
    std::uint32_t relay_connections = 200'000;
    std::uint32_t relay_bridges = 4096;
    std::uint64_t relay_queue_bytes = std::uint64_t{4} << 20;
    core::Duration relay_queue_age = core::Millis(200);
    bool operator==(const Limits&) const = default;
  } limits;

  struct Engine {
    enum class Io : std::uint8_t { kAuto, kIoUring, kEpoll };
    Io io = Io::kAuto;
    relay::TlsTransport tls = relay::TlsTransport::kAuto;
    std::uint32_t relay_shards = 0;  // 0: one per usable core
    std::uint32_t fronts = 0;        // 0: one per usable core
    bool core_dumps = false;         // for debugging: they hold keys
    bool operator==(const Engine&) const = default;
  } engine;

  struct Store {
    std::uint64_t max_bytes = std::uint64_t{8} << 30;  // how far the database may grow
    bool operator==(const Store&) const = default;
  } store;

  // Where it was read from; empty when there was no file.
  std::string source;
  // Where each key that was given stands: "ringscale.toml:12", "$RINGSCALE_LISTEN",
  // "--listen". Equal configurations may stand in different places.
  struct Origins {
    std::map<std::string, std::string, std::less<>> by_key;
    bool operator==(const Origins&) const { return true; }
  } origins;
  // What was odd about the sources themselves; part of Warnings.
  std::vector<std::string> source_warnings;

  bool operator==(const Config&) const = default;

  // Makes this the error of a value, or of several that do not fit together: says
  // where the first of these keys stands that was given, and names the key.
  [[nodiscard]] core::Error Blame(std::initializer_list<std::string_view> keys,
                                  core::Error error) const;
  template <class T>
  [[nodiscard]] core::Result<T> Blame(std::initializer_list<std::string_view> keys,
                                      core::Result<T> result) const {
    if (!result) return std::unexpected(Blame(keys, std::move(result.error())));
    return result;
  }

  // What works, but not as one may expect: a sentence each. `https_443`: whether the
  // server listens on port 443; as configured while that is not known.
  [[nodiscard]] std::vector<std::string> Warnings(
      std::optional<bool> https_443 = std::nullopt) const;
  [[nodiscard]] std::string SocketPath() const;
};

// Flags of the command line that override the file and the environment.
struct ConfigOverrides {
  // Any key: its value as an environment variable would hold it, and the flag that
  // errors name.
  struct Setting {
    std::string key;
    std::string value;
    std::string flag;
  };
  std::vector<Setting> settings;  // the flags below win over these
  std::optional<std::string> config_path;
  std::vector<std::string> listen;
  std::optional<std::string> server_url;
  std::optional<std::string> data_dir;
  std::optional<std::string> log_level;
  std::optional<std::string> socket;
};

// Search order: config_path, $RINGSCALE_CONFIG, /etc/ringscale/ringscale.toml,
// ./ringscale.toml; none is fine. Environment: RINGSCALE_<SECTION>_<KEY>. Errors
// name file, line, key and what was expected.
core::Result<Config> LoadConfig(const ConfigOverrides& overrides);
// The same from text; `name` stands for the file in errors. No environment: an
// unset data_dir is that of root.
core::Result<Config> ParseConfig(std::string_view toml, std::string_view name);

// The commented example: every key with its default.
std::string ExampleConfig();

}  // namespace ringscale::serverd

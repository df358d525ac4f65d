// The DERP map: which relays clients use (tailcfg.DERPMap), read from JSON or
// headscale's YAML, merged by region, and written for a client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace ringscale::control {

struct DerpNode {
  std::string name;  // unique in the map
  std::string host_name;
  std::string cert_name;  // expected name, or "sha256-raw:<hex>" of a self-signed certificate
  std::string ipv4;       // address, "none", or empty = DNS
  std::string ipv6;
  std::int32_t stun_port = 0;  // 0 = 3478, -1 = none
  bool stun_only = false;
  std::int32_t derp_port = 0;  // 0 = 443
  bool insecure_for_tests = false;
  std::string stun_test_ip;
  bool can_port_80 = false;
  auto operator<=>(const DerpNode&) const = default;
};

struct DerpRegion {
  std::uint32_t id = 0;
  std::string code;
  std::string name;
  std::optional<double> latitude;
  std::optional<double> longitude;
  bool avoid = false;
  bool no_measure_no_home = false;
  std::vector<DerpNode> nodes;  // in order of priority
  auto operator<=>(const DerpRegion&) const = default;
};

// Region ids travel in 16 bits on the data plane.
inline constexpr std::uint32_t kMaxDerpRegion = 65535;

// What one source says: regions by id; nullopt takes a region of an earlier
// source away.
struct DerpSourceMap {
  std::map<std::uint32_t, std::optional<DerpRegion>> regions;
  bool operator==(const DerpSourceMap&) const = default;
};

// What a policy says on top of the server's map (the hosted service's derpMap).
struct DerpOverlay {
  bool omit_default_regions = false;  // those of the server
  DerpSourceMap regions;
  std::optional<std::map<std::uint32_t, double>> region_scores;
  bool operator==(const DerpOverlay&) const = default;
};

// Our own relay. Where the configuration gives no host, every client gets the
// host (and port) by which it reached the server.
struct EmbeddedRegion {
  std::uint32_t id = 900;
  std::string code = "ringscale";
  std::string name = "ringscale embedded relay";
  std::string host;        // empty = per client; name or bare IP address
  std::uint16_t port = 0;  // 0 = per client
  std::string ipv4;        // fixed addresses, or empty
  std::string ipv6;
  std::uint16_t stun_port = 3478;  // 0 = no STUN
  // Announced as a second, STUN-only node: with a single address clients cannot
  // see that they are behind a NAT that maps by destination. 0 = none.
  std::uint16_t second_stun_port = 3479;
  // "sha256-raw:<hex>" when clients reach our own self-signed TLS, else empty.
  std::string pin;
  // Clients too old for the pin do not verify the relay's certificate at all;
  // their traffic is end-to-end encrypted by WireGuard all the same.
  bool insecure_for_old_clients = true;
  bool operator==(const EmbeddedRegion&) const = default;
};

// Clients from this capability version on know the pin in CertName.
inline constexpr std::uint32_t kCapabilityDerpPin = 115;
// Stands for an IPv6 address where a host name is needed ("https://" + HostName);
// the server's certificate carries it as a SAN.
inline constexpr std::string_view kInventedDerpHost = "derp.ringscale.internal";

struct DerpMap {
  std::map<std::uint32_t, DerpRegion> regions;
  std::optional<EmbeddedRegion> embedded;  // replaces a region of the same id
  // What clients multiply the measured latency of a region with; absent: they keep
  // what they were told before.
  std::optional<std::map<std::uint32_t, double>> region_scores;
  bool operator==(const DerpMap&) const = default;
};

struct DerpMapLimits {
  std::size_t bytes = 1024 * 1024;
  std::size_t regions = 1024;
  std::size_t nodes_per_region = 64;
};

// kInvalid or kLimit; the message says what is wrong and where.
[[nodiscard]] core::Result<DerpSourceMap> ParseDerpMapJson(std::string_view text,
                                                           const DerpMapLimits& limits = {});
// tailcfg's names in lower case, as headscale's derp.paths files have them.
[[nodiscard]] core::Result<DerpSourceMap> ParseDerpMapYaml(std::string_view text,
                                                           const DerpMapLimits& limits = {});
[[nodiscard]] core::Result<> CheckDerpRegion(const DerpRegion& region);

// Later sources replace or take away regions of earlier ones.
void MergeDerpMap(DerpMap& map, const DerpSourceMap& source);

// Where no region would be left the map stays as it is, and false is returned: without
// a relay clients do not start.
[[nodiscard]] bool ApplyDerpOverlay(DerpMap& map, const DerpOverlay& overlay);

// Whom a DERP map is written for.
struct DerpViewer {
  std::uint32_t capability = 0;
  std::string host;  // Host of the client's own /ts2021 request, with or without port
  bool https = false;
};
// Whether the map differs between hosts (else `host` and `https` do not matter).
[[nodiscard]] bool DependsOnHost(const DerpMap& map);
// The DERPMap object.
[[nodiscard]] std::string RenderDerpMap(const DerpMap& map, const DerpViewer& viewer);
// The embedded region as that client gets it; nullopt when its host is unusable.
[[nodiscard]] std::optional<DerpRegion> EmbeddedRegionFor(const EmbeddedRegion& embedded,
                                                          const DerpViewer& viewer);

}  // namespace ringscale::control

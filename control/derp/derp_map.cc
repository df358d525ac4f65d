#include "control/derp/derp_map.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/json/writer.h"
#include "core/net/address.h"

namespace ringscale::control {
namespace {

using core::ErrorCode;

bool IsHostText(std::string_view host) {
  if (host.empty() || host.size() > 255) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == ':';
  });
}

bool IsFixedAddress(std::string_view text, core::IpAddress::Family family) {
  if (text.empty() || text == "none") return true;
  const auto ip = core::IpAddress::Parse(text);
  return ip && ip->family == family;
}

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

// "name", "name:port", "1.2.3.4:5", "[::1]", "[::1]:5" or a bare IPv6 address.
std::optional<HostPort> SplitHostPort(std::string_view text, std::uint16_t default_port) {
  HostPort result{.host = {}, .port = default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    result.host = text.substr(1, end - 1);
    if (end + 1 < text.size()) {
      if (text[end + 1] != ':') return std::nullopt;
      port = text.substr(end + 2);
      if (port.empty()) return std::nullopt;
    }
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    const std::size_t colon = text.find(':');
    result.host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return std::nullopt;
  } else {
    result.host = text;
  }
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), result.port);
    if (error != std::errc() || end != port.data() + port.size() || result.port == 0) {
      return std::nullopt;
    }
  }
  if (!IsHostText(result.host)) return std::nullopt;
  if (result.host.find(':') != std::string::npos && !core::IpAddress::Parse(result.host)) {
    return std::nullopt;
  }
  return result;
}

void WriteNode(core::json::Writer& json, std::uint32_t region, const DerpNode& node) {
  json.BeginObject();
  json.Field("Name", node.name).Field("RegionID", region).Field("HostName", node.host_name);
  if (!node.cert_name.empty()) json.Field("CertName", node.cert_name);
  if (!node.ipv4.empty()) json.Field("IPv4", node.ipv4);
  if (!node.ipv6.empty()) json.Field("IPv6", node.ipv6);
  if (node.stun_port != 0) json.Field("STUNPort", node.stun_port);
  if (node.stun_only) json.Field("STUNOnly", true);
  if (node.derp_port != 0) json.Field("DERPPort", node.derp_port);
  if (node.insecure_for_tests) json.Field("InsecureForTests", true);
  if (!node.stun_test_ip.empty()) json.Field("STUNTestIP", node.stun_test_ip);
  if (node.can_port_80) json.Field("CanPort80", true);
  json.EndObject();
}

void WriteRegion(core::json::Writer& json, const DerpRegion& region) {
  json.NumberKey(region.id).BeginObject();
  json.Field("RegionID", region.id);
  json.Field("RegionCode", region.code).Field("RegionName", region.name);
  if (region.latitude) json.Field("Latitude", *region.latitude);
  if (region.longitude) json.Field("Longitude", *region.longitude);
  if (region.avoid) json.Field("Avoid", true);
  if (region.no_measure_no_home) json.Field("NoMeasureNoHome", true);
  json.Key("Nodes").BeginArray();
  for (const DerpNode& node : region.nodes) WriteNode(json, region.id, node);
  json.EndArray().EndObject();
}

}  // namespace

core::Result<> CheckDerpRegion(const DerpRegion& region) {
  const std::string where = "DERP region " + std::to_string(region.id);
  const auto refuse = [&](const std::string& what) {
    return core::Fail(ErrorCode::kInvalid, where + ": " + what);
  };
  if (region.id == 0 || region.id > kMaxDerpRegion) {
    return refuse("the id must lie between 1 and 65535");
  }
  if (region.nodes.empty()) return refuse("it has no nodes");
  std::set<std::string_view> names;
  for (const DerpNode& node : region.nodes) {
    if (node.name.empty()) return refuse("a node has no name");
    if (!names.insert(node.name).second) return refuse("two nodes are named " + node.name);
    const std::string at = "node " + node.name + ": ";
    if (!IsHostText(node.host_name)) return refuse(at + "the host name is missing or malformed");
    if (!IsFixedAddress(node.ipv4, core::IpAddress::Family::kV4)) {
      return refuse(at + "ipv4 must be an IPv4 address, \"none\" or empty");
    }
    if (!IsFixedAddress(node.ipv6, core::IpAddress::Family::kV6)) {
      return refuse(at + "ipv6 must be an IPv6 address, \"none\" or empty");
    }
    if (node.stun_port < -1 || node.stun_port > 65535) return refuse(at + "bad STUN port");
    if (node.derp_port < 0 || node.derp_port > 65535) return refuse(at + "bad DERP port");
  }
  return {};
}

void MergeDerpMap(DerpMap& map, const DerpSourceMap& source) {
  for (const auto& [id, region] : source.regions) {
    if (region) {
      map.regions[id] = *region;
    } else {
      map.regions.erase(id);
    }
  }
}

bool ApplyDerpOverlay(DerpMap& map, const DerpOverlay& overlay) {
  DerpMap out = overlay.omit_default_regions ? DerpMap() : map;
  MergeDerpMap(out, overlay.regions);
  // What is said of the embedded region's id is meant for that region.
  if (out.embedded && overlay.regions.regions.contains(out.embedded->id)) out.embedded.reset();
  if (out.regions.empty() && !out.embedded) return false;
  out.region_scores = overlay.region_scores;
  map = std::move(out);
  return true;
}

bool DependsOnHost(const DerpMap& map) {
  return map.embedded && (map.embedded->host.empty() || map.embedded->port == 0);
}

std::optional<DerpRegion> EmbeddedRegionFor(const EmbeddedRegion& embedded,
                                            const DerpViewer& viewer) {
  // A client of http://host reaches our relay by TLS on the same port.
  const std::uint16_t default_port = viewer.https ? 443 : 80;
  auto target = SplitHostPort(viewer.host, default_port);
  if (!embedded.host.empty()) {
    const std::uint16_t port = target ? target->port : default_port;
    target = HostPort{embedded.host, port};
  }
  if (!target) return std::nullopt;
  if (embedded.port != 0) target->port = embedded.port;

  DerpNode node;
  node.name = std::to_string(embedded.id) + "a";
  node.host_name = target->host;
  node.ipv4 = embedded.ipv4;
  node.ipv6 = embedded.ipv6;
  if (const auto ip = core::IpAddress::Parse(target->host)) {
    if (ip->is_v6()) {
      node.host_name = kInventedDerpHost;
      if (node.ipv6.empty()) node.ipv6 = ip->text();
      if (node.ipv4.empty()) node.ipv4 = "none";
    } else {
      if (node.ipv4.empty()) node.ipv4 = ip->text();
      if (node.ipv6.empty()) node.ipv6 = "none";
    }
  }
  node.derp_port = target->port == 443 ? 0 : target->port;
  node.stun_port = embedded.stun_port == 0 ? -1 : embedded.stun_port;
  if (node.stun_port == 3478) node.stun_port = 0;
  if (!embedded.pin.empty()) {
    if (viewer.capability >= kCapabilityDerpPin) {
      node.cert_name = embedded.pin;
    } else {
      node.insecure_for_tests = embedded.insecure_for_old_clients;
    }
  }

  DerpRegion region;
  region.id = embedded.id;
  region.code = embedded.code;
  region.name = embedded.name;
  region.nodes.push_back(node);
  if (embedded.stun_port != 0 && embedded.second_stun_port != 0) {
    DerpNode second;
    second.name = std::to_string(embedded.id) + "s";
    second.host_name = node.host_name;
    second.ipv4 = node.ipv4;
    second.ipv6 = node.ipv6;
    second.stun_port = embedded.second_stun_port;
    second.stun_only = true;
    region.nodes.push_back(std::move(second));
  }
  return region;
}

std::string RenderDerpMap(const DerpMap& map, const DerpViewer& viewer) {
  std::optional<DerpRegion> own;
  if (map.embedded) own = EmbeddedRegionFor(*map.embedded, viewer);
  std::string out;
  core::json::Writer json(out);
  json.BeginObject();
  if (map.region_scores) {
    json.Key("HomeParams").BeginObject().Key("RegionScore").BeginObject();
    for (const auto& [id, score] : *map.region_scores) json.NumberKey(id).Value(score);
    json.EndObject().EndObject();
  }
  json.Key("Regions").BeginObject();
  for (const auto& [id, region] : map.regions) {
    if (map.embedded && id == map.embedded->id) continue;
    WriteRegion(json, region);
  }
  if (own) WriteRegion(json, *own);
  json.EndObject();
  json.Field("omitDefaultRegions", true);
  json.EndObject();
  return out;
}

}  // namespace ringscale::control

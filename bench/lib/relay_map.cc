#include "bench/lib/relay_map.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "control/derp/derp_map.h"
#include "control/derp/derp_sources.h"

namespace ringscale::bench {
namespace {

constexpr std::uint16_t kDerpPort = 443;
constexpr std::uint16_t kStunPort = 3478;

const control::DerpRegion* FindRegion(const control::DerpMap& map, const std::string& wanted) {
  if (wanted.empty()) return map.regions.size() == 1 ? &map.regions.begin()->second : nullptr;
  for (const auto& [id, region] : map.regions) {
    if (region.code == wanted || std::to_string(id) == wanted) return &region;
  }
  return nullptr;
}

// What can be asked for, for an error's text.
std::string Choice(const control::DerpMap& map) {
  std::string text;
  for (const auto& [id, region] : map.regions) {
    text += (text.empty() ? "" : ", ") + std::to_string(id) + " " + region.code;
  }
  return text;
}

core::Result<RelayTarget> TargetOf(const control::DerpNode& node) {
  RelayTarget target;
  target.name = node.name;
  target.tls = true;
  target.host = node.host_name;
  target.server_name = node.host_name;
  // The map's own address, else its IPv6 one, else what the name says.
  std::string address = node.host_name;
  for (const std::string& ip : {node.ipv6, node.ipv4}) {
    if (core::IpAddress::Parse(ip)) address = ip;
  }
  const auto port = node.derp_port == 0 ? kDerpPort : static_cast<std::uint16_t>(node.derp_port);
  if (port != kDerpPort) target.host += ":" + std::to_string(port);
  auto resolved = Resolve(address, port);
  if (!resolved) return core::Forward(resolved);
  target.address = *resolved;
  if (node.stun_port >= 0) {
    target.stun_port = node.stun_port == 0 ? kStunPort : static_cast<std::uint16_t>(node.stun_port);
  }
  return target;
}

}  // namespace

core::Result<std::string> ReadMap(const std::string& file_or_url) {
  if (file_or_url.starts_with("http://") || file_or_url.starts_with("https://")) {
    return control::FetchUrl(file_or_url, control::DerpMapLimits{}.bytes, [] { return false; });
  }
  std::ifstream file(file_or_url);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file) return core::Fail(core::ErrorCode::kIo, "cannot read " + file_or_url);
  return text;
}

core::Result<std::vector<RelayTarget>> TargetsOfMap(std::string_view json,
                                                    const std::string& region) {
  auto source = control::ParseDerpMapJson(json);
  if (!source) return core::Forward(source);
  control::DerpMap map;
  control::MergeDerpMap(map, *source);
  const control::DerpRegion* found = FindRegion(map, region);
  if (found == nullptr) {
    return core::Fail(core::ErrorCode::kNotFound,
                      (region.empty() ? "--region: which one" : "no region '" + region + "'") +
                          std::string("; the map has: ") + Choice(map));
  }
  std::vector<RelayTarget> targets;
  for (const control::DerpNode& node : found->nodes) {
    if (node.stun_only) continue;
    auto target = TargetOf(node);
    if (!target) return core::Forward(target);
    targets.push_back(std::move(*target));
  }
  if (targets.empty()) {
    return core::Fail(core::ErrorCode::kNotFound, "region " + found->code + " has no relay");
  }
  return targets;
}

}  // namespace ringscale::bench

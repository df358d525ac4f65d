// headscale's YAML form of a DERP map (derp.paths).
#include <yaml-cpp/yaml.h>

#include <string>

#include "control/derp/derp_map.h"

namespace ringscale::control {
namespace {

using core::ErrorCode;

template <class T>
void Read(const YAML::Node& object, const char* key, T& out) {
  const YAML::Node value = object[key];
  if (value.IsDefined() && !value.IsNull()) out = value.as<T>();
}

DerpNode ReadNode(const YAML::Node& object) {
  DerpNode node;
  Read(object, "name", node.name);
  Read(object, "hostname", node.host_name);
  Read(object, "certname", node.cert_name);
  Read(object, "ipv4", node.ipv4);
  Read(object, "ipv6", node.ipv6);
  Read(object, "stunport", node.stun_port);
  Read(object, "stunonly", node.stun_only);
  Read(object, "derpport", node.derp_port);
  Read(object, "insecurefortests", node.insecure_for_tests);
  Read(object, "stuntestip", node.stun_test_ip);
  Read(object, "canport80", node.can_port_80);
  return node;
}

core::Result<DerpRegion> ReadRegion(const YAML::Node& object, std::uint32_t id,
                                    const DerpMapLimits& limits) {
  const std::string where = "DERP region " + std::to_string(id);
  if (!object.IsMap()) return core::Fail(ErrorCode::kInvalid, where + " is no map");
  DerpRegion region;
  region.id = id;
  std::uint32_t stated = id;
  Read(object, "regionid", stated);
  if (stated != id) {
    return core::Fail(ErrorCode::kInvalid,
                      where + " says of itself that it is region " + std::to_string(stated));
  }
  Read(object, "regioncode", region.code);
  Read(object, "regionname", region.name);
  Read(object, "avoid", region.avoid);
  Read(object, "nomeasurenohome", region.no_measure_no_home);
  const YAML::Node latitude = object["latitude"];
  if (latitude.IsDefined() && !latitude.IsNull()) region.latitude = latitude.as<double>();
  const YAML::Node longitude = object["longitude"];
  if (longitude.IsDefined() && !longitude.IsNull()) region.longitude = longitude.as<double>();
  const YAML::Node nodes = object["nodes"];
  if (nodes.IsDefined() && !nodes.IsNull()) {
    if (!nodes.IsSequence()) return core::Fail(ErrorCode::kInvalid, where + ": nodes is no list");
    if (nodes.size() > limits.nodes_per_region) {
      return core::Fail(ErrorCode::kLimit, where + ": too many nodes");
    }
    for (const YAML::Node& node : nodes) {
      if (!node.IsMap()) return core::Fail(ErrorCode::kInvalid, where + ": a node is no map");
      region.nodes.push_back(ReadNode(node));
    }
  }
  if (auto checked = CheckDerpRegion(region); !checked) return core::Forward(checked);
  return region;
}

core::Result<DerpSourceMap> ReadMap(const YAML::Node& root, const DerpMapLimits& limits) {
  if (!root.IsMap() || !root["regions"].IsDefined() || !root["regions"].IsMap()) {
    return core::Fail(ErrorCode::kInvalid, "DERP map: it has no map named regions");
  }
  DerpSourceMap map;
  for (const auto& entry : root["regions"]) {
    const auto id = entry.first.as<std::uint32_t>();
    if (id == 0 || id > kMaxDerpRegion) {
      return core::Fail(ErrorCode::kInvalid,
                        "DERP map: region ids must be numbers between 1 and 65535");
    }
    if (map.regions.size() >= limits.regions) {
      return core::Fail(ErrorCode::kLimit, "DERP map: too many regions");
    }
    if (entry.second.IsNull()) {
      map.regions[id] = std::nullopt;
      continue;
    }
    auto region = ReadRegion(entry.second, id, limits);
    if (!region) return core::Forward(region);
    map.regions[id] = std::move(*region);
  }
  return map;
}

}  // namespace

core::Result<DerpSourceMap> ParseDerpMapYaml(std::string_view text, const DerpMapLimits& limits) {
  if (text.size() > limits.bytes) {
    return core::Fail(ErrorCode::kLimit,
                      "DERP map is longer than " + std::to_string(limits.bytes) + " bytes");
  }
  try {
    // Nesting is bounded by yaml-cpp itself (500 levels).
    return ReadMap(YAML::Load(std::string(text)), limits);
  } catch (const YAML::Exception& error) {
    return core::Fail(ErrorCode::kInvalid, std::string("DERP map: ") + error.what());
  }
}

}  // namespace ringscale::control

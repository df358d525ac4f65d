// tailcfg.DERPMap as JSON.
#include <charconv>
#include <limits>

#include "control/derp/derp_map.h"
#include "core/http/header.h"
#include "core/json/reader.h"

namespace ringscale::control {
namespace {

using core::ErrorCode;
using core::http::EqualsIgnoreCase;
using core::json::Value;

// Reads members of one object; the first problem is kept.
class Reader {
 public:
  explicit Reader(std::string where) : where_(std::move(where)) {}

  void Read(std::string_view key, Value value, std::string& out) {
    if (value.absent()) return;
    const auto text = value.AsString();
    if (!text) return Refuse(key, "a string");
    out = *text;
  }
  void Read(std::string_view key, Value value, bool& out) {
    if (value.absent()) return;
    const auto parsed = value.AsBool();
    if (!parsed) return Refuse(key, "true or false");
    out = *parsed;
  }
  void Read(std::string_view key, Value value, std::int32_t& out) {
    if (value.absent()) return;
    const auto parsed = value.AsInt();
    if (!parsed || *parsed < std::numeric_limits<std::int32_t>::min() ||
        *parsed > std::numeric_limits<std::int32_t>::max()) {
      return Refuse(key, "a small whole number");
    }
    out = static_cast<std::int32_t>(*parsed);
  }
  void Read(std::string_view key, Value value, std::optional<double>& out) {
    if (value.absent()) return;
    out = value.AsDouble();
    if (!out) Refuse(key, "a number");
  }
  void Refuse(std::string_view key, std::string_view expected) {
    if (!error_.empty()) return;
    error_ = where_ + ": " + std::string(key) + " must be " + std::string(expected);
  }
  void RefuseWith(std::string message) {
    if (error_.empty()) error_ = where_ + ": " + std::move(message);
  }
  [[nodiscard]] bool ok() const { return error_.empty(); }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  std::string where_;
  std::string error_;
};

core::Result<DerpNode> ReadNode(Value object, const std::string& where) {
  DerpNode node;
  Reader reader(where);
  if (!object.is_object()) return core::Fail(ErrorCode::kInvalid, where + ": a node is no object");
  object.Members([&](std::string_view key, Value value) {
    if (EqualsIgnoreCase(key, "Name")) reader.Read(key, value, node.name);
    if (EqualsIgnoreCase(key, "HostName")) reader.Read(key, value, node.host_name);
    if (EqualsIgnoreCase(key, "CertName")) reader.Read(key, value, node.cert_name);
    if (EqualsIgnoreCase(key, "IPv4")) reader.Read(key, value, node.ipv4);
    if (EqualsIgnoreCase(key, "IPv6")) reader.Read(key, value, node.ipv6);
    if (EqualsIgnoreCase(key, "STUNPort")) reader.Read(key, value, node.stun_port);
    if (EqualsIgnoreCase(key, "STUNOnly")) reader.Read(key, value, node.stun_only);
    if (EqualsIgnoreCase(key, "DERPPort")) reader.Read(key, value, node.derp_port);
    if (EqualsIgnoreCase(key, "InsecureForTests")) reader.Read(key, value, node.insecure_for_tests);
    if (EqualsIgnoreCase(key, "STUNTestIP")) reader.Read(key, value, node.stun_test_ip);
    if (EqualsIgnoreCase(key, "CanPort80")) reader.Read(key, value, node.can_port_80);
    return reader.ok();
  });
  if (!reader.ok()) return core::Fail(ErrorCode::kInvalid, reader.error());
  return node;
}

core::Result<DerpRegion> ReadRegion(Value object, std::uint32_t id, const DerpMapLimits& limits) {
  const std::string where = "DERP region " + std::to_string(id);
  DerpRegion region;
  region.id = id;
  Reader reader(where);
  if (!object.is_object()) return core::Fail(ErrorCode::kInvalid, where + " is no object");
  std::int32_t stated = 0;
  object.Members([&](std::string_view key, Value value) {
    if (EqualsIgnoreCase(key, "RegionID")) reader.Read(key, value, stated);
    if (EqualsIgnoreCase(key, "RegionCode")) reader.Read(key, value, region.code);
    if (EqualsIgnoreCase(key, "RegionName")) reader.Read(key, value, region.name);
    if (EqualsIgnoreCase(key, "Latitude")) reader.Read(key, value, region.latitude);
    if (EqualsIgnoreCase(key, "Longitude")) reader.Read(key, value, region.longitude);
    if (EqualsIgnoreCase(key, "Avoid")) reader.Read(key, value, region.avoid);
    if (EqualsIgnoreCase(key, "NoMeasureNoHome"))
      reader.Read(key, value, region.no_measure_no_home);
    if (EqualsIgnoreCase(key, "Nodes") && !value.absent()) {
      if (!value.is_array()) reader.Refuse(key, "a list");
      region.nodes.clear();
      value.Elements([&](Value element) {
        if (region.nodes.size() >= limits.nodes_per_region) {
          reader.RefuseWith("too many nodes");
          return false;
        }
        auto node = ReadNode(element, where);
        if (!node) {
          reader.RefuseWith(node.error().message);
          return false;
        }
        region.nodes.push_back(std::move(*node));
        return true;
      });
    }
    return reader.ok();
  });
  if (!reader.ok()) return core::Fail(ErrorCode::kInvalid, reader.error());
  if (stated != 0 && static_cast<std::uint32_t>(stated) != id) {
    return core::Fail(ErrorCode::kInvalid,
                      where + " says of itself that it is region " + std::to_string(stated));
  }
  if (auto checked = CheckDerpRegion(region); !checked) return core::Forward(checked);
  return region;
}

}  // namespace

core::Result<DerpSourceMap> ParseDerpMapJson(std::string_view text, const DerpMapLimits& limits) {
  core::json::Parser parser;
  auto root = parser.Parse(text, {.max_bytes = limits.bytes});
  if (!root) return core::Forward(root);
  const Value regions = (*root)["Regions"];
  if (!regions.is_object()) {
    return core::Fail(ErrorCode::kInvalid, "DERP map: it has no object named Regions");
  }
  DerpSourceMap map;
  core::Result<> result;
  regions.Members([&](std::string_view key, Value value) {
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id == 0 || id > kMaxDerpRegion) {
      result = core::Fail(ErrorCode::kInvalid,
                          "DERP map: region ids must be numbers between 1 and 65535");
      return false;
    }
    if (map.regions.size() >= limits.regions && !map.regions.contains(id)) {
      result = core::Fail(ErrorCode::kLimit, "DERP map: too many regions");
      return false;
    }
    if (value.is_null()) {
      map.regions[id] = std::nullopt;
      return true;
    }
    auto region = ReadRegion(value, id, limits);
    if (!region) {
      result = core::Forward(region);
      return false;
    }
    map.regions[id] = std::move(*region);
    return true;
  });
  if (!result) return core::Forward(result);
  return map;
}

}  // namespace ringscale::control

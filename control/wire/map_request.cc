#include "control/wire/map_request.h"

#include <algorithm>
#include <optional>

#include "control/wire/field_reader.h"
#include "core/json/reader.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxHead = 128;
constexpr std::size_t kMaxFlag = 128;
constexpr std::size_t kMaxFlags = 16;

// Without its zone, which names an interface of the client, it is of no use to peers.
bool IsLinkLocalV6(const core::IpAddress& ip) {
  return ip.is_v6() && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
}

// Endpoints and EndpointTypes are parallel lists; they may come in any order.
void ReadEndpoints(core::json::Value addresses, core::json::Value types, std::size_t limit,
                   FieldReader& fields, std::vector<Endpoint>& out) {
  if (!addresses.absent() && !addresses.is_array()) {
    fields.Refuse("Endpoints", "a list");
    return;
  }
  if (!types.absent() && !types.is_array()) {
    fields.Refuse("EndpointTypes", "a list");
    return;
  }
  std::vector<std::uint8_t> kinds;
  types.Elements([&](core::json::Value value) {
    const auto kind = value.AsUint();
    if (!kind) fields.Refuse("EndpointTypes", "a list of small numbers");
    kinds.push_back(static_cast<std::uint8_t>(kind.value_or(0) <= 255 ? kind.value_or(0) : 0));
    return fields.ok() && kinds.size() < 4 * limit;
  });
  std::size_t index = 0;
  addresses.Elements([&](core::json::Value value) {
    const auto text = value.AsString();
    if (!text) {
      fields.Refuse("Endpoints", "a list of ip:port");
      return false;
    }
    const std::size_t at = index++;
    if (text->find('%') != std::string_view::npos) return index < 4 * limit;  // zoned
    const auto address = core::SocketAddress::Parse(*text);
    if (!address) {
      fields.Refuse("Endpoints", "a list of ip:port");
      return false;
    }
    const bool known = std::any_of(
        out.begin(), out.end(), [&](const Endpoint& other) { return other.address == *address; });
    if (!known && !IsLinkLocalV6(address->ip)) {
      out.push_back({*address, at < kinds.size() ? kinds[at] : std::uint8_t{0}});
    }
    return out.size() < limit && index < 4 * limit;
  });
}

}  // namespace

core::Result<MapRequest> ParseMapRequest(std::string_view body, const MapRequestLimits& limits) {
  thread_local core::json::Parser parser;
  auto root = parser.Parse(body, {.max_bytes = limits.body});
  if (!root) return core::Forward(root);
  if (!root->is_object()) {
    return core::Fail(core::ErrorCode::kInvalid, "map request must be a JSON object");
  }
  MapRequest request;
  FieldReader fields("map request");
  core::json::Value endpoints;
  core::json::Value endpoint_types;
  root->Members([&](std::string_view key, core::json::Value value) {
    if (key == "Version") {
      fields.Read(key, value, request.version);
    } else if (key == "Compress") {
      std::string compress;
      fields.Read(key, value, compress, 32);
      request.zstd = compress == "zstd";
      if (!request.zstd && !compress.empty()) fields.Refuse(key, "\"zstd\" or empty");
    } else if (key == "KeepAlive") {
      fields.Read(key, value, request.keep_alive);
    } else if (key == "NodeKey") {
      fields.Read(key, value, request.node_key);
    } else if (key == "DiscoKey") {
      fields.Read(key, value, request.disco_key);
    } else if (key == "Stream") {
      fields.Read(key, value, request.stream);
    } else if (key == "OmitPeers") {
      fields.Read(key, value, request.omit_peers);
    } else if (key == "ReadOnly") {
      fields.Read(key, value, request.read_only);
    } else if (key == "Hostinfo") {
      fields.ReadObject(key, value, request.hostinfo, limits.hostinfo);
    } else if (key == "Endpoints") {
      endpoints = value;
    } else if (key == "EndpointTypes") {
      endpoint_types = value;
    } else if (key == "TKAHead") {
      fields.Read(key, value, request.tka_head, kMaxHead);
    } else if (key == "DebugFlags") {
      if (!value.absent() && !value.is_array()) fields.Refuse(key, "a list");
      value.Elements([&](core::json::Value flag) {
        std::string text;
        fields.Read(key, flag, text, kMaxFlag);
        request.debug_flags.push_back(std::move(text));
        return fields.ok() && request.debug_flags.size() < kMaxFlags;
      });
    }
    return fields.ok();
  });
  if (fields.ok()) {
    ReadEndpoints(endpoints, endpoint_types, limits.endpoints, fields, request.endpoints);
  }
  if (!fields.ok()) return std::unexpected(fields.error());
  if (request.node_key.zero()) {
    return core::Fail(core::ErrorCode::kInvalid, "map request: NodeKey is missing");
  }
  return request;
}

}  // namespace ringscale::control

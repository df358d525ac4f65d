#include "relay/login/client_info.h"

#include <algorithm>
#include <utility>

#include "core/base/hex.h"
#include "relay/login/json_cursor.h"

namespace ringscale::relay {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool SameKey(std::string_view key, std::string_view lower_case_name) {
  return std::equal(key.begin(), key.end(), lower_case_name.begin(), lower_case_name.end(),
                    [](char a, char b) { return Lower(a) == b; });
}

bool ReadBool(JsonCursor& json, bool& out) {
  if (json.TakeWord("true")) {
    out = true;
    return true;
  }
  if (json.TakeWord("false")) {
    out = false;
    return true;
  }
  return json.TakeWord("null");
}

// A null leaves the field as it is, except for the mesh key, where only a key
// will do.
bool ReadMember(JsonCursor& json, std::string_view key, ClientInfo& info) {
  if (SameKey(key, "meshkey")) {
    const auto text = json.TakeString();
    if (!text) return false;
    info.mesh_key = ParseMeshKey(*text);
    return info.mesh_key.has_value();
  }
  if (SameKey(key, "version")) {
    if (json.TakeWord("null")) return true;
    const auto version = json.TakeInteger();
    if (version) info.version = *version;
    return version.has_value();
  }
  if (SameKey(key, "canackpings")) return ReadBool(json, info.can_ack_pings);
  if (SameKey(key, "isprober")) return ReadBool(json, info.is_prober);
  if (SameKey(key, "appname")) {
    if (json.TakeWord("null")) return true;
    auto name = json.TakeString();
    if (!name) return false;
    name->resize(std::min(name->size(), kMaxAppNameBytes));
    info.app_name = std::move(*name);
    return true;
  }
  return json.SkipValue();
}

}  // namespace

std::optional<MeshKey> ParseMeshKey(std::string_view hex) {
  MeshKey key{};
  if (!core::HexDecodeTo(hex, key)) return std::nullopt;
  return key;
}

core::Result<ClientInfo> ParseClientInfo(std::string_view text) {
  const auto invalid = [] {
    return core::Fail(core::ErrorCode::kInvalid, "ClientInfo holds no valid JSON object");
  };
  ClientInfo info;
  JsonCursor json(text);
  if (json.TakeWord("null")) {
    if (!json.AtEnd()) return invalid();
    return info;
  }
  if (!json.Take('{')) return invalid();
  if (!json.Take('}')) {
    do {
      const auto key = json.TakeString();
      if (!key || !json.Take(':') || !ReadMember(json, *key, info)) return invalid();
    } while (json.Take(','));
    if (!json.Take('}')) return invalid();
  }
  if (!json.AtEnd()) return invalid();
  return info;
}

}  // namespace ringscale::relay

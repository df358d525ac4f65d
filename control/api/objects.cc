#include "control/api/objects.h"

#include "control/state/routes.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kZeroTime = "0001-01-01T00:00:00Z";

std::string_view MethodName(storage::RegisterMethod method) {
  switch (method) {
    case storage::RegisterMethod::kAuthKey:
      return "REGISTER_METHOD_AUTH_KEY";
    case storage::RegisterMethod::kCli:
      return "REGISTER_METHOD_CLI";
    case storage::RegisterMethod::kOidc:
      return "REGISTER_METHOD_OIDC";
    case storage::RegisterMethod::kUnknown:
      break;
  }
  return "REGISTER_METHOD_UNSPECIFIED";
}

void WriteTaggedDevices(core::json::Writer& json) {
  json.BeginObject();
  WriteId(json, "id", kTaggedDevicesUser);
  json.Field("name", "tagged-devices")
      .PlainField("createdAt", kZeroTime)
      .Field("displayName", "Tagged Devices")
      .Field("email", "")
      .Field("providerId", "")
      .Field("provider", "")
      .Field("profilePicUrl", "")
      .EndObject();
}

template <class Items>
void WriteTexts(core::json::Writer& json, std::string_view name, const Items& items) {
  json.Key(name).BeginArray();
  for (const auto& item : items) json.Value(item);
  json.EndArray();
}

void WriteRoutes(core::json::Writer& json, std::string_view name,
                 const std::vector<core::IpPrefix>& routes) {
  json.Key(name).BeginArray();
  for (const core::IpPrefix& route : routes) json.Plain(route.text());
  json.EndArray();
}

void WriteOwner(core::json::Writer& json, const Registry& registry, UserId id) {
  json.Key("user");
  const storage::UserRow* user = registry.FindUser(id);
  if (user != nullptr) {
    WriteUser(json, *user);
  } else {
    json.Null();
  }
}

}  // namespace

void WriteId(core::json::Writer& json, std::string_view name, std::uint64_t id) {
  json.PlainField(name, std::to_string(id));
}

void WriteTime(core::json::Writer& json, std::string_view name,
               const std::optional<core::WallTime>& time) {
  json.Key(name);
  if (time) {
    json.Plain(core::FormatRfc3339(*time));
  } else {
    json.Null();
  }
}

void WriteUser(core::json::Writer& json, const storage::UserRow& user) {
  json.BeginObject();
  WriteId(json, "id", user.id);
  json.Field("name", user.name);
  WriteTime(json, "createdAt", user.created);
  json.Field("displayName", user.display_name)
      .Field("email", user.email)
      .Field("providerId", "")
      .Field("provider", user.provider)
      .Field("profilePicUrl", user.picture_url)
      .EndObject();
}

void WritePreAuthKey(core::json::Writer& json, const Registry& registry,
                     const storage::PreAuthKeyRow& key, std::string_view key_text) {
  json.BeginObject();
  WriteOwner(json, registry, key.user_id);
  WriteId(json, "id", key.id);
  json.Key("key");
  if (key_text.empty()) {
    json.Value(std::string(kPreAuthKeyIntro) + key.prefix + "-***");
  } else {
    json.Value(key_text);
  }
  json.Field("reusable", key.reusable).Field("ephemeral", key.ephemeral).Field("used", key.used);
  json.PlainField("expiration",
                  key.expiry ? core::FormatRfc3339(*key.expiry) : std::string(kZeroTime));
  WriteTime(json, "createdAt", key.created);
  WriteTexts(json, "aclTags", key.tags);
  json.EndObject();
}

void WriteNode(core::json::Writer& json, const Registry& registry, const Node& node,
               TaggedOwner tagged) {
  const storage::NodeRow& row = node.row;
  json.BeginObject();
  WriteId(json, "id", row.id);
  json.PlainField("machineKey", row.machine_key.text())
      .PlainField("nodeKey", row.node_key.text())
      .PlainField("discoKey", row.disco_key.text());
  json.Key("ipAddresses").BeginArray();
  for (const core::IpAddress* ip : {&row.ipv4, &row.ipv6}) {
    if (ip->valid()) json.Plain(ip->text());
  }
  json.EndArray().Field("name", row.hostname);
  if (node.tagged() && tagged == TaggedOwner::kPseudo) {
    json.Key("user");
    WriteTaggedDevices(json);
  } else {
    WriteOwner(json, registry, row.user_id);
  }
  WriteTime(json, "lastSeen", row.last_seen);
  WriteTime(json, "expiry", row.expiry);
  json.Key("preAuthKey");
  const auto key = registry.pre_auth_keys().find(row.auth_key_id);
  if (key != registry.pre_auth_keys().end()) {
    WritePreAuthKey(json, registry, key->second);
  } else {
    json.Null();
  }
  WriteTime(json, "createdAt", row.created);
  json.Field("registerMethod", MethodName(row.method))
      .Field("givenName", row.given_name)
      .Field("online", node.online);
  WriteRoutes(json, "approvedRoutes", row.approved_routes);
  WriteRoutes(json, "availableRoutes", node.announced_routes);
  std::vector<core::IpPrefix> serving = registry.PrimaryRoutes(row.id);
  for (const core::IpPrefix& exit : ExitRoutes(node)) serving.push_back(exit);
  WriteRoutes(json, "subnetRoutes", serving);
  WriteTexts(json, "tags", row.tags);
  json.EndObject();
}

}  // namespace ringscale::control

#include "control/wire/node_json.h"

#include <algorithm>

#include "control/dns/dns_settings.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

using core::json::Writer;

constexpr std::string_view kGoZeroTime = "0001-01-01T00:00:00Z";
// Largest id that survives JavaScript; no node ever gets it.
constexpr std::uint64_t kUnknownNode = 9007199254740991;
constexpr UserId kLoggedOutUser = kTaggedDevicesUser - 1;

std::string Seconds(core::WallTime time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t seconds = time.unix_ns / kSecond;
  if (time.unix_ns % kSecond < 0) --seconds;
  return core::FormatRfc3339({seconds * kSecond});
}

std::vector<core::IpPrefix> Addresses(const Node& node, bool ipv6_only) {
  std::vector<core::IpPrefix> addresses;
  const bool v4 = !ipv6_only || !node.row.ipv6.valid();
  if (node.row.ipv4.valid() && v4) addresses.push_back(core::IpPrefix::Host(node.row.ipv4));
  if (node.row.ipv6.valid()) addresses.push_back(core::IpPrefix::Host(node.row.ipv6));
  return addresses;
}

void WritePrefixes(Writer& json, std::string_view key, const std::vector<core::IpPrefix>& list) {
  json.Key(key).BeginArray();
  for (const core::IpPrefix& prefix : list) json.Plain(prefix.text());
  json.EndArray();
}

void WriteEndpoints(Writer& json, const Node& node) {
  json.Key("Endpoints").BeginArray();
  for (const Endpoint& endpoint : node.endpoints) json.Plain(endpoint.address.text());
  json.EndArray();
}

// The members that own and peer nodes share, from ID to PrimaryRoutes. Whether an exit
// route is among them.
bool WriteIdentity(Writer& json, const Node& node, const NodeSurroundings& surroundings) {
  const storage::NodeRow& row = node.row;
  json.Field("ID", row.id).Field("StableID", row.stable_id);
  json.Field("Name", NodeFqdn(row.given_name, surroundings.base_domain));
  json.Field("User", node.wire_user());
  json.PlainField("Key", row.node_key.text());
  if (row.expiry) json.PlainField("KeyExpiry", Seconds(*row.expiry));
  if (!row.disco_key.zero()) json.PlainField("DiscoKey", row.disco_key.text());
  const std::vector<core::IpPrefix> addresses = Addresses(node, surroundings.ipv6_only);
  WritePrefixes(json, "Addresses", addresses);
  const std::vector<core::IpPrefix> allowed = AllowedIps(node, surroundings);
  if (allowed != addresses) WritePrefixes(json, "AllowedIPs", allowed);
  if (!surroundings.primary_routes.empty()) {
    WritePrefixes(json, "PrimaryRoutes", surroundings.primary_routes);
  }
  return std::ranges::any_of(allowed, &core::IpPrefix::IsDefaultRoute);
}

void WriteState(Writer& json, const Node& node) {
  if (node.home_derp != 0) json.Field("HomeDERP", node.home_derp);
  if (!node.peer_hostinfo.empty()) json.RawField("Hostinfo", node.peer_hostinfo);
  json.PlainField("Created", Seconds(node.row.created));
  if (node.row.capability_version != 0) json.Field("Cap", node.row.capability_version);
  if (!node.row.tags.empty()) {
    json.Key("Tags").BeginArray();
    for (const std::string& tag : node.row.tags) json.Value(tag);
    json.EndArray();
  }
}

}  // namespace

std::vector<core::IpPrefix> AllowedIps(const Node& node, const NodeSurroundings& surroundings) {
  std::vector<core::IpPrefix> allowed = Addresses(node, surroundings.ipv6_only);
  allowed.insert(allowed.end(), surroundings.primary_routes.begin(),
                 surroundings.primary_routes.end());
  if (!surroundings.exit_routes) return allowed;
  // Every approved exit node is offered, none is elected.
  for (const core::IpPrefix& route : node.announced_routes) {
    if (!route.IsDefaultRoute()) continue;
    const auto& approved = node.row.approved_routes;
    if (std::find(approved.begin(), approved.end(), route) != approved.end()) {
      allowed.push_back(route);
    }
  }
  return allowed;
}

void AppendPeer(std::string& out, const Node& node, const NodeSurroundings& surroundings) {
  Writer json(out);
  json.BeginObject();
  const bool exit_node = WriteIdentity(json, node, surroundings);
  if (!node.endpoints.empty()) WriteEndpoints(json, node);
  WriteState(json, node);
  // Lets clients choose it when they are asked for the best exit node.
  if (exit_node) json.Key("CapMap").BeginObject().Key("suggest-exit-node").Null().EndObject();
  // Also while online: some clients draw a peer without it as offline.
  if (node.row.last_seen) json.PlainField("LastSeen", Seconds(*node.row.last_seen));
  json.Field("Online", node.online);
  json.EndObject();
}

void AppendSelf(std::string& out, const Node& node, const NodeSurroundings& surroundings,
                const SelfOptions& options) {
  Writer json(out);
  json.BeginObject();
  WriteIdentity(json, node, surroundings);
  json.PlainField("Machine", node.row.machine_key.text());
  WriteState(json, node);
  json.Field("Online", true);
  // False would ask the user for an approval that does not exist here; an expired
  // key speaks for itself.
  json.Field("MachineAuthorized", true);
  json.Key("CapMap").BeginObject();
  json.Key("https://tailscale.com/cap/is-admin").Null();
  json.Key("https://tailscale.com/cap/ssh").Null();
  json.Key("ssh-env-vars").Null();
  json.Key("suggest-exit-node-ui").Null();
  if (options.file_sharing) json.Key("https://tailscale.com/cap/file-sharing").Null();
  json.Key("default-auto-update").BeginArray().Value(false).EndArray();
  if (options.policy != nullptr) options.policy->AddSelfCapabilities(node, json);
  json.EndObject();
  json.EndObject();
}

void AppendExpiredSelf(std::string& out, const core::NodePublic& node_key,
                       std::string_view base_domain) {
  Writer json(out);
  json.BeginObject();
  json.Field("ID", kUnknownNode).Field("StableID", "logged-out");
  json.Field("Name", NodeFqdn("logged-out", base_domain));
  json.Field("User", kLoggedOutUser);
  json.PlainField("Key", node_key.text());
  json.PlainField("KeyExpiry", "1970-01-01T00:02:03Z");
  json.Key("Addresses").BeginArray().EndArray();
  json.Field("MachineAuthorized", true);
  json.EndObject();
}

bool AppendPeerPatch(std::string& out, const Node& node, std::uint16_t fields) {
  const std::size_t before = out.size();
  Writer json(out);
  json.BeginObject().Field("NodeID", node.row.id);
  const std::size_t empty = out.size();
  // A zero region cannot be told; clients fall back from it by themselves.
  if ((fields & Change::kHomeDerp) != 0 && node.home_derp != 0) {
    json.Field("DERPRegion", node.home_derp);
  }
  if ((fields & Change::kCapVersion) != 0 && node.row.capability_version != 0) {
    json.Field("Cap", node.row.capability_version);
  }
  if ((fields & Change::kEndpoints) != 0) WriteEndpoints(json, node);
  if ((fields & Change::kNodeKey) != 0) json.PlainField("Key", node.row.node_key.text());
  if ((fields & Change::kDiscoKey) != 0 && !node.row.disco_key.zero()) {
    json.PlainField("DiscoKey", node.row.disco_key.text());
  }
  if ((fields & Change::kOnline) != 0) json.Field("Online", node.online);
  if ((fields & Change::kLastSeen) != 0 && node.row.last_seen) {
    json.PlainField("LastSeen", Seconds(*node.row.last_seen));
  }
  if ((fields & Change::kKeyExpiry) != 0) {
    json.PlainField("KeyExpiry",
                    node.row.expiry ? Seconds(*node.row.expiry) : std::string(kGoZeroTime));
  }
  if (out.size() == empty) {
    out.resize(before);
    return false;
  }
  json.EndObject();
  return true;
}

void AppendUserProfile(std::string& out, const storage::UserRow& user) {
  Writer json(out);
  json.BeginObject().Field("ID", user.id);
  json.Field("LoginName", user.email.empty() ? user.name : user.email);
  json.Field("DisplayName", user.display_name.empty() ? user.name : user.display_name);
  if (!user.picture_url.empty()) json.Field("ProfilePicURL", user.picture_url);
  json.EndObject();
}

void AppendTaggedDevicesProfile(std::string& out) {
  Writer json(out);
  json.BeginObject().Field("ID", kTaggedDevicesUser);
  json.Field("LoginName", "tagged-devices").Field("DisplayName", "Tagged Devices");
  json.EndObject();
}

void AppendLoggedOutProfile(std::string& out) {
  Writer json(out);
  json.BeginObject().Field("ID", kLoggedOutUser);
  json.Field("LoginName", "logged-out").Field("DisplayName", "Logged out");
  json.EndObject();
}

}  // namespace ringscale::control

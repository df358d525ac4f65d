#include "control/api/admin_api.h"
#include "control/api/objects.h"
#include "control/auth/client_version.h"

namespace ringscale::control {

std::vector<std::string> AdminApi::NotesOn(const Node& node) const {
  std::vector<std::string> notes;
  const std::uint32_t capability = node.row.capability_version;
  if (capability != 0 && capability < kMinCapabilityVersion) {
    notes.push_back(UnsupportedClient(capability));
  }
  if (node.expired(loop_.Wall())) {
    notes.push_back(
        "The node's key has expired: it reaches nobody until its user logs in again on it "
        "(`tailscale up --force-reauth`).");
  }
  if (options_.node_notes) {
    for (std::string& note : options_.node_notes(node)) notes.push_back(std::move(note));
  }
  return notes;
}

void AdminApi::NodeDetail(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  static constexpr std::string_view kDoing = "getting node";
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem(kDoing, id.error()));
    return;
  }
  const Node* node = registry_.FindNode(*id);
  if (node == nullptr) {
    respond(Problem(404, kDoing, {{"node not found", ""}}));
    return;
  }
  const std::string& domain = registry_.options().base_domain;
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("node");
  WriteNode(json, registry_, *node, TaggedOwner::kPseudo);
  json.Key("detail").BeginObject();
  json.Field("stableId", node->row.stable_id)
      .Field("dnsName", domain.empty() ? node->row.given_name : node->row.given_name + "." + domain)
      .Field("os", node->os)
      .Field("clientVersion", node->client_version)
      .Field("capabilityVersion", node->row.capability_version)
      .Field("ephemeral", node->row.ephemeral)
      .Field("homeRegion", node->home_derp)
      .Field("homeRegionName", options_.region_name && node->home_derp != 0
                                   ? options_.region_name(node->home_derp)
                                   : std::string())
      .Field("relayConnected", node->relay_connected);
  json.Key("endpoints").BeginArray();
  for (const Endpoint& endpoint : node->endpoints) json.Plain(endpoint.address.text());
  json.EndArray().Key("notes").BeginArray();
  for (const std::string& note : NotesOn(*node)) json.Value(note);
  json.EndArray().EndObject().EndObject();
  respond(JsonAnswer(std::move(body)));
}

}  // namespace ringscale::control

#include "control/policy/policy_index.h"

#include <algorithm>

#include "control/state/routes.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

// Of nodes that the engine does not have (any more).
constexpr std::uint32_t kNoClass = UINT32_MAX;

}  // namespace

policy::PolicyNode PolicyNodeOf(const Node& node) {
  policy::PolicyNode out;
  out.id = node.row.id;
  out.tags = node.row.tags;
  if (!node.tagged()) out.user = node.row.user_id;
  out.name = node.row.given_name;
  out.v4 = node.row.ipv4;
  out.v6 = node.row.ipv6;
  out.routes = SubnetRoutes(node);
  const auto exits = ExitRoutes(node);
  out.routes.insert(out.routes.end(), exits.begin(), exits.end());
  out.os = node.os;
  out.os_version = node.os_version;
  // "1.80.3-t1234567-g89": the version is what stands before the commit.
  out.client_version = node.client_version.substr(0, node.client_version.find('-'));
  return out;
}

policy::PolicyUser PolicyUserOf(const storage::UserRow& row, bool owner) {
  policy::PolicyUser out;
  out.id = row.id;
  out.name = row.name;
  out.email = row.email;
  out.role = owner ? policy::Role::kOwner : policy::Role::kMember;
  return out;
}

PolicyIndex::PolicyIndex(EachNode each_node, PrimaryOf primary_of)
    : each_node_(std::move(each_node)),
      primary_of_(std::move(primary_of)),
      no_ssh_(std::make_shared<const std::string>(R"({"rules":[]})")) {}

void PolicyIndex::Use(std::shared_ptr<const policy::Program> program,
                      policy::EngineSettings settings) {
  program_ = std::move(program);
  settings_ = std::move(settings);
  Fill();
}

void PolicyIndex::Fill() {
  engine_.reset();
  primaries_.clear();
  routers_.clear();
  varied_.clear();
  versions_.clear();
  ++last_version_;
  if (!program_) return;
  engine_ = std::make_unique<policy::Engine>(program_, settings_);
  each_node_([this](const Node& node) { static_cast<void>(PutNode(node)); });
  versions_.clear();
}

bool PolicyIndex::Worn() const {
  return engine_->class_ids() > 2 * engine_->class_count() + 1024;
}

void PolicyIndex::Note(const policy::Affected& affected) {
  ++last_version_;
  const auto mark = [this](policy::ClassId id) { versions_[id] = last_version_; };
  affected.filters.Each(mark);
  affected.ssh.Each(mark);
}

bool PolicyIndex::RefreshPrimaries(std::span<const core::IpPrefix> routes) {
  bool changed = false;
  for (const auto& route : routes) {
    if (route.IsDefaultRoute()) continue;
    const NodeId id = primary_of_(route);
    NodeId& known = primaries_[route];
    if (known == id) continue;
    known = id;
    engine_->SetPrimary(route, id);
    changed = true;
  }
  return changed;
}

std::vector<NodeId> PolicyIndex::Sharing(std::span<const core::IpPrefix> routes) const {
  std::vector<NodeId> out;
  if (routes.empty() || !engine_->program().steers()) return out;
  for (const auto& [router, offered] : routers_) {
    if (std::ranges::any_of(offered, [&](const auto& route) {
          return std::ranges::find(routes, route) != routes.end();
        })) {
      out.push_back(router);
    }
  }
  return out;
}

PolicyIndex::Effect PolicyIndex::PutNode(const Node& node) {
  Effect effect;
  const NodeId id = node.row.id;
  const policy::PolicyNode put = PolicyNodeOf(node);
  const bool known = engine_->Find(id) != nullptr;
  const std::uint32_t before = known ? engine_->ClassOf(id) : kNoClass;
  const std::size_t classes = engine_->class_ids();
  Note(engine_->Put(put));
  const bool moved = known && engine_->ClassOf(id) != before;
  std::vector<core::IpPrefix> routes = put.routes;
  if (const auto old = routers_.find(id); old != routers_.end()) {
    routes.insert(routes.end(), old->second.begin(), old->second.end());
  }
  if (put.routes.empty()) {
    routers_.erase(id);
  } else {
    routers_[id] = put.routes;
  }
  const bool primaries = RefreshPrimaries(routes);
  // Who carries what `via` steers depends on who else offers it and is there.
  if (engine_->SetReachable(id, node.online && !node.unresponsive) || !known)
    effect.replaced = Sharing(put.routes);
  // Routes of others depend on who asks, and on who else offers them.
  if (primaries || moved || !routes.empty() || engine_->class_ids() != classes) varied_.clear();
  effect.policy_changed = moved;
  return effect;
}

PolicyIndex::Effect PolicyIndex::OnChange(const Change& change) {
  Effect effect;
  if (!engine_) return effect;
  switch (change.kind) {
    case Change::Kind::kNodeAdded:
    case Change::Kind::kNodeReplaced:
      if (change.node != nullptr) effect = PutNode(*change.node);
      break;
    case Change::Kind::kNodePatched:
    case Change::Kind::kNodeRefreshed:
      // Endpoints and the like mean nothing here.
      if (change.node != nullptr && (change.fields & Change::kOnline) != 0) {
        effect = PutNode(*change.node);
      }
      break;
    case Change::Kind::kNodeRemoved: {
      Note(engine_->Remove(change.id));
      const auto router = routers_.find(change.id);
      if (router == routers_.end()) break;
      const auto routes = std::move(router->second);
      routers_.erase(router);
      RefreshPrimaries(routes);
      varied_.clear();
      effect.replaced = Sharing(routes);
      break;
    }
    default:
      break;
  }
  if (Worn()) {
    Fill();
    effect.policy_changed = true;
  }
  return effect;
}

PeerClass PolicyIndex::ClassOfPeer(const Node& node) const {
  if (!engine_) return 0;
  return engine_->Find(node.row.id) == nullptr ? kNoClass : engine_->ClassOf(node.row.id);
}

ViewerClass PolicyIndex::ClassOfViewer(const Node& node) const {
  return ClassOfPeer(node);
}

std::vector<PeerClass> PolicyIndex::Visible(ViewerClass viewer) const {
  if (!engine_) return {0};
  std::vector<PeerClass> out;
  if (viewer == kNoClass) return out;
  engine_->Visible(viewer).Each([&](policy::ClassId id) { out.push_back(id); });
  return out;
}

std::vector<PolicyText> PolicyIndex::PacketFilter(const Node& node) const {
  if (!engine_) return allow_all_.PacketFilter(node);
  std::vector<PolicyText> out;
  if (engine_->Find(node.row.id) == nullptr) return out;
  for (const auto& rule : engine_->PacketFilter(node.row.id)) {
    out.push_back(std::make_shared<const std::string>(rule.Json()));
  }
  return out;
}

PolicyText PolicyIndex::SshPolicy(const Node& node) const {
  if (!engine_ || engine_->Find(node.row.id) == nullptr) return no_ssh_;
  return std::make_shared<const std::string>(engine_->SshPolicy(node.row.id));
}

std::uint64_t PolicyIndex::RulesVersion(ViewerClass viewer) const {
  const auto at = versions_.find(viewer);
  return at == versions_.end() ? 0 : at->second;
}

const PolicyView::VariedPeers& PolicyIndex::Varied(ViewerClass viewer) const {
  const auto [at, fresh] = varied_.try_emplace(viewer);
  if (!fresh || !engine_ || viewer == kNoClass) return at->second;
  const auto& members = engine_->Members(viewer);
  if (members.empty()) return at->second;
  // All nodes of a class get the same routes.
  const NodeId example = *members.begin();
  for (const auto& [id, routes] : routers_) {
    if (!engine_->Visible(viewer).Has(engine_->ClassOf(id))) continue;
    auto granted = engine_->RoutesOf(example, id);
    std::vector<core::IpPrefix> all;
    for (const auto& route : routes) {
      const auto primary = primaries_.find(route);
      if (route.IsDefaultRoute() || (primary != primaries_.end() && primary->second == id)) {
        all.push_back(route);
      }
    }
    std::ranges::sort(all);
    if (granted.allowed == all) continue;
    at->second[id] = {std::move(granted.allowed), std::move(granted.primary)};
  }
  return at->second;
}

bool PolicyIndex::Ipv6Only(ViewerClass node_class) const {
  return engine_ && node_class != kNoClass && engine_->Ipv6Only(node_class);
}

void PolicyIndex::AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const {
  if (!engine_ || engine_->Find(node.row.id) == nullptr) return;
  // What the fan-out writes anyway, and what this server does not serve yet: a client
  // that believes in it would fail later and say less.
  static constexpr std::string_view kWithheld[] = {"https://tailscale.com/cap/is-admin",
                                                   "https://tailscale.com/cap/ssh",
                                                   "https://tailscale.com/cap/file-sharing",
                                                   "ssh-env-vars",
                                                   "suggest-exit-node-ui",
                                                   "default-auto-update",
                                                   "https",
                                                   "service-host",
                                                   "https://tailscale.com/cap/tailnet-lock"};
  for (const auto& [name, value] : engine_->Capabilities(node.row.id)) {
    if (std::ranges::find(kWithheld, name) != std::end(kWithheld) || name.starts_with("funnel") ||
        name.starts_with("https://tailscale.com/cap/funnel") ||
        name.starts_with("https://tailscale.com/cap/warn-funnel")) {
      continue;
    }
    cap_map.ForeignKey(name).Raw(value);
  }
}

}  // namespace ringscale::control

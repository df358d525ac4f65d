#include "control/policy/policy_index.h"

#include <algorithm>

#include "control/state/routes.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

// Of nodes that the engine does not have (any more).
constexpr std::uint32_t kNoClass = UINT32_MAX;

// Rules of one source are told together.
std::vector<FilterEntry> EntriesOf(const policy::Engine& engine, NodeId id) {
  std::vector<FilterEntry> out;
  for (const auto& rule : engine.PacketFilter(id)) {
    auto entry = std::ranges::find(out, rule.source, &FilterEntry::name);
    if (entry == out.end()) entry = out.insert(out.end(), {.name = rule.source, .rules = {}});
    entry->rules.push_back({rule.src, rule.Rest()});
  }
  return out;
}

// Of all that the policy tells one node about itself.
std::uint64_t RulesDigest(const policy::Engine& engine, NodeId id) {
  std::string text = engine.SshPolicy(id);
  for (const auto& entry : EntriesOf(engine, id)) {
    text += '\n' + std::to_string(entry.name);
    for (const auto& rule : entry.rules) text += std::to_string(rule.src->digest) + rule.rest;
  }
  for (const auto& [name, value] : engine.Capabilities(id)) text += '\n' + name + value;
  return std::hash<std::string>()(text);
}

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

bool NotServed(std::string_view capability) {
  return capability == "https" || capability == "service-host" ||
         capability == "https://tailscale.com/cap/tailnet-lock" ||
         capability.starts_with("funnel") ||
         capability.starts_with("https://tailscale.com/cap/funnel") ||
         capability.starts_with("https://tailscale.com/cap/warn-funnel");
}

PolicyIndex::PolicyIndex(EachNode each_node, PrimaryOf primary_of)
    : each_node_(std::move(each_node)),
      primary_of_(std::move(primary_of)),
      no_ssh_(std::make_shared<const std::string>(R"({"rules":[]})")) {}

void PolicyIndex::Use(std::shared_ptr<const policy::Program> program,
                      policy::EngineSettings settings) {
  const auto before = std::exchange(program_, std::move(program));
  settings_ = std::move(settings);
  if (engine_ && program_ && engine_->Adopt(program_)) {
    AdoptMembers(*before);
    return;
  }
  Fill();
  used_.everybody = true;
}

// Only nodes of people who joined or left groups are looked at.
void PolicyIndex::AdoptMembers(const policy::Program& before) {
  std::vector<NodeId> concerned;
  for (const UserId user : program_->UsersUnlike(before)) {
    const auto& devices = engine_->DevicesOf(user);
    concerned.insert(concerned.end(), devices.begin(), devices.end());
  }
  for (const NodeId id : concerned) {
    const std::uint32_t number = NumberOf(id);
    Note(engine_->Classify(id));
    if (NumberOf(id) == number) continue;
    used_.moved.push_back(id);
    if (const auto router = routers_.find(id); router != routers_.end()) {
      RoutesChanged(id, router->second);
      const auto steered = Steered(router->second);
      used_.replaced.insert(used_.replaced.end(), steered.begin(), steered.end());
    }
  }
}

bool PolicyIndex::Fill() {
  const auto old = std::exchange(engine_, nullptr);
  const auto old_numbers = std::exchange(numbers_, {});
  primaries_.clear();
  routers_.clear();
  varied_.clear();
  classes_.clear();
  ++varied_version_;
  ++last_version_;
  if (!program_) {
    versions_.clear();
    return false;
  }
  engine_ = std::make_unique<policy::Engine>(program_, settings_);
  each_node_([this](const Node& node) {
    const policy::PolicyNode put = PolicyNodeOf(node);
    static_cast<void>(engine_->Put(put));
    static_cast<void>(engine_->SetReachable(put.id, node.online && !node.unresponsive));
    if (put.routes.empty()) return;
    routers_[put.id] = put.routes;
    RefreshPrimaries(put.routes);
  });
  if (old) return MatchClasses(*old, old_numbers, &old->program() == program_.get());
  versions_.clear();
  NumberClasses();
  return false;
}

bool PolicyIndex::MatchClasses(const policy::Engine& old,
                               const std::vector<std::uint32_t>& old_numbers, bool same_rules) {
  const auto versions = std::exchange(versions_, {});
  bool all_same = true;
  // The one answer that nodes of a class do not share.
  const bool other_routing =
      old.program().document().one_cgnat_route != program_->document().one_cgnat_route;
  for (policy::ClassId id = 0; id < engine_->class_ids(); ++id) {
    const NodeId example = *engine_->Members(id).begin();
    const bool known = old.Find(example) != nullptr;
    const policy::ClassId before = known ? old.ClassOf(example) : 0;
    const bool same = known && old.Members(before) == engine_->Members(id);
    const std::uint32_t number = same ? old_numbers[before] : next_number_++;
    numbers_.push_back(number);
    classes_[number] = id;
    all_same = all_same && same;
    if (!same) continue;
    if (const auto at = versions.find(number); at != versions.end()) versions_.insert(*at);
    // What one of its nodes is told, all are, but for their own addresses.
    if (!same_rules &&
        (other_routing || RulesDigest(old, example) != RulesDigest(*engine_, example))) {
      versions_[number] = last_version_;
    }
  }
  return all_same;
}

void PolicyIndex::NumberClasses() {
  while (numbers_.size() < engine_->class_ids()) {
    classes_[next_number_] = static_cast<policy::ClassId>(numbers_.size());
    numbers_.push_back(next_number_++);
  }
}

std::optional<policy::ClassId> PolicyIndex::ClassOf(std::uint32_t number) const {
  const auto at = classes_.find(number);
  if (at == classes_.end() || engine_->Members(at->second).empty()) return std::nullopt;
  return at->second;
}

std::uint32_t PolicyIndex::NumberOf(NodeId id) const {
  return numbers_[engine_->ClassOf(id)];
}

bool PolicyIndex::Worn() const {
  return engine_->class_ids() > 2 * engine_->class_count() + 1024;
}

void PolicyIndex::Note(const policy::Affected& affected) {
  ++last_version_;
  NumberClasses();
  const auto mark = [this](policy::ClassId id) { versions_[numbers_[id]] = last_version_; };
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
  if (routes.empty()) return out;
  for (const auto& [router, offered] : routers_) {
    if (std::ranges::any_of(offered, [&](const auto& route) {
          return std::ranges::find(routes, route) != routes.end();
        })) {
      out.push_back(router);
    }
  }
  return out;
}

std::vector<NodeId> PolicyIndex::Steered(std::span<const core::IpPrefix> routes) const {
  return engine_->program().steers() ? Sharing(routes) : std::vector<NodeId>();
}

// Who gets which routes depends on who asks, and on who else offers them.
void PolicyIndex::RoutesChanged(NodeId router, std::span<const core::IpPrefix> routes) {
  ++varied_version_;
  auto concerned = Sharing(routes);
  concerned.push_back(router);
  std::erase_if(varied_, [&](const auto& entry) { return !ClassOf(entry.first); });
  for (auto& [viewer, peers] : varied_) {
    for (const NodeId other : concerned) {
      peers.erase(other);
      VaryOne(*ClassOf(viewer), other, peers);
    }
  }
}

PolicyIndex::Effect PolicyIndex::PutNode(const Node& node) {
  Effect effect;
  const NodeId id = node.row.id;
  const policy::PolicyNode put = PolicyNodeOf(node);
  const bool known = engine_->Find(id) != nullptr;
  const std::uint32_t before = known ? NumberOf(id) : kNoClass;
  Note(engine_->Put(put));
  const bool moved = known && NumberOf(id) != before;
  std::vector<core::IpPrefix> routes = put.routes;
  const auto old = routers_.find(id);
  bool rerouted = !put.routes.empty() && (moved || old == routers_.end());
  if (old != routers_.end() && old->second != put.routes) {
    rerouted = true;
    routes.insert(routes.end(), old->second.begin(), old->second.end());
  }
  if (put.routes.empty()) {
    routers_.erase(id);
  } else {
    routers_[id] = put.routes;
  }
  // Who carries what `via` steers depends on who else offers it and is there.
  rerouted |= engine_->SetReachable(id, node.online && !node.unresponsive) || !known;
  if (rerouted) effect.replaced = Steered(routes);
  rerouted |= RefreshPrimaries(routes);
  if (rerouted && !routes.empty()) RoutesChanged(id, routes);
  if (moved) effect.moved.push_back(id);
  return effect;
}

PolicyIndex::Effect PolicyIndex::OnChange(const Change& change) {
  Effect effect;
  if (!engine_) return effect;
  switch (change.kind) {
    case Change::Kind::kNodeAdded:
    case Change::Kind::kNodeReplaced:
    case Change::Kind::kNodePatched:
    case Change::Kind::kNodeRefreshed:
      if (change.node != nullptr) effect = PutNode(*change.node);
      break;
    case Change::Kind::kNodeRemoved: {
      Note(engine_->Remove(change.id));
      const auto router = routers_.find(change.id);
      if (router == routers_.end()) break;
      const auto routes = std::move(router->second);
      routers_.erase(router);
      RefreshPrimaries(routes);
      RoutesChanged(change.id, routes);
      effect.replaced = Steered(routes);
      break;
    }
    default:
      break;
  }
  if (Worn()) effect.everybody = !Fill();
  return effect;
}

PeerClass PolicyIndex::ClassOfPeer(const Node& node) const {
  if (!engine_) return 0;
  return engine_->Find(node.row.id) == nullptr ? kNoClass : NumberOf(node.row.id);
}

ViewerClass PolicyIndex::ClassOfViewer(const Node& node) const {
  return ClassOfPeer(node);
}

std::vector<PeerClass> PolicyIndex::Visible(ViewerClass viewer) const {
  if (!engine_) return {0};
  std::vector<PeerClass> out;
  const auto id = ClassOf(viewer);
  if (!id) return out;
  engine_->Visible(*id).Each([&](policy::ClassId seen) { out.push_back(numbers_[seen]); });
  return out;
}

bool PolicyIndex::SeesClass(ViewerClass viewer, PeerClass peers) const {
  if (!engine_) return peers == 0;
  const auto from = ClassOf(viewer);
  const auto to = ClassOf(peers);
  return from && to && engine_->Visible(*from).Has(*to);
}

std::vector<FilterEntry> PolicyIndex::PacketFilter(const Node& node) const {
  if (!engine_) return allow_all_.PacketFilter(node);
  if (engine_->Find(node.row.id) == nullptr) return {};
  return EntriesOf(*engine_, node.row.id);
}

PolicyText PolicyIndex::SshPolicy(const Node& node) const {
  if (!engine_ || engine_->Find(node.row.id) == nullptr) return no_ssh_;
  return std::make_shared<const std::string>(engine_->SshPolicy(node.row.id));
}

std::uint64_t PolicyIndex::RulesVersion(ViewerClass viewer) const {
  const auto at = versions_.find(viewer);
  return at == versions_.end() ? 0 : at->second;
}

void PolicyIndex::VaryOne(policy::ClassId viewer, NodeId router, VariedPeers& out) const {
  const auto offered = routers_.find(router);
  if (offered == routers_.end()) return;
  if (!engine_->Visible(viewer).Has(engine_->ClassOf(router))) return;
  // All nodes of a class get the same routes.
  auto granted = engine_->RoutesOf(*engine_->Members(viewer).begin(), router);
  // An exit node is one for both families.
  const bool exit = std::ranges::any_of(granted.allowed, &core::IpPrefix::IsDefaultRoute);
  PeerRoutesView all;
  std::vector<core::IpPrefix> exits;
  for (const auto& route : offered->second) {
    const auto primary = primaries_.find(route);
    if (route.IsDefaultRoute()) {
      exits.push_back(route);
    } else if (primary != primaries_.end() && primary->second == router) {
      all.primary.push_back(route);
    }
  }
  std::ranges::sort(all.primary);
  PeerRoutesView own{.allowed = granted.primary, .primary = std::move(granted.primary)};
  all.allowed = all.primary;
  all.allowed.insert(all.allowed.end(), exits.begin(), exits.end());
  if (exit) own.allowed.insert(own.allowed.end(), exits.begin(), exits.end());
  if (own != all) out[router] = std::move(own);
}

const PolicyView::VariedPeers& PolicyIndex::Varied(ViewerClass viewer) const {
  static const VariedPeers kNone;
  const auto id = engine_ ? ClassOf(viewer) : std::nullopt;
  if (!id) return kNone;
  const auto [at, fresh] = varied_.try_emplace(viewer);
  if (fresh) {
    for (const auto& [router, routes] : routers_) VaryOne(*id, router, at->second);
  }
  return at->second;
}

bool PolicyIndex::Ipv6Only(ViewerClass node_class) const {
  const auto id = engine_ ? ClassOf(node_class) : std::nullopt;
  return id && engine_->Ipv6Only(*id);
}

void PolicyIndex::AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const {
  if (!engine_ || engine_->Find(node.row.id) == nullptr) return;
  // What the fan-out writes anyway.
  static constexpr std::string_view kBaseline[] = {"https://tailscale.com/cap/is-admin",
                                                   "https://tailscale.com/cap/ssh",
                                                   "https://tailscale.com/cap/file-sharing",
                                                   "ssh-env-vars",
                                                   "suggest-exit-node-ui",
                                                   "default-auto-update"};
  for (const auto& [name, value] : engine_->Capabilities(node.row.id)) {
    if (std::ranges::find(kBaseline, name) != std::end(kBaseline) || NotServed(name)) continue;
    cap_map.ForeignKey(name).Raw(value);
  }
}

}  // namespace ringscale::control

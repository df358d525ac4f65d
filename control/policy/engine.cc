#include "control/policy/engine.h"

#include <algorithm>
#include <utility>

#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

const std::set<NodeId> kNobody;
const ClassSet kNoClasses;

}  // namespace

Engine::Engine(std::shared_ptr<const Program> program, EngineSettings settings)
    : program_(std::move(program)),
      settings_(std::move(settings)),
      sides_(program_->sides().size()),
      rules_(program_->rules().size()) {}

const PolicyNode* Engine::Find(NodeId id) const {
  const auto at = nodes_.find(id);
  return at == nodes_.end() ? nullptr : &at->second;
}

ClassId Engine::ClassOf(NodeId id) const {
  return class_of_node_.at(id);
}

const std::set<NodeId>& Engine::Members(ClassId id) const {
  return id < classes_.size() ? classes_[id].members : kNobody;
}

const std::set<NodeId>& Engine::DevicesOf(UserId user) const {
  const auto at = devices_.find(user);
  return at == devices_.end() ? kNobody : at->second;
}

const ClassSet& Engine::ClassesOfUser(UserId user) const {
  const auto at = user_classes_.find(user);
  return at == user_classes_.end() ? kNoClasses : at->second;
}

Engine::NodeClass Engine::Describe(const PolicyNode& node) const {
  NodeClass out;
  out.terms = program_->TermsOf(node);
  for (const auto& route : node.routes) {
    if (!route.IsDefaultRoute()) out.subnets.push_back(route);
  }
  std::ranges::sort(out.subnets);
  out.exit_node = node.IsExitNode();
  out.tagged = node.tagged();
  if (program_->per_user() && !node.tagged()) out.user = node.user;
  for (const TermId term : out.terms) {
    out.key += std::to_string(term);
    // Addresses: which of the two is among them shows in the filter.
    for (const auto& range : program_->terms()[term].ranges) {
      if (range.Contains(node.v4)) out.key += '4';
      if (range.Contains(node.v6)) out.key += '6';
    }
    out.key += ',';
  }
  for (const auto& subnet : out.subnets) out.key += subnet.text() + ";";
  out.key += out.exit_node ? "x" : "-";
  out.key += out.tagged ? "t" : "u" + std::to_string(out.user);
  return out;
}

// Whether traffic to the range may be meant for the node: its own address
// (`own_address` says), a subnet that it serves, or the internet behind it.
bool Engine::ConcernsRange(const AddressRange& range, const NodeClass& node_class,
                           bool own_address) const {
  if (own_address) return true;
  for (const auto& subnet : node_class.subnets) {
    if (AddressRange::Of(subnet).Overlaps(range)) return true;
  }
  if (!node_class.exit_node) return false;
  static const AddressSet kInternet(InternetRanges());
  const auto prefix = range.prefix();
  return kInternet.Contains(range) || (prefix && prefix->IsDefaultRoute());
}

bool Engine::ViaNames(const Rule& rule, const NodeClass& node_class) const {
  return std::ranges::any_of(
      rule.via, [&](TermId term) { return std::ranges::binary_search(node_class.terms, term); });
}

bool Engine::IsDestination(const Rule& rule, const NodeClass& node_class) const {
  const bool via = !rule.via.empty();
  if (via && !ViaNames(rule, node_class)) return false;
  for (const auto& dst : rule.dst) {
    if (dst.kind == RuleDestination::Kind::kSelf) continue;
    if (dst.kind == RuleDestination::Kind::kAll) {
      if (!via || !node_class.subnets.empty() || node_class.exit_node) return true;
      continue;
    }
    if (!via && std::ranges::binary_search(node_class.terms, dst.term)) return true;
    for (const auto& range : program_->terms()[dst.term].ranges) {
      if (ConcernsRange(range, node_class, false)) return true;
    }
  }
  return false;
}

void Engine::IndexClass(ClassId id, bool member) {
  const NodeClass& node_class = classes_[id];
  for (SideId i = 0; i < sides_.size(); ++i) {
    const Side& side = program_->sides()[i];
    SideIndex& index = sides_[i];
    index.identity.Set(id, member && program_->Matches(side, node_class.terms, true));
    index.address.Set(id, member && program_->Matches(side, node_class.terms));
    const bool routes =
        side.postures.empty() &&
        std::ranges::any_of(node_class.subnets, [&](const core::IpPrefix& subnet) {
          return side.all || side.danger_all || side.literals.Overlaps(AddressRange::Of(subnet));
        });
    index.routes.Set(id, member && routes);
  }
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    rules_[i].dst.Set(id, member && IsDestination(program_->rules()[i], node_class));
  }
  if (node_class.user != 0) user_classes_[node_class.user].Set(id, member);
  // Seeing is mutual, and a class changes nothing between two others.
  if (visible_.empty()) return;
  const ClassSet seen = member ? MakeVisible(id) : ClassSet();
  for (auto& [other, visible] : visible_) visible.Set(id, seen.Has(other));
  if (member) {
    visible_[id] = seen;
  } else {
    visible_.erase(id);
  }
}

ClassId Engine::JoinClass(const PolicyNode& node) {
  NodeClass described = Describe(node);
  const auto [at, fresh] = class_of_key_.try_emplace(described.key, 0);
  if (fresh) {
    // Never the id of a class that is gone: whoever remembers ids may still hold it.
    at->second = static_cast<ClassId>(classes_.size());
    classes_.emplace_back();
    classes_[at->second] = std::move(described);
    IndexClass(at->second, true);
  }
  const ClassId id = at->second;
  classes_[id].members.insert(node.id);
  class_of_node_[node.id] = id;
  return id;
}

void Engine::LeaveClass(ClassId id, NodeId node) {
  NodeClass& node_class = classes_[id];
  node_class.members.erase(node);
  class_of_node_.erase(node);
  if (!node_class.members.empty()) return;
  IndexClass(id, false);
  if (node_class.user != 0 && ClassesOfUser(node_class.user).empty()) {
    user_classes_.erase(node_class.user);
  }
  class_of_key_.erase(node_class.key);
  node_class = {};
}

// The nodes of a class changed: texts that list them are old, and so are the
// filters of those whom they may reach.
void Engine::Touch(ClassId id, Affected& affected) {
  affected.filters.Set(id);
  affected.ssh.Set(id);
  const UserId user = classes_[id].user;
  for (SideId i = 0; i < sides_.size(); ++i) {
    if (!sides_[i].address.Has(id)) continue;
    sides_[i].text.reset();
    if (user != 0) own_sources_.erase({user, i});
  }
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = program_->rules()[i];
    const Side& side = program_->sides()[rule.src];
    const SideIndex& src = sides_[rule.src];
    const bool named =
        src.identity.Has(id) && !((side.all || side.danger_all) && side.postures.empty());
    if (named) affected.filters |= rules_[i].dst;
    if (!rule.companions.empty() && rules_[i].dst.Has(id)) affected.filters |= src.address;
    if (rule.self && user != 0) affected.filters |= ClassesOfUser(user);
  }
  for (const auto& rule : program_->ssh()) {
    if (!sides_[rule.src].identity.Has(id)) continue;
    ssh_texts_.erase(&rule);
    affected.ssh |= sides_[rule.dst].address;
    if (user != 0) affected.ssh |= ClassesOfUser(user);
  }
}

// SSH rules name the addresses of those that record sessions.
void Engine::TouchRecorders(const PolicyNode& node, Affected& affected) {
  if (!node.tagged()) return;
  for (const auto& rule : program_->ssh()) {
    if (std::ranges::none_of(rule.rule->recorders,
                             [&](const Alias& tag) { return program_->AliasMatches(tag, node); })) {
      continue;
    }
    ssh_texts_.erase(&rule);
    affected.ssh |= sides_[rule.dst].address;
    affected.ssh |= sides_[rule.src].identity;
    if (!rule.self) continue;
    for (const auto& [user, classes] : user_classes_) affected.ssh |= classes;
  }
}

void Engine::WildcardRoutesChanged(Affected& affected) {
  affected.wildcard_sources = true;
  for (SideId i = 0; i < sides_.size(); ++i) {
    if (program_->sides()[i].all) sides_[i].text.reset();
  }
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = program_->rules()[i];
    if (program_->sides()[rule.src].all) affected.filters |= rules_[i].dst;
    if (!rule.companions.empty() && program_->sides()[rule.dst_side].all) {
      affected.filters |= sides_[rule.src].address;
    }
  }
}

void Engine::CountSubnets(const PolicyNode& node, int by, Affected& affected) {
  bool changed = false;
  for (const auto& route : node.routes) {
    if (route.IsDefaultRoute()) continue;
    auto& servers = subnets_[route];
    const bool before = !servers.empty();
    if (by > 0) {
      servers.insert(node.id);
    } else {
      servers.erase(node.id);
    }
    changed = changed || before != !servers.empty();
    if (servers.empty()) subnets_.erase(route);
  }
  if (changed) WildcardRoutesChanged(affected);
}

void Engine::CountDevice(const PolicyNode& node, bool here) {
  if (node.tagged()) return;
  auto& devices = devices_[node.user];
  if (here) {
    devices.insert(node.id);
  } else if (devices.erase(node.id); devices.empty()) {
    devices_.erase(node.user);
  }
}

Affected Engine::Put(const PolicyNode& node) {
  const auto old = nodes_.find(node.id);
  if (old != nodes_.end() && old->second == node) return {};
  Affected affected;
  if (old == nodes_.end()) {
    Enter(node, affected);
    return affected;
  }
  const ClassId id = ClassOf(node.id);
  if (classes_[id].key != Describe(node).key) {
    Take(node.id, affected);
    Enter(node, affected);
    return affected;
  }
  // Of the same class as before, and with the same routes.
  const PolicyNode before = std::exchange(old->second, node);
  CountDevice(before, false);
  CountDevice(node, true);
  if (before.v4 == node.v4 && before.v6 == node.v6 && before.user == node.user &&
      before.tags == node.tags) {
    return affected;
  }
  Touch(id, affected);
  TouchRecorders(before, affected);
  TouchRecorders(node, affected);
  return affected;
}

Affected Engine::Remove(NodeId id) {
  Affected affected;
  if (!nodes_.contains(id)) return affected;
  Take(id, affected);
  unreachable_.erase(id);
  return affected;
}

bool Engine::Adopt(std::shared_ptr<const Program> program) {
  if (!program_->SameRules(*program)) return false;
  program_ = std::move(program);
  ssh_texts_.clear();
  return true;
}

Affected Engine::Classify(NodeId id) {
  const PolicyNode node = nodes_.at(id);
  Affected affected;
  if (classes_[ClassOf(id)].key == Describe(node).key) return affected;
  Take(id, affected);
  Enter(node, affected);
  return affected;
}

void Engine::Enter(const PolicyNode& node, Affected& affected) {
  nodes_[node.id] = node;
  CountDevice(node, true);
  const ClassId id = JoinClass(node);
  CountSubnets(node, 1, affected);
  Touch(id, affected);
  TouchRecorders(node, affected);
}

void Engine::Take(NodeId id, Affected& affected) {
  const auto at = nodes_.find(id);
  const ClassId old_class = class_of_node_.at(id);
  Touch(old_class, affected);
  TouchRecorders(at->second, affected);
  CountSubnets(at->second, -1, affected);
  LeaveClass(old_class, id);
  CountDevice(at->second, false);
  nodes_.erase(at);
}

bool Engine::SetReachable(NodeId id, bool reachable) {
  return reachable ? unreachable_.erase(id) > 0 : unreachable_.insert(id).second;
}

bool Engine::SelfApplies(const Rule& rule, const NodeClass& node_class) const {
  if (!rule.self || node_class.tagged || node_class.user == 0) return false;
  bool any = false;
  ClassesOfUser(node_class.user).Each([&](ClassId id) {
    any = any || sides_[rule.src].address.Has(id);
  });
  return any;
}

const ClassSet& Engine::Visible(ClassId id) const {
  const auto [at, fresh] = visible_.try_emplace(id);
  if (fresh) at->second = MakeVisible(id);
  return at->second;
}

ClassSet Engine::MakeVisible(ClassId id) const {
  ClassSet out;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = program_->rules()[i];
    const SideIndex& src = sides_[rule.src];
    if (AnySource(rule.src, id)) out |= rules_[i].dst;
    if (rules_[i].dst.Has(id)) {
      out |= src.address;
      out |= src.routes;
    }
    if (SelfApplies(rule, classes_[id])) {
      // From the nodes that the sources name to all of the user.
      if (src.address.Has(id)) {
        out |= ClassesOfUser(classes_[id].user);
      } else {
        ClassesOfUser(classes_[id].user).Each([&](ClassId other) {
          if (src.address.Has(other)) out.Set(other);
        });
      }
    }
  }
  return out;
}

bool Engine::Sees(NodeId viewer, NodeId peer) const {
  return viewer != peer && Visible(ClassOf(viewer)).Has(ClassOf(peer));
}

void Engine::AppendAddresses(ClassId id, std::vector<AddressRange>& out) const {
  for (const NodeId member : classes_[id].members) {
    const PolicyNode& node = nodes_.at(member);
    if (node.v4.valid()) out.push_back(AddressRange::Of(node.v4));
    if (node.v6.valid()) out.push_back(AddressRange::Of(node.v6));
  }
}

AddressSet Engine::SideAddresses(SideId side_id, const PostureAttributes& device) const {
  if (program_->sides()[side_id].postures.empty()) return SideAddresses(side_id);
  const auto side = program_->SideFor(side_id, device);
  if (!side) return {};
  std::vector<AddressRange> ranges = side->literals.ranges();
  for (const auto& [key, id] : class_of_key_) {
    if (program_->Matches(*side, classes_[id].terms, true)) AppendAddresses(id, ranges);
  }
  return AddressSet(std::move(ranges));
}

AddressSet Engine::SideAddresses(SideId side_id) const {
  const Side& side = program_->sides()[side_id];
  std::vector<AddressRange> ranges;
  sides_[side_id].identity.Each([&](ClassId id) { AppendAddresses(id, ranges); });
  ranges.insert(ranges.end(), side.literals.ranges().begin(), side.literals.ranges().end());
  if (side.all && side.postures.empty()) {
    ranges.insert(ranges.end(), TailnetRanges().begin(), TailnetRanges().end());
    for (const auto& [subnet, servers] : subnets_) ranges.push_back(AddressRange::Of(subnet));
  }
  return AddressSet(std::move(ranges));
}

std::vector<AddressRange> Engine::Addresses(const Alias& alias) const {
  std::vector<AddressRange> ranges = LiteralRanges(program_->document(), alias);
  if (alias.is(Alias::Kind::kAll)) {
    ranges = TailnetRanges();
  } else if (ranges.empty()) {
    for (const auto& [id, node] : nodes_) {
      if (!program_->AliasMatches(alias, node)) continue;
      if (node.v4.valid()) ranges.push_back(AddressRange::Of(node.v4));
      if (node.v6.valid()) ranges.push_back(AddressRange::Of(node.v6));
    }
  }
  return ranges;
}

std::size_t Engine::MemoryUse() const {
  std::size_t bytes = classes_.capacity() * sizeof(NodeClass);
  for (const auto& node_class : classes_) {
    bytes += node_class.key.capacity() + node_class.terms.capacity() * sizeof(TermId) +
             node_class.members.size() * 48;
  }
  for (const auto& side : sides_) {
    bytes += sizeof side + side.identity.bytes() + side.address.bytes() + side.routes.bytes();
    if (side.text) bytes += side.text->text.capacity();
  }
  for (const auto& rule : rules_) bytes += sizeof rule + rule.dst.bytes();
  for (const auto& [id, set] : visible_) bytes += 64 + set.bytes();
  for (const auto& [user, set] : user_classes_) bytes += 64 + set.bytes();
  return bytes;
}

}  // namespace ringscale::control::policy

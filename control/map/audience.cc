#include "control/map/audience.h"

#include <algorithm>
#include <set>

#include "control/wire/node_json.h"

namespace ringscale::control {

bool AppendProfile(std::string& out, const MapSource& source, UserId user) {
  if (user == kTaggedDevicesUser) {
    AppendTaggedDevicesProfile(out);
    return true;
  }
  const storage::UserRow* row = source.FindUser(user);
  if (row == nullptr) return false;
  AppendUserProfile(out, *row);
  return true;
}

Audience::Audience(ViewerClass id, PeerIndex& index, const PolicyView& policy, Encoder& encoder)
    : id_(id), index_(index), policy_(policy), encoder_(encoder), ipv6_only_(policy.Ipv6Only(id)) {
  for (const PeerClass group : policy_.Visible(id_)) (void)index_.Group(group);
}

void Audience::Refresh() {
  if (known_groups_ == index_.group_count()) return;
  // Classes come and never turn away; the nodes of one that is gone may still have
  // to be taken from viewers.
  for (const PeerClass id : policy_.Visible(id_)) {
    PeerGroup* const group = &index_.Group(id);
    if (!std::ranges::binary_search(sorted_, group)) groups_.push_back(group);
  }
  sorted_.assign(groups_.begin(), groups_.end());
  std::sort(sorted_.begin(), sorted_.end());
  known_groups_ = index_.group_count();
}

const std::vector<PeerGroup*>& Audience::groups() {
  Refresh();
  return groups_;
}

bool Audience::Sees(const PeerGroup* group) {
  Refresh();
  return std::binary_search(sorted_.begin(), sorted_.end(), group);
}

bool Audience::HasUser(UserId user) {
  return std::any_of(groups().begin(), groups().end(),
                     [&](const PeerGroup* group) { return group->users.contains(user); });
}

bool Audience::HadUser(UserId user, Sequence position) {
  return std::any_of(groups().begin(), groups().end(), [&](const PeerGroup* group) {
    const auto found = group->users.find(user);
    return found != group->users.end() && found->second.since <= position;
  });
}

core::SharedSlice Audience::Profiles(Encoding encoding) {
  const auto form = static_cast<std::size_t>(encoding);
  if (profiles_[form].owner != nullptr && profiles_version_[form] == index_.users_version()) {
    return profiles_[form];
  }
  std::set<UserId> users;
  for (const PeerGroup* group : groups()) {
    for (const auto& [user, reference] : group->users) users.insert(user);
  }
  std::string text;
  for (const UserId user : users) {
    const std::size_t before = text.size();
    if (!text.empty()) text += ',';
    if (!AppendProfile(text, index_.source(), user)) text.resize(before);
  }
  profiles_[form] = encoder_.Encode(encoding, std::move(text));
  profiles_version_[form] = index_.users_version();
  return profiles_[form];
}

bool Audience::has_profiles() {
  return std::any_of(groups().begin(), groups().end(), [&](const PeerGroup* group) {
    return std::any_of(group->users.begin(), group->users.end(), [&](const auto& entry) {
      return entry.first == kTaggedDevicesUser || index_.source().FindUser(entry.first) != nullptr;
    });
  });
}

std::string_view Audience::JsonOf(Peer& peer, std::string& scratch) {
  const auto& all = policy_.Varied(id_);
  const auto varied = all.find(peer.id);
  if (varied == all.end()) return index_.Json(peer, ipv6_only_);
  scratch.clear();
  const Node* node = index_.source().FindNode(peer.id);
  if (node == nullptr) return scratch;
  AppendVaried(scratch, *node, varied->second);
  return scratch;
}

void Audience::AppendVaried(std::string& out, const Node& node,
                            const PeerRoutesView& routes) const {
  AppendPeer(out, node,
             {.base_domain = index_.base_domain(),
              .primary_routes = routes.primary,
              .exit_routes = std::ranges::any_of(routes.allowed, &core::IpPrefix::IsDefaultRoute),
              .ipv6_only = ipv6_only_ || policy_.Ipv6Only(policy_.ClassOfPeer(node))});
}

std::string Audience::VariedPeers(NodeId viewer) {
  NoteVaried();
  std::string out;
  for (const auto& [id, routes] : varied_) {
    const Node* node = index_.source().FindNode(id);
    if (node == nullptr || id == viewer) continue;
    if (!out.empty()) out += ',';
    AppendVaried(out, *node, routes);
  }
  return out;
}

std::vector<NodeId> Audience::SeenAt(Sequence position) {
  if (known_groups_ == 0) Refresh();
  std::vector<NodeId> seen;
  for (const PeerGroup* group : groups_) {
    for (const auto& block : group->blocks) {
      for (const Peer* peer : block->members) {
        if (peer->added <= position) seen.push_back(peer->id);
      }
    }
  }
  for (auto gone = index_.removed().rbegin();
       gone != index_.removed().rend() && gone->removed > position; ++gone) {
    const bool visible = std::binary_search(sorted_.begin(), sorted_.end(), gone->group);
    if (gone->added <= position && visible) seen.push_back(gone->id);
  }
  std::sort(seen.begin(), seen.end());
  return seen;
}

}  // namespace ringscale::control

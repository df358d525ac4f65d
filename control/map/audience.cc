#include "control/map/audience.h"

#include <algorithm>
#include <set>

#include "control/wire/node_json.h"

namespace ringscale::control {
namespace {

std::set<NodeId> Unlike(const PolicyView::VariedPeers& a, const PolicyView::VariedPeers& b) {
  std::set<NodeId> out;
  const auto compare = [&](const PolicyView::VariedPeers& one, const PolicyView::VariedPeers& two) {
    for (const auto& [id, routes] : one) {
      const auto other = two.find(id);
      if (other == two.end() || other->second != routes) out.insert(id);
    }
  };
  compare(a, b);
  compare(b, a);
  return out;
}

}  // namespace

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
  for (const PeerClass group : policy_.Visible(id_)) groups_.push_back(index_.Group(group));
  known_groups_ = index_.groups_version();
  known_drops_ = index_.drops();
  for (const auto& group : groups_) sorted_.push_back(group.get());
  std::sort(sorted_.begin(), sorted_.end());
  RefreshRoutes();
}

void Audience::Refresh() {
  if (frozen_) return;
  if (known_groups_ == index_.groups_version() && known_drops_ == index_.drops()) return;
  std::erase_if(groups_, [](const PeerGroupPtr& group) { return group->dropped; });
  for (const PeerGroupPtr& group : index_.GroupsSince(known_groups_)) {
    if (policy_.SeesClass(id_, group->id)) groups_.push_back(group);
  }
  known_groups_ = index_.groups_version();
  known_drops_ = index_.drops();
  sorted_.clear();
  for (const auto& group : groups_) sorted_.push_back(group.get());
  std::sort(sorted_.begin(), sorted_.end());
}

const std::vector<PeerGroupPtr>& Audience::groups() {
  Refresh();
  return groups_;
}

bool Audience::Sees(const PeerGroupPtr& group) {
  Refresh();
  return std::binary_search(sorted_.begin(), sorted_.end(), group.get());
}

bool Audience::SeesTheSame(Audience& other) {
  const auto all_in = [](Audience& a, Audience& b) {
    return std::ranges::all_of(
        a.groups(), [&](const PeerGroupPtr& group) { return group->nodes == 0 || b.Sees(group); });
  };
  return ipv6_only_ == other.ipv6_only_ && all_in(*this, other) && all_in(other, *this);
}

void Audience::RefreshRoutes() {
  if (frozen_ || varied_version_ == policy_.VariedVersion()) return;
  const auto& now = policy_.Varied(id_);
  if (varied_version_) {
    for (const NodeId id : Unlike(varied_, now)) rerouted_[id] = index_.head();
  }
  std::erase_if(rerouted_, [&](const auto& entry) { return entry.second <= index_.floor(); });
  varied_ = now;
  varied_version_ = policy_.VariedVersion();
}

std::set<NodeId> Audience::Rerouted(const Audience& told, Sequence position) {
  RefreshRoutes();
  std::set<NodeId> out;
  for (const auto& [id, at] : told.rerouted_) {
    if (at > position) out.insert(id);
  }
  if (&told == this) return out;
  out.merge(Unlike(varied_, told.varied_));
  return out;
}

bool Audience::HasUser(UserId user) {
  return std::any_of(groups().begin(), groups().end(),
                     [&](const PeerGroupPtr& group) { return group->users.contains(user); });
}

bool Audience::HadUser(UserId user, Sequence position) {
  return std::any_of(groups().begin(), groups().end(), [&](const PeerGroupPtr& group) {
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
  for (const auto& group : groups()) {
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
  return std::any_of(groups().begin(), groups().end(), [&](const PeerGroupPtr& group) {
    return std::any_of(group->users.begin(), group->users.end(), [&](const auto& entry) {
      return entry.first == kTaggedDevicesUser || index_.source().FindUser(entry.first) != nullptr;
    });
  });
}

std::string_view Audience::JsonOf(Peer& peer, std::string& scratch) {
  RefreshRoutes();
  const auto varied = varied_.find(peer.id);
  if (varied == varied_.end()) return index_.Json(peer, ipv6_only_);
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
  RefreshRoutes();
  std::string out;
  for (const auto& [id, routes] : varied_) {
    const Node* node = index_.source().FindNode(id);
    if (node == nullptr || id == viewer) continue;
    if (!out.empty()) out += ',';
    AppendVaried(out, *node, routes);
  }
  return out;
}

}  // namespace ringscale::control

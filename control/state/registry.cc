#include "control/state/registry.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "control/state/routes.h"
#include "core/obs/log.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::control {
namespace {

// What peers are told when a node's durable part becomes another.
Change Difference(const storage::NodeRow& before, const storage::NodeRow& after,
                  core::WallTime now) {
  Change change{.kind = Change::Kind::kNodePatched, .id = after.id};
  if (before.node_key != after.node_key) {
    change.fields |= Change::kNodeKey;
    change.retired_node_key = before.node_key;
  }
  if (before.disco_key != after.disco_key) change.fields |= Change::kDiscoKey;
  if (before.capability_version != after.capability_version) change.fields |= Change::kCapVersion;
  if (before.expiry != after.expiry) {
    change.fields |= Change::kKeyExpiry;
    // A client whose node key is being replaced still polls with the old one: a
    // Node with another key would confuse it.
    change.self_too = before.node_key == after.node_key;
    // Clients mark an expired peer for good: only a whole Node brings it back.
    const bool was_expired = before.expiry && *before.expiry <= now;
    const bool is_expired = after.expiry && *after.expiry <= now;
    if (!after.expiry || (was_expired && !is_expired)) change.kind = Change::Kind::kNodeReplaced;
  }
  if (before.given_name != after.given_name || before.tags != after.tags ||
      before.user_id != after.user_id || before.ipv4 != after.ipv4 || before.ipv6 != after.ipv6) {
    change.kind = Change::Kind::kNodeReplaced;
    change.self_too = before.node_key == after.node_key;
  }
  return change;
}

}  // namespace

Registry::Registry(core::engine::Loop& loop, storage::Store& store, RegistryOptions options)
    : loop_(loop),
      store_(store),
      options_(std::move(options)),
      allocator_(options_.prefix_v4, options_.prefix_v6, options_.addresses, options_.random),
      queue_(loop, store, options_.changes_in_flight) {}

Registry::~Registry() {
  if (timer_.value != 0) loop_.CancelTimer(timer_);
}

// --- listeners ---

void Registry::AddListener(ChangeListener& listener) {
  listeners_.push_back(&listener);
}

void Registry::RemoveListener(ChangeListener& listener) {
  std::erase(listeners_, &listener);
}

void Registry::SetStormCheck(std::function<bool()> storm_draining) {
  storm_draining_ = std::move(storm_draining);
}

void Registry::Publish(const Change& change) {
  for (ChangeListener* listener : listeners_) listener->OnChange(change);
}

// --- reading ---

const Node* Registry::FindNodeByKey(const core::NodePublic& key) const {
  return nodes_.FindByKey(key);
}

const Node* Registry::FindNodeByName(std::string_view given_name) const {
  return nodes_.FindByName(given_name);
}

const Node* Registry::FindNodeByAddress(const core::IpAddress& ip) const {
  return nodes_.FindByAddress(ip);
}

const Node* Registry::FindNodeByStableId(std::string_view stable_id) const {
  return nodes_.FindByStableId(stable_id);
}

std::vector<const Node*> Registry::NodesOfMachine(const core::MachinePublic& key) const {
  return nodes_.OfMachine(key);
}

std::vector<const Node*> Registry::NodesOfUser(UserId user) const {
  return nodes_.OfUser(user);
}

const storage::UserRow* Registry::FindUser(UserId id) const {
  const auto it = users_.find(id);
  return it == users_.end() ? nullptr : &it->second;
}

const storage::UserRow* Registry::FindUserByName(std::string_view name) const {
  const auto it = users_by_name_.find(name);
  return it == users_by_name_.end() ? nullptr : FindUser(it->second);
}

core::Result<UserId> Registry::ResolveUser(std::string_view name_or_id) const {
  const std::string text(name_or_id);
  const char* const end = text.c_str() + text.size();
  UserId id = 0;
  const auto [rest, error] = std::from_chars(text.c_str(), end, id);
  const bool digits = !text.empty() && rest == end && error == std::errc{};
  const storage::UserRow* user = digits ? FindUser(id) : FindUserByName(name_or_id);
  if (user == nullptr) return core::Fail(core::ErrorCode::kNotFound, "user not found");
  return user->id;
}

// --- from draft to state ---

void Registry::PutNode(storage::WriteBatch& batch, const storage::NodeRow& row, bool online) const {
  // While a node is online its last-seen is now: it is written as absent, which
  // after a restart tells those that were online from those that were not.
  storage::NodeRow stored = row;
  if (online) stored.last_seen.reset();
  stored.primary_routes = primaries_.Of(row.id);
  stored.ssh_approvals = SshApprovalsOf(row.id);
  batch.Put(storage::Table::kNodes, storage::IdKey(row.id), storage::Encode(stored));
}

void Registry::PutMeta(storage::WriteBatch& batch) const {
  batch.Put(storage::Table::kMeta, std::string(storage::kMetaKey), storage::Encode(meta_));
}

Registry::Prepared Registry::PrepareInsert(Draft draft, storage::WriteBatch& batch) {
  names_.Add(draft.row.given_name);
  allocator_.Hold(draft.row.ipv4);
  allocator_.Hold(draft.row.ipv6);
  reserved_node_keys_.insert(draft.row.node_key);
  reserved_stable_ids_.insert(draft.row.stable_id);
  PutNode(batch, draft.row, false);
  PutMeta(batch);
  auto shared = std::make_shared<Draft>(std::move(draft));
  return {.apply =
              [this, shared] {
                reserved_node_keys_.erase(shared->row.node_key);
                reserved_stable_ids_.erase(shared->row.stable_id);
                ApplyInsert(std::move(*shared));
              },
          .drop =
              [this, shared] {
                names_.Remove(shared->row.given_name);
                allocator_.Release(shared->row.ipv4);
                allocator_.Release(shared->row.ipv6);
                reserved_node_keys_.erase(shared->row.node_key);
                reserved_stable_ids_.erase(shared->row.stable_id);
              }};
}

Registry::Prepared Registry::PrepareUpdate(const Node& node, Draft draft,
                                           storage::WriteBatch& batch) {
  const storage::NodeRow& before = node.row;
  const bool new_name = before.given_name != draft.row.given_name;
  const bool new_key = before.node_key != draft.row.node_key;
  const bool new_v4 = before.ipv4 != draft.row.ipv4;
  const bool new_v6 = before.ipv6 != draft.row.ipv6;
  if (new_name) names_.Add(draft.row.given_name);
  if (new_key) reserved_node_keys_.insert(draft.row.node_key);
  if (new_v4) allocator_.Hold(draft.row.ipv4);
  if (new_v6) allocator_.Hold(draft.row.ipv6);
  if (!draft.lazily && storage::Encode(before) != storage::Encode(draft.row)) {
    PutNode(batch, draft.row, node.online);
  }
  auto shared = std::make_shared<Draft>(std::move(draft));
  return {.apply =
              [this, shared] {
                reserved_node_keys_.erase(shared->row.node_key);
                ApplyUpdate(std::move(*shared));
              },
          .drop =
              [this, shared, new_name, new_key, new_v4, new_v6] {
                if (new_name) names_.Remove(shared->row.given_name);
                if (new_key) reserved_node_keys_.erase(shared->row.node_key);
                if (new_v4) allocator_.Release(shared->row.ipv4);
                if (new_v6) allocator_.Release(shared->row.ipv6);
              }};
}

Registry::Prepared Registry::PrepareRemoval(NodeId id, storage::WriteBatch& batch) {
  batch.Delete(storage::Table::kNodes, storage::IdKey(id));
  return {.apply = [this, id] { ApplyRemoval(id); }, .drop = {}};
}

void Registry::ApplyInsert(Draft draft) {
  const NodeId id = draft.row.id;
  Node& node = nodes_.Insert(std::move(draft.row));
  if (draft.hostinfo) TakeHostinfo(node, *draft.hostinfo);
  node.hostinfo_digest = draft.hostinfo_digest;
  TrackExpiry(id, std::nullopt, node.row.expiry);
  if (node.row.ephemeral) {
    SetDeadline(DeadlineKind::kEphemeral, id, options_.ephemeral_timeout);
  }
  Announce(node, {.kind = Change::Kind::kNodeAdded, .id = id});
}

void Registry::ApplyUpdate(Draft draft) {
  Node& node = *nodes_.Find(draft.row.id);
  const storage::NodeRow before = node.row;
  // Written lazily, so perhaps newer here than when the draft was made.
  draft.row.last_seen = std::max(draft.row.last_seen, before.last_seen);
  draft.row.ever_polled |= before.ever_polled;
  Change change = Difference(before, draft.row, loop_.Wall());

  if (before.given_name != draft.row.given_name) names_.Remove(before.given_name);
  if (before.ipv4 != draft.row.ipv4) allocator_.Release(before.ipv4);
  if (before.ipv6 != draft.row.ipv6) allocator_.Release(before.ipv6);
  const std::vector<core::IpPrefix> subnets = SubnetRoutes(node);
  const std::vector<core::IpPrefix> exits = ExitRoutes(node);
  const std::uint16_t home_derp = node.home_derp;
  const std::string peer_hostinfo = node.peer_hostinfo;
  const auto system = [&node] { return std::tuple(node.os, node.os_version, node.client_version); };
  const auto system_before = system();

  nodes_.Replace(node, std::move(draft.row));
  if (draft.hostinfo) TakeHostinfo(node, *draft.hostinfo);
  if (draft.hostinfo_digest != 0) node.hostinfo_digest = draft.hostinfo_digest;
  TrackExpiry(node.row.id, before.expiry, node.row.expiry);
  if (!node.row.ephemeral) {
    deadlines_.Clear(DeadlineKind::kEphemeral, node.row.id);
  } else if (!before.ephemeral && !node.online) {
    SetDeadline(DeadlineKind::kEphemeral, node.row.id, options_.ephemeral_timeout);
  }
  if (draft.lazily && before.hostinfo != node.row.hostinfo) MarkDirty(node.row.id);

  if (node.home_derp != home_derp) change.fields |= Change::kHomeDerp;
  if (node.peer_hostinfo != peer_hostinfo) change.kind = Change::Kind::kNodeReplaced;
  if (SubnetRoutes(node) != subnets || ExitRoutes(node) != exits) {
    change.kind = Change::Kind::kNodeReplaced;
    change.self_too = before.node_key == node.row.node_key;
  }
  // Peers are not told of versions, but a policy may ask for them.
  if (change.kind == Change::Kind::kNodePatched && change.fields == 0 &&
      system() != system_before) {
    change.kind = Change::Kind::kNodeRefreshed;
  }
  Announce(node, change);
}

void Registry::ApplyRemoval(NodeId id) {
  const Node gone = nodes_.Remove(id);
  names_.Remove(gone.row.given_name);
  allocator_.Release(gone.row.ipv4);
  allocator_.Release(gone.row.ipv6);
  deadlines_.Clear(DeadlineKind::kOffline, id);
  deadlines_.Clear(DeadlineKind::kEphemeral, id);
  TrackExpiry(id, gone.row.expiry, std::nullopt);
  dirty_.erase(id);
  ssh_approvals_.erase(id);
  Publish({.kind = Change::Kind::kNodeRemoved,
           .id = id,
           .node = &gone,
           .retired_node_key = gone.row.node_key});
  for (const NodeId other : primaries_.Update(id, {})) {
    if (Node* node = nodes_.Find(other)) {
      MarkPrimaryMoved(other);
      Announce(*node, {.kind = Change::Kind::kNodeReplaced, .id = other, .self_too = true});
    }
  }
}

void Registry::TakeHostinfo(Node& node, const Hostinfo& info) {
  node.announced_routes = info.routable_ips;
  node.request_tags = info.request_tags;
  node.peer_hostinfo = info.peer;
  node.os = info.os;
  node.os_version = info.os_version;
  node.client_version = info.client_version;
  // 0 = the client sees no region now; where it was last is the best guess.
  if (info.home_derp != 0) node.home_derp = info.home_derp;
}

void Registry::Announce(Node& node, Change change) {
  const NodeId id = node.row.id;
  std::set<NodeId> moved = primaries_.Update(
      id, node.online ? SubnetRoutes(node) : std::vector<core::IpPrefix>{}, !node.unresponsive);
  for (const NodeId other : moved) MarkPrimaryMoved(other);
  if (moved.erase(id) > 0 && change.kind != Change::Kind::kNodeAdded) {
    change.kind = Change::Kind::kNodeReplaced;
    change.self_too = change.retired_node_key.zero();
  }
  if (change.kind != Change::Kind::kNodePatched || change.fields != 0) {
    if (change.kind != Change::Kind::kNodeRefreshed || change.fields != 0) ++node.version;
    change.id = id;
    change.node = &node;
    Publish(change);
  }
  for (const NodeId other : moved) {
    Node* const peer = nodes_.Find(other);
    ++peer->version;
    Publish({.kind = Change::Kind::kNodeReplaced, .id = other, .self_too = true, .node = peer});
  }
}

}  // namespace ringscale::control

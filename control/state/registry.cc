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

core::Error RowError(std::string_view what, std::uint64_t id, std::string_view why) {
  return {core::ErrorCode::kCorrupt, "the database is inconsistent: " + std::string(what) + " " +
                                         std::to_string(id) + ": " + std::string(why)};
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

// --- loading ---

core::Result<> Registry::Load() {
  std::vector<storage::NodeRow> rows;
  auto loaded = store_.LoadAll(
      [&](storage::Table table, std::string_view key, std::string_view record) -> core::Result<> {
        return LoadRecord(table, key, record, rows);
      });
  if (!loaded) return core::Forward(loaded);
  // Nodes after the users they belong to, whatever the order of the tables.
  std::map<NodeId, std::vector<core::IpPrefix>> served;
  for (auto& row : rows) {
    served.emplace(row.id, std::exchange(row.primary_routes, {}));
    RestoreSshApprovals(row.id, std::exchange(row.ssh_approvals, {}));
    if (auto result = LoadNode(std::move(row)); !result) return core::Forward(result);
  }
  RestorePrimaries(served);
  for (const auto& [id, key] : keys_) {
    if (key.user_id != 0 && !users_.contains(key.user_id)) {
      return std::unexpected(RowError("pre-auth key", id, "its user does not exist"));
    }
  }
  ArmTimer();
  return {};
}

core::Result<> Registry::LoadRecord(storage::Table table, std::string_view, std::string_view record,
                                    std::vector<storage::NodeRow>& nodes) {
  switch (table) {
    case storage::Table::kMeta: {
      auto row = storage::DecodeMeta(record);
      if (!row) return core::Forward(row);
      meta_ = std::move(*row);
      return {};
    }
    case storage::Table::kUsers: {
      auto row = storage::DecodeUser(record);
      if (!row) return core::Forward(row);
      const UserId id = row->id;
      if (!users_by_name_.emplace(row->name, id).second) {
        return std::unexpected(
            RowError("user", id, "its name \"" + row->name + "\" is another's too"));
      }
      users_.emplace(id, std::move(*row));
      return {};
    }
    case storage::Table::kNodes: {
      auto row = storage::DecodeNode(record);
      if (!row) return core::Forward(row);
      nodes.push_back(std::move(*row));
      return {};
    }
    case storage::Table::kPreAuthKeys: {
      auto row = storage::DecodePreAuthKey(record);
      if (!row) return core::Forward(row);
      const std::uint64_t id = row->id;
      if (!keys_by_prefix_.emplace(row->prefix, id).second) {
        return std::unexpected(RowError("pre-auth key", id, "its prefix is another's too"));
      }
      keys_.emplace(id, std::move(*row));
      return {};
    }
    case storage::Table::kPolicies: {
      auto row = storage::DecodePolicy(record);
      if (!row) return core::Forward(row);
      const std::uint64_t version = row->id;
      policies_.emplace(version, std::move(*row));
      return {};
    }
    default:
      return {};
  }
}

core::Result<> Registry::LoadNode(storage::NodeRow row) {
  const NodeId id = row.id;
  const auto fail = [&](std::string_view why) {
    return std::unexpected(RowError("node", id, why));
  };
  if (row.id >= meta_.next_node_id) return fail("its id was never given out");
  if (row.machine_key.zero()) return fail("it has no machine key");
  if (row.node_key.zero()) return fail("it has no node key");
  if (row.stable_id.empty()) return fail("it has no stable id");
  if (row.given_name.empty()) return fail("it has no name");
  if (row.tags.empty() && !users_.contains(row.user_id)) return fail("its user does not exist");
  if (!row.tags.empty() && row.user_id != 0) return fail("it has tags and a user");
  if (auto conflict = nodes_.Conflict(row)) return fail(*conflict);
  if (auto ok = CheckGivenName(row.given_name, {}); !ok) {
    core::LogWarn("state", ok.error().message,
                  {{"node", id}, {"fix", "ringscale nodes rename -i " + std::to_string(id)}});
  }
  auto info = ParseStoredHostinfo(row.hostinfo);
  if (!info) return fail(info.error().message);

  // Written without last-seen while it was online (PutNode): it is given time to
  // come back before anybody hears that it is gone.
  const bool was_online = row.ever_polled && !row.last_seen;
  if (was_online) row.last_seen = loop_.Wall();
  allocator_.Hold(row.ipv4);
  allocator_.Hold(row.ipv6);
  names_.Add(row.given_name);
  Node& node = nodes_.Insert(std::move(row));
  node.version = 1;
  TakeHostinfo(node, *info);
  TrackExpiry(id, std::nullopt, node.row.expiry);
  if (was_online) {
    node.online = true;
    SetDeadline(DeadlineKind::kOffline, id, options_.restart_grace);
  } else if (node.row.ephemeral) {
    SetDeadline(DeadlineKind::kEphemeral, id, options_.ephemeral_timeout);
  }
  return {};
}

void Registry::RestorePrimaries(const std::map<NodeId, std::vector<core::IpPrefix>>& served) {
  // Who served a route before is the first to offer it, so it stays the one.
  for (const auto& [id, routes] : served) {
    const Node& node = *FindNode(id);
    if (!node.online) continue;
    std::vector<core::IpPrefix> still = SubnetRoutes(node);
    std::erase_if(still,
                  [&](const auto& route) { return !std::ranges::binary_search(routes, route); });
    primaries_.Update(id, still);
  }
  for (const auto& [id, node] : nodes_.all()) {
    if (node.online) primaries_.Update(id, SubnetRoutes(node));
  }
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

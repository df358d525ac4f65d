// From the store's rows to the state of before.
#include <algorithm>

#include "control/state/registry.h"
#include "control/state/routes.h"
#include "core/obs/log.h"
#include "storage/codec/rows.h"

namespace ringscale::control {
namespace {

core::Error RowError(std::string_view what, std::uint64_t id, std::string_view why) {
  return {core::ErrorCode::kCorrupt, "the database is inconsistent: " + std::string(what) + " " +
                                         std::to_string(id) + ": " + std::string(why)};
}

}  // namespace

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

}  // namespace ringscale::control

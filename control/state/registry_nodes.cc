// What operators do to nodes.
#include <type_traits>
#include <utility>

#include "control/state/registry.h"
#include "control/state/routes.h"
#include "control/state/tags.h"

namespace ringscale::control {
namespace {

std::unexpected<core::Error> NodeNotFound() {
  return core::Fail(core::ErrorCode::kNotFound, "node not found");
}

// Queues a change of a node; `prepare` gets the node as it is when its turn comes.
template <class Prepare>
void SubmitFor(const Registry& registry, ChangeQueue& queue, NodeId id, Prepare prepare,
               Completion<> done) {
  const Node* node = registry.FindNode(id);
  if (node == nullptr) {
    done(NodeNotFound());
    return;
  }
  using Prepared = std::invoke_result_t<Prepare&, const Node&, storage::WriteBatch&>;
  queue.Submit(
      {.machine = node->row.machine_key},
      [&registry, id,
       prepare = std::move(prepare)](storage::WriteBatch& batch) mutable -> Prepared {
        const Node* current = registry.FindNode(id);
        if (current == nullptr) return NodeNotFound();
        return prepare(*current, batch);
      },
      std::move(done));
}

}  // namespace

void Registry::EditNode(NodeId id, Edit edit, Completion<> done) {
  SubmitFor(
      *this, queue_, id,
      [this, edit = std::move(edit)](const Node& node,
                                     storage::WriteBatch& batch) mutable -> core::Result<Prepared> {
        Draft draft{.row = node.row};
        if (auto ok = edit(node, draft.row); !ok) return core::Forward(ok);
        return PrepareUpdate(node, std::move(draft), batch);
      },
      std::move(done));
}

void Registry::SetNodeExpiry(NodeId id, std::optional<core::WallTime> expiry, Completion<> done) {
  EditNode(
      id,
      [expiry](const Node&, storage::NodeRow& after) -> core::Result<> {
        after.expiry = expiry;
        return {};
      },
      std::move(done));
}

void Registry::ExpireNodeNow(NodeId id, Completion<> done) {
  EditNode(
      id,
      [this](const Node&, storage::NodeRow& after) -> core::Result<> {
        after.expiry = loop_.Wall();
        return {};
      },
      std::move(done));
}

void Registry::ShortenNodeExpiry(NodeId id, core::WallTime expiry, Completion<> done) {
  EditNode(
      id,
      [expiry](const Node& before, storage::NodeRow& after) -> core::Result<> {
        if (before.row.expiry && expiry > *before.row.expiry) {
          return core::Fail(core::ErrorCode::kInvalid, "extending key is not allowed");
        }
        after.expiry = expiry;
        return {};
      },
      std::move(done));
}

void Registry::RenameNode(NodeId id, std::string name, Completion<> done) {
  EditNode(
      id,
      [this, name = std::move(name)](const Node& before,
                                     storage::NodeRow& after) -> core::Result<> {
        if (auto ok = CheckGivenName(name, options_.base_domain); !ok) return ok;
        if (name != before.row.given_name && names_.Taken(name)) {
          return core::Fail(core::ErrorCode::kInvalid, "node name is not unique");
        }
        after.given_name = name;
        return {};
      },
      std::move(done));
}

core::Result<> Registry::CheckTags(const std::vector<std::string>& tags) const {
  if (!options_.tag_exists) return {};
  std::vector<std::string> unknown;
  for (const auto& tag : tags) {
    if (!options_.tag_exists(tag)) unknown.push_back(tag);
  }
  if (unknown.empty()) return {};
  core::Error refused = TagsRefused(unknown);
  refused.code = core::ErrorCode::kInvalid;
  return std::unexpected(std::move(refused));
}

void Registry::SetNodeTags(NodeId id, std::vector<std::string> tags, Completion<> done) {
  EditNode(
      id,
      [this, tags = std::move(tags)](const Node&, storage::NodeRow& after) -> core::Result<> {
        if (tags.empty()) {
          return core::Fail(core::ErrorCode::kInvalid, "cannot remove all tags from node");
        }
        auto normal = NormalizeTags(tags);
        if (!normal) return core::Forward(normal);
        if (auto ok = CheckTags(*normal); !ok) return ok;
        after.tags = std::move(*normal);
        after.user_id = 0;
        return {};
      },
      std::move(done));
}

void Registry::ApproveRoutes(NodeId id, std::vector<core::IpPrefix> routes, Completion<> done) {
  EditNode(
      id,
      [routes = NormalizeApproval(std::move(routes))](const Node&,
                                                      storage::NodeRow& after) -> core::Result<> {
        after.approved_routes = routes;
        return {};
      },
      std::move(done));
}

void Registry::DeleteNode(NodeId id, Completion<> done) {
  SubmitFor(
      *this, queue_, id,
      [this](const Node& node, storage::WriteBatch& batch) -> core::Result<Prepared> {
        return PrepareRemoval(node.row.id, batch);
      },
      std::move(done));
}

void Registry::LogoutNode(NodeId id, Completion<> done) {
  SubmitFor(
      *this, queue_, id,
      [this](const Node& node, storage::WriteBatch& batch) -> core::Result<Prepared> {
        if (node.row.ephemeral) return PrepareRemoval(node.row.id, batch);
        Draft draft{.row = node.row};
        if (!node.expired(loop_.Wall())) draft.row.expiry = loop_.Wall();
        return PrepareUpdate(node, std::move(draft), batch);
      },
      std::move(done));
}

void Registry::BackfillAddresses(Completion<std::vector<std::string>> done) {
  auto report = std::make_shared<std::vector<std::string>>();
  Submit<std::vector<std::string>>(
      {.everything = true}, report,
      [this, report](storage::WriteBatch& batch) -> core::Result<Prepared> {
        std::vector<Prepared> updates;
        const auto drop_all = [](std::vector<Prepared>& list) {
          for (Prepared& update : list) update.drop();
        };
        for (const auto& [id, node] : nodes_.all()) {
          Draft draft{.row = node.row};
          const std::string of = " Node(" + std::to_string(id) + ") \"" + node.row.hostname + "\"";
          std::vector<core::IpAddress> fresh;
          core::Result<> outcome;
          const auto fill = [&](core::IpAddress& ip, bool wanted, std::string_view family,
                                auto allocate) {
            if (!outcome || ip.valid() == wanted) return;
            if (!wanted) {
              report->push_back("removing " + std::string(family) + " \"" + ip.text() + "\" from" +
                                of);
              ip = {};
              return;
            }
            auto allocated = allocate();
            if (!allocated) {
              outcome = core::Forward(allocated);
              return;
            }
            ip = *allocated;
            fresh.push_back(ip);
            report->push_back("assigned " + std::string(family) + " \"" + ip.text() + "\" to" + of);
          };
          fill(draft.row.ipv4, allocator_.has_v4(), "IPv4",
               [&] { return allocator_.AllocateV4(); });
          fill(draft.row.ipv6, allocator_.has_v6(), "IPv6",
               [&] { return allocator_.AllocateV6(); });
          if (!outcome) {
            for (const auto& ip : fresh) allocator_.Release(ip);
            drop_all(updates);
            return core::Forward(outcome);
          }
          if (draft.row.ipv4 == node.row.ipv4 && draft.row.ipv6 == node.row.ipv6) continue;
          updates.push_back(PrepareUpdate(node, std::move(draft), batch));
        }
        auto shared = std::make_shared<std::vector<Prepared>>(std::move(updates));
        return Prepared{.apply =
                            [shared] {
                              for (Prepared& update : *shared) update.apply();
                            },
                        .drop = [shared, drop_all] { drop_all(*shared); }};
      },
      std::move(done));
}

}  // namespace ringscale::control

// Pre-auth keys.
#include "control/state/registry.h"
#include "control/state/tags.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::control {
namespace {

void PutKey(storage::WriteBatch& batch, const storage::PreAuthKeyRow& row) {
  batch.Put(storage::Table::kPreAuthKeys, storage::IdKey(row.id), storage::Encode(row));
}

std::unexpected<core::Error> KeyNotFound() {
  return core::Fail(core::ErrorCode::kNotFound, "auth-key not found");
}

}  // namespace

void Registry::CreatePreAuthKey(NewPreAuthKey key, Completion<CreatedPreAuthKey> done) {
  auto created = std::make_shared<CreatedPreAuthKey>();
  Submit<CreatedPreAuthKey>(
      {.everything = true}, created,
      [this, created, key = std::move(key)](storage::WriteBatch& batch) -> core::Result<Prepared> {
        if (key.user == 0 && key.tags.empty()) {
          return core::Fail(core::ErrorCode::kInvalid,
                            "auth-key must be either tagged or owned by user");
        }
        if (key.user != 0 && FindUser(key.user) == nullptr) {
          return core::Fail(core::ErrorCode::kNotFound, "user not found");
        }
        auto tags = NormalizeTags(key.tags);
        if (!tags) return core::Forward(tags);
        if (auto ok = CheckTags(*tags); !ok) return core::Forward(ok);

        IssuedSecret secret = IssueSecret(kPreAuthKeyIntro, options_.random);
        while (keys_by_prefix_.contains(secret.prefix)) {
          secret = IssueSecret(kPreAuthKeyIntro, options_.random);
        }
        storage::PreAuthKeyRow& row = created->row;
        row.id = meta_.next_pre_auth_key_id++;
        row.prefix = secret.prefix;
        row.secret_hash = secret.hash;
        row.user_id = key.user;
        row.tags = std::move(*tags);
        row.reusable = key.reusable;
        row.ephemeral = key.ephemeral;
        row.created = loop_.Wall();
        row.expiry = key.expiry;
        created->text = std::move(secret.text);
        PutKey(batch, row);
        PutMeta(batch);
        return Prepared{.apply =
                            [this, created] {
                              const storage::PreAuthKeyRow& stored = created->row;
                              keys_by_prefix_.emplace(stored.prefix, stored.id);
                              keys_.emplace(stored.id, stored);
                            },
                        .drop = {}};
      },
      std::move(done));
}

void Registry::ExpirePreAuthKey(std::uint64_t id, Completion<> done) {
  queue_.Submit(
      {.everything = true},
      [this, id](storage::WriteBatch& batch) -> core::Result<Prepared> {
        const auto key = keys_.find(id);
        if (key == keys_.end()) return KeyNotFound();
        storage::PreAuthKeyRow row = key->second;
        row.expiry = loop_.Wall();
        PutKey(batch, row);
        return Prepared{.apply = [this, row = std::move(row)] { keys_.at(row.id) = row; },
                        .drop = {}};
      },
      std::move(done));
}

void Registry::DeletePreAuthKey(std::uint64_t id, Completion<> done) {
  queue_.Submit(
      {.everything = true},
      [this, id](storage::WriteBatch& batch) -> core::Result<Prepared> {
        if (!keys_.contains(id)) return KeyNotFound();
        return PrepareKeyRemoval({id}, batch);
      },
      std::move(done));
}

Registry::Prepared Registry::PrepareKeyRemoval(const std::set<std::uint64_t>& ids,
                                               storage::WriteBatch& batch) {
  for (const std::uint64_t id : ids) {
    batch.Delete(storage::Table::kPreAuthKeys, storage::IdKey(id));
  }
  std::vector<ChangeQueue::Task> updates;
  for (const auto& [node_id, node] : nodes_.all()) {
    if (!ids.contains(node.row.auth_key_id)) continue;
    Draft draft{.row = node.row};
    draft.row.auth_key_id = 0;
    draft.row.ephemeral = false;
    updates.push_back(PrepareUpdate(node, std::move(draft), batch).apply);
  }
  return {.apply =
              [this, ids, updates = std::move(updates)]() mutable {
                for (const std::uint64_t id : ids) {
                  const auto key = keys_.extract(id);
                  keys_by_prefix_.erase(key.mapped().prefix);
                }
                for (auto& update : updates) update();
              },
          .drop = {}};
}

}  // namespace ringscale::control

// Users.
#include "control/state/registry.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxProfileText = 1024;

core::Result<> CheckNewUser(const NewUser& user) {
  if (auto ok = CheckUserName(user.name); !ok) return ok;
  for (const std::string* text : {&user.display_name, &user.email, &user.picture_url}) {
    if (text->size() > kMaxProfileText) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "display name, e-mail and picture URL may have 1024 bytes each");
    }
  }
  return {};
}

void PutUser(storage::WriteBatch& batch, const storage::UserRow& row) {
  batch.Put(storage::Table::kUsers, storage::IdKey(row.id), storage::Encode(row));
}

}  // namespace

void Registry::CreateUser(NewUser user, Completion<UserId> done) {
  auto id = std::make_shared<UserId>();
  Submit<UserId>(
      {.everything = true}, id,
      [this, id, user = std::move(user)](storage::WriteBatch& batch) -> core::Result<Prepared> {
        if (auto ok = CheckNewUser(user); !ok) return core::Forward(ok);
        if (FindUserByName(user.name) != nullptr) {
          return core::Fail(core::ErrorCode::kExists, "user already exists");
        }
        *id = meta_.next_user_id++;
        storage::UserRow row{.id = *id,
                             .name = user.name,
                             .display_name = user.display_name,
                             .email = user.email,
                             .picture_url = user.picture_url,
                             .provider = {},
                             .created = loop_.Wall()};
        PutUser(batch, row);
        PutMeta(batch);
        return Prepared{.apply =
                            [this, row = std::move(row)] {
                              users_by_name_.emplace(row.name, row.id);
                              users_.emplace(row.id, row);
                              Publish({.kind = Change::Kind::kUserChanged, .id = row.id});
                            },
                        .drop = {}};
      },
      std::move(done));
}

void Registry::RenameUser(UserId id, std::string new_name, Completion<> done) {
  queue_.Submit(
      {.everything = true},
      [this, id, name = std::move(new_name)](storage::WriteBatch& batch) -> core::Result<Prepared> {
        const storage::UserRow* user = FindUser(id);
        if (user == nullptr) return core::Fail(core::ErrorCode::kNotFound, "user not found");
        if (auto ok = CheckUserName(name); !ok) return core::Forward(ok);
        if (!user->provider.empty()) {
          return core::Fail(core::ErrorCode::kConflict,
                            "the user's name comes from the identity provider \"" + user->provider +
                                "\" and cannot be changed here");
        }
        const storage::UserRow* other = FindUserByName(name);
        if (other != nullptr && other->id != id) {
          return core::Fail(core::ErrorCode::kExists, "user already exists");
        }
        storage::UserRow row = *user;
        row.name = name;
        PutUser(batch, row);
        return Prepared{.apply =
                            [this, row = std::move(row)] {
                              storage::UserRow& stored = users_.at(row.id);
                              users_by_name_.erase(stored.name);
                              users_by_name_.emplace(row.name, row.id);
                              stored = row;
                              Publish({.kind = Change::Kind::kUserChanged, .id = row.id});
                            },
                        .drop = {}};
      },
      std::move(done));
}

void Registry::DestroyUser(UserId id, Completion<> done) {
  queue_.Submit(
      {.everything = true},
      [this, id](storage::WriteBatch& batch) -> core::Result<Prepared> {
        if (FindUser(id) == nullptr) {
          return core::Fail(core::ErrorCode::kNotFound, "user not found");
        }
        if (!nodes_.OfUser(id).empty()) {
          return core::Fail(core::ErrorCode::kInvalid, "user not empty: node(s) found");
        }
        std::set<std::uint64_t> keys;
        for (const auto& [key_id, key] : keys_) {
          if (key.user_id == id) keys.insert(key_id);
        }
        Prepared without_keys = PrepareKeyRemoval(keys, batch);
        batch.Delete(storage::Table::kUsers, storage::IdKey(id));
        return Prepared{.apply =
                            [this, id, remove_keys = std::move(without_keys.apply)]() mutable {
                              remove_keys();
                              const auto user = users_.extract(id);
                              users_by_name_.erase(user.mapped().name);
                              Publish({.kind = Change::Kind::kUserChanged, .id = id});
                            },
                        .drop = std::move(without_keys.drop)};
      },
      std::move(done));
}

}  // namespace ringscale::control

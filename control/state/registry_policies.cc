// Versions of the policy.
#include "control/state/registry.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::control {

void Registry::SavePolicy(std::string text, std::string author, Completion<std::uint64_t> done) {
  auto version = std::make_shared<std::uint64_t>(0);
  Submit<std::uint64_t>(
      {.everything = true}, version,
      [this, version, text = std::move(text),
       author = std::move(author)](storage::WriteBatch& batch) -> core::Result<Prepared> {
        auto row = std::make_shared<storage::PolicyRow>();
        row->id = meta_.next_policy_version++;
        row->created = loop_.Wall();
        row->author = author;
        row->text = text;
        *version = row->id;
        batch.Put(storage::Table::kPolicies, storage::IdKey(row->id), storage::Encode(*row));
        std::optional<std::uint64_t> oldest;
        if (policies_.size() >= kKeptPolicies) {
          oldest = policies_.begin()->first;
          batch.Delete(storage::Table::kPolicies, storage::IdKey(*oldest));
        }
        PutMeta(batch);
        return Prepared{.apply =
                            [this, row, oldest] {
                              if (oldest) policies_.erase(*oldest);
                              policies_.emplace(row->id, std::move(*row));
                            },
                        .drop = {}};
      },
      std::move(done));
}

}  // namespace ringscale::control

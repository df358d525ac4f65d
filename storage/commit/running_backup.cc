#include "storage/commit/running_backup.h"

#include <iterator>
#include <utility>

#include "storage/codec/record.h"

namespace ringscale::storage {
namespace {

constexpr std::size_t kSliceBytes = std::size_t{256} << 10;

}  // namespace

RunningBackup::RunningBackup(Database& database, lmdb::ReadTxn txn, DumpWriter writer)
    : database_(database), txn_(std::move(txn)), writer_(std::move(writer)) {}

core::Result<std::unique_ptr<RunningBackup>> RunningBackup::Start(Database& database,
                                                                  std::uint32_t schema,
                                                                  Store::ChunkSink sink) {
  auto txn = database.BeginRead();
  if (!txn) return core::Forward(txn);
  DumpSize size;
  for (const Table table : kAllTables) {
    auto cursor = database.Walk(*txn, table);
    if (!cursor) return core::Forward(cursor);
    for (;;) {
      auto entry = cursor->Next();
      if (!entry) return std::unexpected(std::move(entry.error().error));
      if (!*entry) break;
      size.Add((*entry)->key, (*entry)->value);
    }
  }
  return std::unique_ptr<RunningBackup>(
      new RunningBackup(database, std::move(*txn), DumpWriter(schema, size, std::move(sink))));
}

core::Result<bool> RunningBackup::Step() {
  std::size_t written = 0;
  while (written < kSliceBytes) {
    if (table_ == std::size(kAllTables)) {
      if (auto done = writer_.Finish(); !done) return core::Forward(done);
      return true;
    }
    if (!cursor_) {
      auto cursor = database_.Walk(txn_, kAllTables[table_]);
      if (!cursor) return core::Forward(cursor);
      cursor_.emplace(std::move(*cursor));
    }
    auto entry = cursor_->Next();
    if (!entry) return std::unexpected(std::move(entry.error().error));
    if (!*entry) {
      cursor_.reset();
      ++table_;
      continue;
    }
    const auto [key, value] = **entry;
    if (auto done = writer_.Record(kAllTables[table_], key, value); !done) {
      return core::Forward(done);
    }
    written += key.size() + value.size();
  }
  return false;
}

}  // namespace ringscale::storage

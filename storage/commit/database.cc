#include "storage/commit/database.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "storage/codec/record.h"
#include "storage/codec/rows.h"
#include "storage/commit/migrations.h"
#include "storage/files.h"
#include "storage/tables/rows.h"

namespace ringscale::storage {
namespace {

template <class T>
std::unexpected<core::Error> Forward(lmdb::Outcome<T>& outcome) {
  return std::unexpected(std::move(outcome.error().error));
}

std::size_t FileBytes(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
}

bool DiskIsFull(const std::string& path) {
  constexpr std::uint64_t kLittle = 1 << 20;
  struct statvfs status{};
  return ::statvfs(path.c_str(), &status) == 0 &&
         std::uint64_t{status.f_bavail} * status.f_frsize < kLittle;
}

std::string DirectoryOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

core::Result<> Database::Create(const Options& options, std::string_view meta) {
  // An empty file would be taken for a damaged database, so it gets its name last.
  const std::string fresh = options.path + ".new";
  ::unlink(fresh.c_str());
  {
    auto database = Open({fresh, options.initial_map_bytes, options.max_map_bytes});
    if (!database) return core::Forward(database);
    WriteBatch batch;
    batch.Put(Table::kMeta, std::string(kMetaKey), std::string(meta));
    const WriteBatch* batches[] = {&batch};
    bool grow = false;
    if (auto applied = database->Apply(batches, grow); !applied) return applied;
  }
  ::unlink((fresh + "-lock").c_str());
  if (auto renamed = RenameFile(fresh, options.path); !renamed) return renamed;
  return SyncDirectory(DirectoryOf(options.path));
}

core::Result<Database> Database::Open(Options options) {
  Database database(std::move(options));
  if (auto opened = database.Reopen(); !opened) return core::Forward(opened);
  return database;
}

core::Result<> Database::Reopen() {
  const std::size_t map = env_ ? env_->map_bytes() : 0;
  env_.reset();  // never twice in one process
  auto env = lmdb::Env::Open(
      {.path = options_.path,
       .map_bytes = std::max({map, options_.initial_map_bytes, FileBytes(options_.path)})});
  if (!env) return Forward(env);
  auto txn = env->BeginWrite();
  if (!txn) return Forward(txn);
  for (const Table table : kAllTables) {
    auto dbi = txn->CreateTable(std::string(TableName(table)).c_str());
    if (!dbi) return Forward(dbi);
    tables_[static_cast<std::size_t>(table)] = *dbi;
  }
  if (auto committed = txn->Commit(); !committed) return Forward(committed);
  env_ = std::move(*env);
  broken_ = false;
  return {};
}

core::Result<> Database::Note(const lmdb::Failure& failure, bool* grow) {
  if (failure.fatal) broken_ = true;
  if (grow != nullptr && failure.map_full) *grow = true;
  core::Error error = failure.error;
  // LMDB reports a write that a full disk cut short as an I/O error.
  if (error.code == core::ErrorCode::kIo && DiskIsFull(options_.path)) {
    error.message += " (the disk is full: free some space)";
  }
  return std::unexpected(std::move(error));
}

core::Result<> Database::Apply(std::span<const WriteBatch* const> batches, bool& grow) {
  grow = false;
  if (!env_) return core::Fail(core::ErrorCode::kIo, "the database is not open");
  auto txn = env_->BeginWrite();
  if (!txn) return Note(txn.error());
  for (const WriteBatch* batch : batches) {
    for (const auto& change : batch->changes()) {
      auto done = change.value ? txn->Put(Dbi(change.table), change.key, *change.value)
                               : txn->Delete(Dbi(change.table), change.key);
      if (!done) return Note(done.error(), &grow);
    }
  }
  if (auto done = txn->Commit(); !done) return Note(done.error(), &grow);
  return {};
}

core::Result<> Database::Grow() {
  const std::size_t now = map_bytes();
  if (now >= options_.max_map_bytes) {
    return core::Fail(core::ErrorCode::kLimit, "the database has reached its size limit of " +
                                                   std::to_string(options_.max_map_bytes >> 20) +
                                                   " MiB");
  }
  if (auto done = env_->Resize(std::min(now * 2, options_.max_map_bytes)); !done) {
    return Note(done.error());
  }
  return {};
}

core::Result<> Database::Probe() {
  auto meta = MetaRecord();
  if (!meta) return core::Forward(meta);
  WriteBatch batch;
  batch.Put(Table::kMeta, std::string(kMetaKey), std::move(*meta));
  const WriteBatch* batches[] = {&batch};
  bool grow = false;
  return Apply(batches, grow);
}

core::Result<lmdb::ReadTxn> Database::BeginRead() {
  if (!env_) return core::Fail(core::ErrorCode::kIo, "the database is not open");
  auto txn = env_->BeginRead();
  if (!txn) return Forward(txn);
  return std::move(*txn);
}

core::Result<lmdb::Cursor> Database::Walk(const lmdb::ReadTxn& txn, Table table) {
  auto cursor = lmdb::Cursor::Open(txn, Dbi(table));
  if (!cursor) return Forward(cursor);
  return std::move(*cursor);
}

core::Result<std::string> Database::MetaRecord() {
  auto txn = BeginRead();
  if (!txn) return core::Forward(txn);
  auto record = txn->Get(Dbi(Table::kMeta), kMetaKey);
  if (!record) return Forward(record);
  if (!*record) return core::Fail(core::ErrorCode::kCorrupt, "the database has no meta record");
  return std::string(**record);
}

core::Result<> Database::Visit(const Store::Visitor& visit) {
  auto txn = BeginRead();
  if (!txn) return core::Forward(txn);
  for (const Table table : kAllTables) {
    auto cursor = Walk(*txn, table);
    if (!cursor) return core::Forward(cursor);
    for (;;) {
      auto entry = cursor->Next();
      if (!entry) return Forward(entry);
      if (!*entry) break;
      if (auto visited = visit(table, (*entry)->key, (*entry)->value); !visited) return visited;
    }
  }
  return {};
}

class Database::MigrationTxn final : public MigrationTarget {
 public:
  MigrationTxn(Database& database, lmdb::WriteTxn& txn, bool& grow)
      : database_(database), txn_(txn), grow_(grow) {}

  core::Result<> Visit(
      Table table,
      const std::function<core::Result<>(std::string_view, std::string_view)>& visit) override {
    auto cursor = lmdb::Cursor::Open(txn_, database_.Dbi(table));
    if (!cursor) return Forward(cursor);
    for (;;) {
      auto entry = cursor->Next();
      if (!entry) return Forward(entry);
      if (!*entry) return {};
      if (auto visited = visit((*entry)->key, (*entry)->value); !visited) return visited;
    }
  }

  core::Result<> Put(Table table, std::string_view key, std::string_view value) override {
    if (auto done = txn_.Put(database_.Dbi(table), key, value); !done) {
      return database_.Note(done.error(), &grow_);
    }
    return {};
  }

  core::Result<> Delete(Table table, std::string_view key) override {
    if (auto done = txn_.Delete(database_.Dbi(table), key); !done) {
      return database_.Note(done.error(), &grow_);
    }
    return {};
  }

 private:
  Database& database_;
  lmdb::WriteTxn& txn_;
  bool& grow_;
};

core::Result<> Database::Migrate(std::uint32_t from, std::uint32_t to,
                                 std::span<const Migration> list) {
  const std::string copy = options_.path + ".schema-" + std::to_string(from);
  ::unlink((copy + ".tmp").c_str());
  if (auto copied = env_->CopyTo(copy + ".tmp"); !copied) return Forward(copied);
  if (auto renamed = RenameFile(copy + ".tmp", copy); !renamed) return renamed;
  if (auto synced = SyncDirectory(DirectoryOf(copy)); !synced) return synced;
  for (;;) {
    bool grow = false;
    auto result = RunMigrations(from, to, list, grow);
    if (!grow) return result;
    if (auto grown = Grow(); !grown) return grown;
  }
}

core::Result<> Database::RunMigrations(std::uint32_t from, std::uint32_t to,
                                       std::span<const Migration> list, bool& grow) {
  auto txn = env_->BeginWrite();
  if (!txn) return Forward(txn);
  MigrationTxn target(*this, *txn, grow);
  for (std::uint32_t version = from; version < to; ++version) {
    const auto step = std::ranges::find(list, version, &Migration::from);
    if (step == list.end()) {
      return core::Fail(core::ErrorCode::kUnsupported,
                        "the database has schema version " + std::to_string(from) +
                            ", which this ringscale cannot bring to version " + std::to_string(to) +
                            ": use a version between them first");
    }
    if (auto done = step->run(target); !done) return done;
  }
  auto record = txn->Get(Dbi(Table::kMeta), kMetaKey);
  if (!record) return Forward(record);
  if (!*record) return core::Fail(core::ErrorCode::kCorrupt, "the database has no meta record");
  auto meta = DecodeMeta(**record);
  if (!meta) return core::Forward(meta);
  meta->schema_version = to;
  if (auto put = target.Put(Table::kMeta, kMetaKey, Encode(*meta)); !put) return put;
  if (auto done = txn->Commit(); !done) return Note(done.error(), &grow);
  return {};
}

}  // namespace ringscale::storage

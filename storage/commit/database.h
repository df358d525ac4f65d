// The tables in one LMDB file, as the writer thread uses them: transactions of
// whole batches, growth, reopening after a fatal failure. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/base/result.h"
#include "storage/lmdb/env.h"
#include "storage/store.h"

namespace ringscale::storage {

struct Migration;

class Database {
 public:
  struct Options {
    std::string path;
    std::size_t initial_map_bytes = 0;
    std::size_t max_map_bytes = 0;
  };
  // Makes a database with `meta` as its only record, complete or not at all.
  static core::Result<> Create(const Options& options, std::string_view meta);
  static core::Result<Database> Open(Options options);
  Database(Database&&) = default;
  Database& operator=(Database&&) = delete;

  core::Result<> Visit(const Store::Visitor& visit);
  // All batches or none, on disk when it returns. kLimit with `grow` set when the
  // map has to grow first.
  core::Result<> Apply(std::span<const WriteBatch* const> batches, bool& grow);
  // Doubles the map. No transaction may be open. kLimit at the configured size.
  core::Result<> Grow();
  // Whether Apply found LMDB unable to go on: close every transaction, then Reopen.
  [[nodiscard]] bool broken() const { return broken_; }
  core::Result<> Reopen();
  // Commits the meta record as it is: whether writing works again.
  core::Result<> Probe();

  // Copies the database beside itself and runs the migrations in one transaction.
  core::Result<> Migrate(std::uint32_t from, std::uint32_t to, std::span<const Migration> list);

  core::Result<lmdb::ReadTxn> BeginRead();
  core::Result<lmdb::Cursor> Walk(const lmdb::ReadTxn& txn, Table table);
  core::Result<std::string> MetaRecord();
  [[nodiscard]] std::size_t map_bytes() const { return env_ ? env_->map_bytes() : 0; }

 private:
  class MigrationTxn;
  explicit Database(Options options) : options_(std::move(options)) {}
  [[nodiscard]] lmdb::Dbi Dbi(Table table) const {
    return tables_[static_cast<std::size_t>(table)];
  }
  // Writes inside a transaction, notes what went wrong.
  core::Result<> Note(const lmdb::Failure& failure, bool* grow = nullptr);
  core::Result<> RunMigrations(std::uint32_t from, std::uint32_t to,
                               std::span<const Migration> list, bool& grow);

  Options options_;
  std::optional<lmdb::Env> env_;
  std::array<lmdb::Dbi, 8> tables_{};
  bool broken_ = false;
};

}  // namespace ringscale::storage

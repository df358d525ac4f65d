// A backup in progress: a snapshot of the database, written slice by slice so that
// commits go on in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/result.h"
#include "storage/commit/database.h"
#include "storage/commit/dump.h"
#include "storage/lmdb/env.h"
#include "storage/store.h"

namespace ringscale::storage {

// Belongs to the writer thread. Holds a read transaction: must be gone before the
// database grows or is opened again.
class RunningBackup {
 public:
  static core::Result<std::unique_ptr<RunningBackup>> Start(Database& database,
                                                            std::uint32_t schema,
                                                            Store::ChunkSink sink);

  // Writes one slice. True when the backup is complete.
  core::Result<bool> Step();

 private:
  RunningBackup(Database& database, lmdb::ReadTxn txn, DumpWriter writer);

  Database& database_;
  lmdb::ReadTxn txn_;
  std::optional<lmdb::Cursor> cursor_;  // after txn_: closed before it
  DumpWriter writer_;
  std::size_t table_ = 0;
};

}  // namespace ringscale::storage

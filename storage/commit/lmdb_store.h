// The store on LMDB: one writer thread that commits everything queued in one
// transaction with one fsync (group commit).
//
// Start: lock the data directory (storage/data_dir.h), then Open, LoadAll, and
// from then on Commit. Trouble with the disk fails the batches it concerns; the
// store stays usable and tries by itself whether it works again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/obs/metrics.h"
#include "storage/commit/migrations.h"
#include "storage/store.h"

namespace ringscale::storage {

struct LmdbOptions {
  std::string path;  // of the database file: DataDir::DatabasePath()
  // Address space reserved for the file at first, and the size it may grow to.
  std::size_t initial_map_bytes = std::size_t{64} << 20;
  std::size_t max_map_bytes = std::size_t{8} << 30;
  // Bytes of batches that may wait; more are failed with kLimit.
  std::size_t max_queued_bytes = std::size_t{256} << 20;
  int nice = 5;  // of the writer thread
  // The schema, replaced by tests.
  std::uint32_t schema_version = kSchemaVersion;
  const std::vector<Migration>* migrations = &Migrations();
};

// Read by any thread.
struct StoreCounters {
  core::Counter batches;  // committed
  core::Counter commits;  // transactions, each one fsync
  core::Counter failed;   // batches that failed
  core::Counter reopens;  // after a failure that made LMDB stop
  core::Gauge map_bytes;
  core::Gauge healthy;  // 1 or 0
};

class LmdbStore final : public Store {
 public:
  // Opens the database, or creates one with a fresh MetaRow. Checks it first in a
  // child process, copies and migrates it when its schema is older. kCorrupt
  // "database damaged", kUnsupported for a newer schema. The caller holds the
  // data directory's lock for as long as the store lives.
  static core::Result<std::unique_ptr<LmdbStore>> Open(LmdbOptions options);
  ~LmdbStore() override;  // closes

  core::Result<> LoadAll(const Visitor& visit) override;
  void Commit(WriteBatch batch, Done done) override;
  void Backup(ChunkSink write, Done done) override;
  [[nodiscard]] core::Result<> Health() const override;
  void Close() override;

  [[nodiscard]] const StoreCounters& counters() const;

 private:
  class Writer;
  explicit LmdbStore(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace ringscale::storage

// The store interface: tables of versioned, checksummed records, written by one
// thread in group commits, read only at start (the authoritative state is in
// memory, control/state).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace ringscale::storage {

// Do not renumber: on disk.
enum class Table : std::uint8_t {
  kMeta = 1,         // schema version, counters (next ids), server identity
  kUsers = 2,        // key: big-endian u64 id
  kNodes = 3,        // key: big-endian u64 id
  kPreAuthKeys = 4,  // key: big-endian u64 id
  kApiKeys = 5,      // key: big-endian u64 id
  kPolicies = 6,     // key: big-endian u64 version
};

// What one operation changes; applied atomically. Values are encoded records
// (storage/codec adds version and checksum).
class WriteBatch {
 public:
  struct Change {
    Table table;
    std::string key;
    std::optional<std::string> value;  // nullopt = delete
  };
  void Put(Table table, std::string key, std::string value) {
    changes_.push_back({table, std::move(key), std::move(value)});
  }
  void Delete(Table table, std::string key) {
    changes_.push_back({table, std::move(key), std::nullopt});
  }
  [[nodiscard]] bool empty() const { return changes_.empty(); }
  [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }

 private:
  std::vector<Change> changes_;
};

class Store {
 public:
  virtual ~Store() = default;

  // Calls `visit` for every record of a table in key order, inside one read
  // transaction over all tables that LoadAll walks. Only before the first Commit.
  using Visitor =
      std::function<core::Result<>(Table, std::string_view key, std::string_view value)>;
  virtual core::Result<> LoadAll(const Visitor& visit) = 0;

  // Queues a batch for the writer thread. `done` runs on the writer thread after
  // the batch is on disk (or has failed: nothing of it is stored then); batches
  // commit in the order of calls. Callable from any one thread at a time.
  using Done = std::move_only_function<void(core::Result<>)>;
  virtual void Commit(WriteBatch batch, Done done) = 0;

  // A consistent copy of the database while the server runs, in the format of
  // storage/commit/dump.h: every batch queued before is in it, none queued later.
  // Chunks of about 64 KiB are passed to `write` on the writer thread between
  // commits: it must not wait. An error of it ends the backup with that error.
  using ChunkSink = std::move_only_function<core::Result<>(std::string_view chunk)>;
  virtual void Backup(ChunkSink write, Done done) = 0;

  // The last commit's outcome: what /health reports. Thread-safe.
  [[nodiscard]] virtual core::Result<> Health() const = 0;

  // Commits everything queued, then stops the writer thread.
  virtual void Close() = 0;
};

}  // namespace ringscale::storage

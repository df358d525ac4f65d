// Restoring a backup (storage/backup/bundle.h says how one is written and what
// it holds).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "storage/backup/bundle.h"
#include "storage/commit/migrations.h"
#include "storage/data_dir.h"

namespace ringscale::storage {

struct RestoreOptions {
  // Replace a database that is there; what is replaced goes to "before-restore".
  bool replace_existing = false;
  std::uint32_t known_schema = kSchemaVersion;
};

struct RestoreReport {
  std::string program_version;  // that wrote the backup
  std::uint64_t records = 0;
  std::vector<std::string> data_files;    // relative to the data directory
  std::vector<std::string> config_files;  // relative to it too, below "restored-config"
};

// Restores into a data directory whose lock the caller holds, so that no server
// can run on it. Feed the archive in pieces of any size, then Finish. Until
// Finish everything is staged beside the old state; Finish replaces that only
// after every record, checksum and count was right. Dropped before: nothing
// changed. Files are written 0600.
class Restore {
 public:
  static core::Result<Restore> Begin(const DataDir& dir, RestoreOptions options);
  Restore(Restore&&) noexcept;
  Restore& operator=(Restore&&) = delete;
  ~Restore();

  core::Result<> Feed(std::string_view bytes);
  core::Result<RestoreReport> Finish();

 private:
  class Stage;
  explicit Restore(std::unique_ptr<Stage> stage);
  std::unique_ptr<Stage> stage_;
};

}  // namespace ringscale::storage

#include <unistd.h>

#include <optional>
#include <utility>

#include "core/crypto/key_file.h"
#include "storage/backup.h"
#include "storage/backup/staging.h"
#include "storage/codec/rows.h"
#include "storage/commit/check.h"
#include "storage/commit/database.h"
#include "storage/files.h"

namespace ringscale::storage {
namespace {

constexpr std::string_view kRestoredConfig = "restored-config";
constexpr std::size_t kBatchBytes = std::size_t{8} << 20;
constexpr std::size_t kFirstMapBytes = std::size_t{64} << 20;
constexpr std::size_t kLastMapBytes = std::size_t{64} << 30;

// Names in the data directory that are not a backup's to write.
bool IsReserved(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  return first.starts_with(DataDir::kDatabaseFile) || first == DataDir::kLockFile ||
         first == kStagingPartial || first == kStagingReady || first == kReplacedFiles ||
         first == kRestoredConfig;
}

}  // namespace

class Restore::Stage final : public BackupReader::Handler {
 public:
  Stage(std::string data_dir, std::string staging, RestoreOptions options)
      : data_dir_(std::move(data_dir)),
        staging_(std::move(staging)),
        options_(options),
        reader_(*this, options.known_schema) {}
  ~Stage() override {
    database_.reset();
    if (!done_) AbandonStaging(data_dir_);
  }

  core::Result<> Feed(std::string_view bytes) { return reader_.Feed(bytes); }

  core::Result<RestoreReport> Finish() {
    if (auto whole = reader_.Finish(); !whole) return core::Forward(whole);
    if (auto stored = Flush(); !stored) return core::Forward(stored);
    database_.reset();
    ::unlink((DatabasePath() + "-lock").c_str());
    // The new file as a server would find it.
    auto info = CheckDatabase(DatabasePath(), options_.known_schema);
    if (!info) return core::Forward(info);
    if (info->records != report_.records) {
      return core::Fail(core::ErrorCode::kInternal, "the restored database is not complete");
    }
    if (auto done = CommitStaging(data_dir_); !done) return core::Forward(done);
    done_ = true;
    report_.program_version = reader_.program_version();
    return std::move(report_);
  }

  core::Result<> OnFile(std::string_view name, std::string_view content) override {
    std::string target;
    if (name.starts_with(kDataPrefix)) {
      target = name.substr(kDataPrefix.size());
      if (IsReserved(target)) {
        return core::Fail(core::ErrorCode::kInvalid,
                          "the backup would overwrite " + target + " of the data directory");
      }
      report_.data_files.push_back(target);
    } else {
      target = std::string(kRestoredConfig) + "/" + std::string(name.substr(kConfigPrefix.size()));
      report_.config_files.push_back(target);
    }
    const std::string path = staging_ + "/" + target;
    if (auto made = MakeDirectories(path.substr(0, path.rfind('/')), 0700); !made) return made;
    return core::WriteFileAtomically(path, content, core::Replace::kNo);
  }

  core::Result<> OnRecord(Table table, std::string_view key, std::string_view value) override {
    ++report_.records;
    if (!database_) return CreateDatabase(table, value);
    batch_.Put(table, std::string(key), std::string(value));
    batch_bytes_ += key.size() + value.size();
    if (batch_bytes_ < kBatchBytes) return {};
    return Flush();
  }

 private:
  [[nodiscard]] std::string DatabasePath() const {
    return staging_ + "/" + std::string(DataDir::kDatabaseFile);
  }

  core::Result<> CreateDatabase(Table table, std::string_view value) {
    if (table != Table::kMeta) {
      return core::Fail(core::ErrorCode::kCorrupt, "the backup's database has no meta record");
    }
    const Database::Options options{DatabasePath(), kFirstMapBytes, kLastMapBytes};
    if (auto made = Database::Create(options, value); !made) return made;
    auto database = Database::Open(options);
    if (!database) return core::Forward(database);
    database_.emplace(std::move(*database));
    return {};
  }

  core::Result<> Flush() {
    const WriteBatch batch = std::exchange(batch_, {});
    batch_bytes_ = 0;
    if (batch.empty()) return {};
    const WriteBatch* batches[] = {&batch};
    for (;;) {
      bool grow = false;
      auto applied = database_->Apply(batches, grow);
      if (!grow) return applied;
      if (auto grown = database_->Grow(); !grown) return grown;
    }
  }

  std::string data_dir_;
  std::string staging_;
  RestoreOptions options_;
  BackupReader reader_;
  RestoreReport report_;
  std::optional<Database> database_;
  WriteBatch batch_;
  std::size_t batch_bytes_ = 0;
  bool done_ = false;
};

Restore::Restore(std::unique_ptr<Stage> stage) : stage_(std::move(stage)) {}
Restore::Restore(Restore&&) noexcept = default;
Restore::~Restore() = default;

core::Result<Restore> Restore::Begin(const DataDir& dir, RestoreOptions options) {
  if (!options.replace_existing && FileExists(dir.DatabasePath())) {
    return core::Fail(core::ErrorCode::kExists,
                      "the data directory " + dir.path() +
                          " already holds a database: --force replaces it and keeps the old "
                          "files in " +
                          std::string(kReplacedFiles));
  }
  auto staging = BeginStaging(dir.path());
  if (!staging) return core::Forward(staging);
  return Restore(std::make_unique<Stage>(dir.path(), std::move(*staging), options));
}

core::Result<> Restore::Feed(std::string_view bytes) {
  return stage_->Feed(bytes);
}

core::Result<RestoreReport> Restore::Finish() {
  return stage_->Finish();
}

}  // namespace ringscale::storage

#include "storage/commit/lmdb_store.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "core/base/random.h"
#include "core/obs/log.h"
#include "storage/codec/record.h"
#include "storage/codec/rows.h"
#include "storage/commit/check.h"
#include "storage/commit/database.h"
#include "storage/commit/dump.h"
#include "storage/commit/running_backup.h"
#include "storage/files.h"
#include "storage/tables/rows.h"

namespace ringscale::storage {
namespace {

// Bounds of one transaction: more batches do not make the fsync cheaper per batch,
// but make everybody wait for it longer.
constexpr std::size_t kMaxGroupBatches = 1024;
constexpr std::size_t kMaxGroupBytes = std::size_t{16} << 20;
constexpr std::chrono::seconds kProbeInterval{5};

std::size_t Bytes(const WriteBatch& batch) {
  std::size_t bytes = 64;
  for (const auto& change : batch.changes()) {
    bytes += 64 + change.key.size() + (change.value ? change.value->size() : 0);
  }
  return bytes;
}

// What could never be stored, found before it spoils a group's transaction.
core::Result<> Validate(const WriteBatch& batch, std::uint32_t schema) {
  for (const auto& change : batch.changes()) {
    const auto refuse = [&](std::string_view why) {
      return core::Fail(core::ErrorCode::kInvalid, "a change of table " +
                                                       std::string(TableName(change.table)) +
                                                       " is refused: " + std::string(why));
    };
    if (TableName(change.table).empty()) return refuse("there is no such table");
    if (change.key.empty() || change.key.size() > kMaxKeyBytes) {
      return refuse("the key's length is impossible");
    }
    if (change.value && change.value->size() > kMaxValueBytes) {
      return refuse("the record is too large");
    }
    if (change.table != Table::kMeta) continue;
    const auto version = change.value ? PeekSchemaVersion(*change.value) : std::uint32_t{0};
    if (change.key != kMetaKey || !version || *version != schema) {
      return refuse("the meta record and its schema version stay");
    }
  }
  return {};
}

}  // namespace

class LmdbStore::Writer {
 public:
  Writer(LmdbOptions options, Database database)
      : options_(std::move(options)), database_(std::move(database)) {
    counters_.map_bytes.Set(static_cast<std::int64_t>(database_.map_bytes()));
    counters_.healthy.Set(1);
    thread_ = std::thread([this] { Run(); });
  }
  ~Writer() { Close(); }

  void Commit(WriteBatch batch, Done done) {
    Job job;
    job.bytes = Bytes(batch);
    job.batch = std::move(batch);
    job.done = std::move(done);
    Push(std::move(job));
  }

  void Backup(ChunkSink write, Done done) {
    Job job;
    job.backup = std::move(write);
    job.done = std::move(done);
    Push(std::move(job));
  }

  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  core::Result<> Health() const {
    const std::lock_guard lock(mutex_);
    return health_;
  }

  Database& database() { return database_; }
  const StoreCounters& counters() const { return counters_; }

 private:
  struct Job {
    WriteBatch batch;
    ChunkSink backup;
    Done done;
    std::size_t bytes = 0;
    core::Result<> result;  // an error at once: never tried
  };

  void Push(Job job) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) {
        job.result = core::Fail(core::ErrorCode::kClosed, "the store is closed");
      } else if (job.bytes > 0 && queued_bytes_ + job.bytes > options_.max_queued_bytes) {
        job.result = core::Fail(core::ErrorCode::kLimit, "too many changes wait for the disk");
        job.batch = {};
        job.bytes = 0;
      }
      if (!stopped_) {
        queued_bytes_ += job.bytes;
        queue_.push_back(std::move(job));
        wake_.notify_one();
        return;
      }
    }
    job.done(std::move(job.result));  // the writer thread is gone
  }

  void Run();
  std::vector<Job> Take();
  void CommitGroup(std::vector<Job>& group);
  core::Result<> Apply(std::span<const WriteBatch* const> batches);
  bool Grow();
  void SetHealth(const core::Result<>& result);
  void StartBackup(Job job);
  void StepBackup();
  void EndBackup(core::Result<> result);

  const LmdbOptions options_;
  Database database_;
  StoreCounters counters_;  // written by the writer thread

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::size_t queued_bytes_ = 0;
  bool closing_ = false;
  bool stopped_ = false;
  core::Result<> health_;

  // Of the writer thread.
  std::unique_ptr<RunningBackup> backup_;
  Done backup_done_;
  std::deque<Job> waiting_backups_;
  std::thread thread_;
};

void LmdbStore::Writer::Run() {
  pthread_setname_np(pthread_self(), "store");
  // Lowering one's own priority cannot fail.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), options_.nice);
  for (;;) {
    std::vector<Job> group = Take();
    if (!group.empty() && group.front().backup && group.front().result) {
      waiting_backups_.push_back(std::move(group.front()));
    } else if (!group.empty()) {
      CommitGroup(group);
    } else if (!backup_ && waiting_backups_.empty()) {
      const std::lock_guard lock(mutex_);
      if (closing_ && queue_.empty()) {
        stopped_ = true;
        return;
      }
    }
    if (backup_) {
      StepBackup();
    } else if (!waiting_backups_.empty()) {
      Job next = std::move(waiting_backups_.front());
      waiting_backups_.pop_front();
      StartBackup(std::move(next));
    }
  }
}

// The next group of batches, or one backup. Empty when there is something else to
// do: a slice of a backup, or stopping.
std::vector<LmdbStore::Writer::Job> LmdbStore::Writer::Take() {
  std::vector<Job> group;
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return !queue_.empty() || closing_; };
  while (!backup_ && waiting_backups_.empty() && !ready()) {
    if (health_) {
      wake_.wait(lock, ready);
    } else if (!wake_.wait_for(lock, kProbeInterval, ready)) {
      lock.unlock();
      auto usable = database_.broken() ? database_.Reopen() : core::Result<>{};
      SetHealth(usable ? database_.Probe() : usable);
      lock.lock();
    }
  }
  std::size_t bytes = 0;
  while (!queue_.empty() && group.size() < kMaxGroupBatches && bytes < kMaxGroupBytes) {
    const bool backup = static_cast<bool>(queue_.front().backup);
    if (backup && !group.empty()) break;
    bytes += queue_.front().bytes;
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
    if (backup) break;
  }
  queued_bytes_ -= bytes;
  return group;
}

void LmdbStore::Writer::CommitGroup(std::vector<Job>& group) {
  std::vector<const WriteBatch*> batches;
  for (Job& job : group) {
    if (job.result) job.result = Validate(job.batch, options_.schema_version);
    if (job.result) batches.push_back(&job.batch);
  }
  if (!batches.empty()) {
    auto result = Apply(batches);
    if (!result && batches.size() > 1) {
      // One batch may be to blame; the others must not suffer for it.
      for (Job& job : group) {
        if (!job.result) continue;
        const WriteBatch* alone[] = {&job.batch};
        job.result = result = Apply(alone);
      }
    } else {
      for (Job& job : group) {
        if (job.result) job.result = result;
      }
    }
    SetHealth(result);
  }
  for (Job& job : group) {
    (job.result ? counters_.batches : counters_.failed).Add();
    job.done(std::move(job.result));
  }
}

core::Result<> LmdbStore::Writer::Apply(std::span<const WriteBatch* const> batches) {
  bool reopened = false;
  for (;;) {
    if (database_.broken()) {
      reopened = true;
      EndBackup(core::Fail(core::ErrorCode::kUnavailable,
                           "the database had to be opened again: try the backup again"));
      counters_.reopens.Add();
      if (auto done = database_.Reopen(); !done) return done;
    }
    bool grow = false;
    auto result = database_.Apply(batches, grow);
    if (result) {
      counters_.commits.Add();
      return result;
    }
    if (grow) {
      // The map moves: a backup's snapshot must be gone before.
      while (backup_) StepBackup();
      if (auto grown = database_.Grow(); !grown) return grown;
      counters_.map_bytes.Set(static_cast<std::int64_t>(database_.map_bytes()));
      continue;
    }
    if (!database_.broken() || reopened) return result;
  }
}

void LmdbStore::Writer::SetHealth(const core::Result<>& result) {
  bool changed = false;
  {
    const std::lock_guard lock(mutex_);
    changed = health_.has_value() != result.has_value();
    health_ = result;
  }
  if (!changed) return;
  counters_.healthy.Set(result ? 1 : 0);
  if (result) {
    core::LogInfo("store", "the database can be written again");
  } else {
    core::LogError("store", "the database cannot be written", {{"error", result.error().message}});
  }
}

void LmdbStore::Writer::StartBackup(Job job) {
  auto backup = RunningBackup::Start(database_, options_.schema_version, std::move(job.backup));
  if (!backup) return job.done(core::Forward(backup));
  backup_ = std::move(*backup);
  backup_done_ = std::move(job.done);
}

void LmdbStore::Writer::StepBackup() {
  auto complete = backup_->Step();
  if (!complete) {
    EndBackup(core::Forward(complete));
  } else if (*complete) {
    EndBackup({});
  }
}

void LmdbStore::Writer::EndBackup(core::Result<> result) {
  if (!backup_) return;
  backup_.reset();
  std::exchange(backup_done_, {})(std::move(result));
}

LmdbStore::LmdbStore(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}

LmdbStore::~LmdbStore() = default;

core::Result<std::unique_ptr<LmdbStore>> LmdbStore::Open(LmdbOptions options) {
  const Database::Options database_options{
      options.path, std::min(options.initial_map_bytes, options.max_map_bytes),
      options.max_map_bytes};
  std::uint32_t schema = options.schema_version;
  if (FileExists(options.path)) {
    auto info = CheckDatabase(options.path, options.schema_version);
    if (!info) return core::Forward(info);
    schema = info->schema_version;
  } else {
    MetaRow meta;
    meta.schema_version = schema;
    meta.server_id = core::RandomText(32, core::kHexAlphabet);
    if (auto made = Database::Create(database_options, Encode(meta)); !made) {
      return core::Forward(made);
    }
  }
  auto database = Database::Open(database_options);
  if (!database) return core::Forward(database);
  if (schema < options.schema_version) {
    core::LogInfo("store", "bringing the database to a newer schema",
                  {{"from", schema}, {"to", options.schema_version}});
    auto migrated = database->Migrate(schema, options.schema_version, *options.migrations);
    if (!migrated) return core::Forward(migrated);
  }
  auto writer = std::make_unique<Writer>(std::move(options), std::move(*database));
  return std::unique_ptr<LmdbStore>(new LmdbStore(std::move(writer)));
}

core::Result<> LmdbStore::LoadAll(const Visitor& visit) {
  return writer_->database().Visit(visit);
}

void LmdbStore::Commit(WriteBatch batch, Done done) {
  writer_->Commit(std::move(batch), std::move(done));
}

void LmdbStore::Backup(ChunkSink write, Done done) {
  writer_->Backup(std::move(write), std::move(done));
}

core::Result<> LmdbStore::Health() const {
  return writer_->Health();
}

void LmdbStore::Close() {
  writer_->Close();
}

const StoreCounters& LmdbStore::counters() const {
  return writer_->counters();
}

}  // namespace ringscale::storage

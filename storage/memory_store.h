// A Store in memory, for tests: deterministic, single-threaded, with failures on
// demand. What is "on disk" is what batches that completed successfully wrote.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/base/result.h"
#include "storage/store.h"

namespace ringscale::storage {

class MemoryStore final : public Store {
 public:
  // kImmediate: Commit applies the batch and calls `done` before it returns
  // (the real store never does: use kManual where the order matters).
  // kManual: batches wait until CompleteNext, CompleteAll or FailNext.
  enum class Mode : std::uint8_t { kImmediate, kManual };
  using Records = std::map<std::pair<Table, std::string>, std::string>;

  // Starts with a fresh MetaRow, as a new database does.
  explicit MemoryStore(Mode mode = Mode::kImmediate);
  // Starts with what another store has committed: a restart.
  MemoryStore(Mode mode, Records records);

  core::Result<> LoadAll(const Visitor& visit) override;
  void Commit(WriteBatch batch, Done done) override;
  // The real dump format; completes at once in both modes.
  void Backup(ChunkSink write, Done done) override;
  [[nodiscard]] core::Result<> Health() const override { return health_; }
  // Completes everything pending.
  void Close() override;

  // Manual mode. Batches complete in order; false when none is pending. A `done`
  // may call Commit again.
  bool CompleteNext();
  bool FailNext(core::Error error);
  std::size_t CompleteAll();
  [[nodiscard]] std::size_t pending() const { return pending_.size(); }

  // The next `count` completions fail with `error` and store nothing.
  void FailCommits(std::size_t count, core::Error error);
  // A crash: everything pending is forgotten, no `done` is called any more.
  void DropPending() { pending_.clear(); }

  [[nodiscard]] const Records& records() const { return records_; }
  [[nodiscard]] std::optional<std::string> Get(Table table, std::string_view key) const;
  [[nodiscard]] std::size_t commits() const { return commits_; }  // successful ones

 private:
  struct Pending {
    WriteBatch batch;
    Done done;
  };
  void Finish(Pending pending, std::optional<core::Error> error);

  Mode mode_;
  Records records_;
  std::deque<Pending> pending_;
  core::Result<> health_;
  std::size_t failures_left_ = 0;
  core::Error failure_;
  std::size_t commits_ = 0;
  bool closed_ = false;
};

}  // namespace ringscale::storage

// The order of durable changes. A change is prepared when nothing that touches the
// same things is in flight any more, committed, applied, then answered. Changes
// that have nothing in common are in flight together, so they share commits.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/keyed_hash.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "core/engine/loop.h"
#include "storage/store.h"

namespace ringscale::control {

// What a change touches beside what it reserves by itself.
struct ChangeScope {
  bool everything = false;                          // alone: nothing else is in flight meanwhile
  std::optional<core::MachinePublic> machine = {};  // the nodes of one machine
  std::uint64_t pre_auth_key = 0;                   // this key's row
};

// Control thread only.
class ChangeQueue {
 public:
  using Task = std::move_only_function<void()>;
  struct Prepared {
    Task apply;  // the batch is on disk
    Task drop;   // it failed: give reservations back; may be empty
  };
  // Validates against the state as it is now and fills the batch. An error ends the
  // change: nothing may have been reserved then. An empty batch is applied at once.
  using Prepare = std::move_only_function<core::Result<Prepared>(storage::WriteBatch&)>;
  using Done = std::move_only_function<void(core::Result<>)>;

  ChangeQueue(core::engine::Loop& loop, storage::Store& store, std::size_t limit);
  // Changes in flight are forgotten unanswered.
  ~ChangeQueue();
  ChangeQueue(const ChangeQueue&) = delete;
  ChangeQueue& operator=(const ChangeQueue&) = delete;

  // `done` runs last, on this thread, perhaps before Submit returns.
  void Submit(const ChangeScope& scope, Prepare prepare, Done done);
  // Runs the task as soon as no change is queued or in flight.
  void WhenIdle(Task task);
  // Whether a change of this machine's nodes is queued or in flight.
  [[nodiscard]] bool Busy(const core::MachinePublic& machine) const;
  [[nodiscard]] std::size_t size() const { return changes_.size(); }

 private:
  struct Change {
    std::uint64_t id = 0;
    bool everything = false;
    std::vector<std::string> locks;  // to be held, taken in this order
    std::size_t held = 0;
    Prepare prepare;
    Done done;
    Prepared prepared;
  };
  struct Inbox;

  void Admit(Change& change);
  void TakeLocks(Change& change);
  void ReleaseLocks(Change& change);
  void Pump();
  void Start(Change& change);
  void Finish(Change& change, core::Result<> result);
  void Collect();
  void ArmCollect();

  core::engine::Loop& loop_;
  storage::Store& store_;
  std::size_t limit_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Change>> changes_;
  // The first of each queue holds the lock.
  std::unordered_map<std::string, std::deque<Change*>, core::KeyedHasher> locks_;
  std::deque<Change*> gate_;  // those behind one that wants everything, itself included
  std::size_t admitted_ = 0;
  bool exclusive_ = false;  // one that wants everything is in flight
  std::deque<Change*> ready_;
  bool pumping_ = false;
  std::vector<Task> when_idle_;
  std::shared_ptr<Inbox> inbox_;
  core::engine::TimerId collect_timer_;
};

}  // namespace ringscale::control

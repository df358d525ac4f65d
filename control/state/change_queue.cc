#include "control/state/change_queue.h"

#include <mutex>
#include <utility>

namespace ringscale::control {
namespace {

// How long an outcome can lie unseen when the loop's queue had no room for the
// task that collects it.
constexpr core::Duration kCollectInterval = core::Millis(500);

}  // namespace

// Outcomes on their way from the writer thread. Outlives the queue when the store
// is slower than the shutdown.
struct ChangeQueue::Inbox {
  std::mutex mutex;
  std::vector<std::pair<std::uint64_t, core::Result<>>> outcomes;  // guarded by mutex
  bool posted = false;                                             // guarded by mutex
  ChangeQueue* queue = nullptr;                                    // control thread only
};

ChangeQueue::ChangeQueue(core::engine::Loop& loop, storage::Store& store, std::size_t limit)
    : loop_(loop), store_(store), limit_(limit), inbox_(std::make_shared<Inbox>()) {
  inbox_->queue = this;
}

ChangeQueue::~ChangeQueue() {
  inbox_->queue = nullptr;
  if (collect_timer_.value != 0) loop_.CancelTimer(collect_timer_);
}

void ChangeQueue::Submit(const ChangeScope& scope, Prepare prepare, Done done) {
  if (changes_.size() >= limit_) {
    done(core::Fail(core::ErrorCode::kUnavailable,
                    "too many changes are waiting for the disk, try again later"));
    return;
  }
  auto owned = std::make_unique<Change>();
  Change& change = *owned;
  change.id = next_id_++;
  change.everything = scope.everything;
  // Always in this order, so that two changes never wait for each other.
  if (scope.pre_auth_key != 0) change.locks.push_back("k" + std::to_string(scope.pre_auth_key));
  if (scope.machine) {
    change.locks.push_back("m" + std::string(core::AsText(core::Bytes(scope.machine->raw))));
  }
  change.prepare = std::move(prepare);
  change.done = std::move(done);
  changes_.emplace(change.id, std::move(owned));
  if (exclusive_ || !gate_.empty() || (change.everything && admitted_ > 0)) {
    gate_.push_back(&change);
  } else {
    Admit(change);
  }
  Pump();
}

void ChangeQueue::WhenIdle(Task task) {
  if (changes_.empty()) {
    task();
  } else {
    when_idle_.push_back(std::move(task));
  }
}

bool ChangeQueue::Busy(const core::MachinePublic& machine) const {
  if (exclusive_) return true;
  return locks_.contains("m" + std::string(core::AsText(core::Bytes(machine.raw))));
}

void ChangeQueue::Admit(Change& change) {
  if (change.everything) {
    exclusive_ = true;
    ready_.push_back(&change);
    return;
  }
  ++admitted_;
  TakeLocks(change);
}

void ChangeQueue::TakeLocks(Change& change) {
  while (change.held < change.locks.size()) {
    auto& queue = locks_[change.locks[change.held]];
    if (queue.empty() || queue.front() != &change) queue.push_back(&change);
    if (queue.front() != &change) return;  // goes on when its turn comes
    ++change.held;
  }
  ready_.push_back(&change);
}

void ChangeQueue::ReleaseLocks(Change& change) {
  for (const std::string& lock : change.locks) {
    const auto it = locks_.find(lock);
    it->second.pop_front();
    if (it->second.empty()) {
      locks_.erase(it);
    } else {
      TakeLocks(*it->second.front());
    }
  }
  if (change.everything) {
    exclusive_ = false;
  } else {
    --admitted_;
  }
  while (!gate_.empty() && !exclusive_) {
    Change& next = *gate_.front();
    if (next.everything && admitted_ > 0) return;
    gate_.pop_front();
    Admit(next);
  }
}

void ChangeQueue::Pump() {
  // Changes without anything to write finish within Start and make others ready:
  // a loop instead of a recursion as deep as the queue.
  if (pumping_) return;
  pumping_ = true;
  while (!ready_.empty()) {
    Change& change = *ready_.front();
    ready_.pop_front();
    Start(change);
  }
  pumping_ = false;
  if (!changes_.empty()) return;
  for (Task& task : std::exchange(when_idle_, {})) task();
}

void ChangeQueue::Start(Change& change) {
  storage::WriteBatch batch;
  auto prepared = change.prepare(batch);
  if (!prepared) {
    Finish(change, core::Forward(prepared));
    return;
  }
  change.prepared = std::move(*prepared);
  if (batch.empty()) {
    change.prepared.apply();
    Finish(change, {});
    return;
  }
  ArmCollect();
  store_.Commit(std::move(batch),
                [inbox = inbox_, &loop = loop_, id = change.id](core::Result<> outcome) {
                  const std::lock_guard lock(inbox->mutex);
                  inbox->outcomes.emplace_back(id, std::move(outcome));
                  if (inbox->posted) return;
                  inbox->posted = loop.Post([inbox] {
                    if (inbox->queue != nullptr) inbox->queue->Collect();
                  });
                });
}

void ChangeQueue::Collect() {
  std::vector<std::pair<std::uint64_t, core::Result<>>> outcomes;
  {
    const std::lock_guard lock(inbox_->mutex);
    outcomes.swap(inbox_->outcomes);
    inbox_->posted = false;
  }
  // What becomes ready meanwhile is started after all of them are applied: then it
  // goes into one commit.
  const bool nested = std::exchange(pumping_, true);
  for (auto& [id, outcome] : outcomes) {
    Change& change = *changes_.at(id);
    if (outcome) {
      change.prepared.apply();
    } else if (change.prepared.drop) {
      change.prepared.drop();
    }
    Finish(change, std::move(outcome));
  }
  pumping_ = nested;
  Pump();
}

void ChangeQueue::Finish(Change& change, core::Result<> result) {
  ReleaseLocks(change);
  const auto node = changes_.extract(change.id);
  change.done(std::move(result));
}

void ChangeQueue::ArmCollect() {
  if (collect_timer_.value != 0) return;
  collect_timer_ = loop_.After(kCollectInterval, [this] {
    collect_timer_ = {};
    Collect();
    if (!changes_.empty()) ArmCollect();
  });
}

}  // namespace ringscale::control

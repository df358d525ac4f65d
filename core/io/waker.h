// Waking a ring's thread from another thread: at most one signal per batch, and
// none while the target is awake.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace ringscale::core::io {

// The half that both sides share. Rings (and the simulation) derive from it and
// say how a sleeping thread is signalled.
class WakeTarget {
 public:
  WakeTarget() = default;
  WakeTarget(const WakeTarget&) = delete;
  WakeTarget& operator=(const WakeTarget&) = delete;
  virtual ~WakeTarget() = default;

  // Any thread. What the caller wrote before is visible to the target's thread
  // once Awake() or PrepareSleep() has told it about the wake.
  void Wake() {
    if (state_.exchange(State::kNotified, std::memory_order_seq_cst) == State::kSleeping) Signal();
  }

  // Target's thread, before it blocks. False when a wake came since the last
  // Awake(): do not block then.
  [[nodiscard]] bool PrepareSleep() {
    State expected = State::kAwake;
    return state_.compare_exchange_strong(expected, State::kSleeping, std::memory_order_seq_cst);
  }
  // Target's thread, after it blocked or instead of it. True when a wake came.
  [[nodiscard]] bool Awake() {
    if (state_.load(std::memory_order_relaxed) == State::kAwake) return false;
    return state_.exchange(State::kAwake, std::memory_order_seq_cst) == State::kNotified;
  }

 protected:
  // Called by the waking thread when the target sleeps.
  virtual void Signal() = 0;

 private:
  enum class State : std::uint32_t { kAwake, kSleeping, kNotified };
  std::atomic<State> state_{State::kAwake};
};

// A copyable handle, usable from any thread, also after its ring is gone.
class Waker {
 public:
  Waker() = default;
  explicit Waker(std::shared_ptr<WakeTarget> target) : target_(std::move(target)) {}

  // Makes the target's Turn return soon with a `wake` completion.
  void Wake() const {
    if (target_) target_->Wake();
  }
  [[nodiscard]] bool valid() const { return target_ != nullptr; }

 private:
  std::shared_ptr<WakeTarget> target_;
};

}  // namespace ringscale::core::io

// Timers of one thread: start, cancel and expire in constant time, no allocation.
// A hierarchical wheel whose slots are lists of nodes that live in their owners.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/base/time.h"

namespace ringscale::core::engine {

// One timer. Lives in its owner, which must not move or end while it is armed.
// The destructor does not cancel: the owner does.
class TimerNode {
 public:
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  [[nodiscard]] bool armed() const { return next_ != nullptr; }

 private:
  friend class TimerWheel;
  TimerNode* prev_ = nullptr;
  TimerNode* next_ = nullptr;
  std::uint64_t tick_ = 0;
  std::uint64_t sequence_ = 0;
};

class TimerWheel {
 public:
  // Deadlines are rounded up to this: a timer never expires early, and up to one
  // tick (plus the turn that notices) late.
  static constexpr int kTickShift = 20;
  static constexpr Duration kTick = Nanos(std::int64_t{1} << kTickShift);

  explicit TimerWheel(Instant now);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // (Re)arms. A deadline that has passed expires with the next tick.
  void Start(TimerNode& node, Instant deadline);
  // Nothing happens when it is not armed.
  void Cancel(TimerNode& node);

  // Calls fire(TimerNode&) for every timer that is due at `now`, by deadline tick
  // and, within one tick, in the order of Start. The callback may start and cancel
  // any timer. Returns how many expired.
  template <class Fire>
  std::size_t AdvanceTo(Instant now, Fire&& fire) {
    std::size_t count = 0;
    const std::uint64_t target = FloorTick(now);
    while (TakeDue(target)) {
      while (TimerNode* const node = PopDue()) {
        ++count;
        fire(*node);
      }
    }
    return count;
  }

  // When AdvanceTo should be called next: not later than the earliest deadline,
  // possibly earlier (a far slot has to be spread over nearer ones then). nullopt
  // when nothing is armed.
  [[nodiscard]] std::optional<Instant> NextDeadline() const;

  [[nodiscard]] std::size_t armed_count() const { return armed_count_; }

 private:
  static constexpr int kLevelBits = 6;
  static constexpr std::size_t kSlots = std::size_t{1} << kLevelBits;
  static constexpr std::size_t kLevels = 8;  // 48 bits of ticks: all an Instant can hold

  struct Level {
    std::uint64_t occupied = 0;  // one bit per slot
    std::array<TimerNode, kSlots> heads;
  };
  struct Expiration {
    std::size_t level = 0;
    std::size_t slot = 0;
    std::uint64_t tick = 0;
  };

  static std::uint64_t FloorTick(Instant time) {
    return static_cast<std::uint64_t>(time.ns < 0 ? 0 : time.ns) >> kTickShift;
  }
  static void Unlink(TimerNode& node);
  static void LinkBefore(TimerNode& head, TimerNode& node);
  static void SortBySequence(TimerNode& head);
  void Insert(TimerNode& node);
  // Moves time forward to the next slot with timers that is due, spreading far
  // slots; true when due_ holds timers of one tick.
  bool TakeDue(std::uint64_t target);
  TimerNode* PopDue();
  [[nodiscard]] std::optional<Expiration> NextExpiration() const;

  std::uint64_t now_tick_;
  std::uint64_t next_sequence_ = 0;
  std::size_t armed_count_ = 0;
  TimerNode due_;  // list head
  std::array<Level, kLevels> levels_;
};

}  // namespace ringscale::core::engine

#include "core/engine/timer_wheel.h"

#include <algorithm>

namespace ringscale::core::engine {

// A timer lies on the level of the highest bit group in which its tick differs
// from the present one. So all timers of a level come before all of the next one,
// no slot index ever wraps, and the first occupied slot of the lowest occupied
// level is the next thing to do.

TimerWheel::TimerWheel(Instant now) : now_tick_(FloorTick(now)) {
  due_.prev_ = due_.next_ = &due_;
  for (Level& level : levels_) {
    for (TimerNode& head : level.heads) head.prev_ = head.next_ = &head;
  }
}

void TimerWheel::Unlink(TimerNode& node) {
  node.prev_->next_ = node.next_;
  node.next_->prev_ = node.prev_;
  node.prev_ = node.next_ = nullptr;
}

void TimerWheel::LinkBefore(TimerNode& head, TimerNode& node) {
  node.prev_ = head.prev_;
  node.next_ = &head;
  head.prev_->next_ = &node;
  head.prev_ = &node;
}

void TimerWheel::Insert(TimerNode& node) {
  const std::uint64_t difference = node.tick_ ^ now_tick_;
  const int highest_bit = difference == 0 ? 0 : 63 - std::countl_zero(difference);
  const auto level = static_cast<std::size_t>(highest_bit / kLevelBits);
  const std::size_t slot = node.tick_ >> (level * kLevelBits) & (kSlots - 1);
  LinkBefore(levels_[level].heads[slot], node);
  levels_[level].occupied |= std::uint64_t{1} << slot;
}

void TimerWheel::Start(TimerNode& node, Instant deadline) {
  Cancel(node);
  const std::uint64_t floor = FloorTick(deadline);
  const bool exact =
      floor << kTickShift == static_cast<std::uint64_t>(std::max<std::int64_t>(deadline.ns, 0));
  node.tick_ = std::max(exact ? floor : floor + 1, now_tick_ + 1);
  node.sequence_ = next_sequence_++;
  Insert(node);
  ++armed_count_;
}

// Leaves the slot's bit set: an empty slot costs one look when its time comes.
void TimerWheel::Cancel(TimerNode& node) {
  if (!node.armed()) return;
  Unlink(node);
  --armed_count_;
}

std::optional<TimerWheel::Expiration> TimerWheel::NextExpiration() const {
  for (std::size_t index = 0; index < kLevels; ++index) {
    const Level& level = levels_[index];
    if (level.occupied == 0) continue;
    const std::size_t shift = index * kLevelBits;
    const auto slot = static_cast<std::size_t>(std::countr_zero(level.occupied));
    const std::uint64_t block = now_tick_ >> (shift + kLevelBits) << (shift + kLevelBits);
    return Expiration{index, slot, block + (std::uint64_t{slot} << shift)};
  }
  return std::nullopt;
}

std::optional<Instant> TimerWheel::NextDeadline() const {
  if (armed_count_ == 0) return std::nullopt;
  const auto next = NextExpiration();
  return Instant{static_cast<std::int64_t>(next->tick << kTickShift)};
}

bool TimerWheel::TakeDue(std::uint64_t target) {
  while (const auto next = NextExpiration()) {
    if (next->tick > target) break;
    now_tick_ = std::max(now_tick_, next->tick);
    Level& level = levels_[next->level];
    level.occupied &= ~(std::uint64_t{1} << next->slot);
    TimerNode& head = level.heads[next->slot];
    if (head.next_ == &head) continue;
    if (next->level == 0) {
      SortBySequence(head);
      // The whole list moves behind due_, which is empty.
      due_.next_ = head.next_;
      due_.prev_ = head.prev_;
      due_.next_->prev_ = &due_;
      due_.prev_->next_ = &due_;
      head.prev_ = head.next_ = &head;
      return true;
    }
    while (head.next_ != &head) {
      TimerNode& node = *head.next_;
      Unlink(node);
      Insert(node);
    }
  }
  now_tick_ = std::max(now_tick_, target);
  return false;
}

TimerNode* TimerWheel::PopDue() {
  if (due_.next_ == &due_) return nullptr;
  TimerNode* const node = due_.next_;
  Unlink(*node);
  --armed_count_;
  return node;
}

// Timers that came down from a farther level stand behind later ones that were
// started close by. A merge sort over the list; nearly always it is sorted.
void TimerWheel::SortBySequence(TimerNode& head) {
  const auto is_sorted = [&head] {
    for (TimerNode* node = head.next_; node->next_ != &head; node = node->next_) {
      if (node->next_->sequence_ < node->sequence_) return false;
    }
    return true;
  };
  if (is_sorted()) return;
  // Bottom-up, with runs of doubling length in a singly linked list.
  head.prev_->next_ = nullptr;
  TimerNode* list = head.next_;
  for (std::size_t run = 1;; run *= 2) {
    TimerNode* rest = list;
    TimerNode* first = nullptr;
    TimerNode* last = nullptr;
    std::size_t merges = 0;
    while (rest != nullptr) {
      ++merges;
      TimerNode* left = rest;
      std::size_t left_count = 0;
      while (left_count < run && rest != nullptr) {
        ++left_count;
        rest = rest->next_;
      }
      std::size_t right_count = run;
      while (left_count > 0 || (right_count > 0 && rest != nullptr)) {
        const bool take_left = left_count > 0 && (right_count == 0 || rest == nullptr ||
                                                  left->sequence_ < rest->sequence_);
        TimerNode*& source = take_left ? left : rest;
        --(take_left ? left_count : right_count);
        TimerNode* const node = source;
        source = source->next_;
        (last == nullptr ? first : last->next_) = node;
        last = node;
      }
    }
    last->next_ = nullptr;
    list = first;
    if (merges <= 1) break;
  }
  head.prev_ = head.next_ = &head;
  while (list != nullptr) {
    TimerNode* const node = std::exchange(list, list->next_);
    LinkBefore(head, *node);
  }
}

}  // namespace ringscale::core::engine

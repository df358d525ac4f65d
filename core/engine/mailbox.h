// A bounded queue from one thread to one other, without locks: how relay shards
// talk. Messages are made visible in batches, and a batch wakes the reader at
// most once. A full mailbox is a visible result with a policy at the caller,
// never a wait.
#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <memory>
#include <utility>

#include "core/io/waker.h"

namespace ringscale::core::engine {

// Msg: default-constructible and movable. All memory is taken at construction.
template <class Msg>
class Mailbox {
 public:
  // `capacity`: a power of two.
  explicit Mailbox(std::size_t capacity)
      : mask_(capacity - 1), slots_(std::make_unique<Msg[]>(capacity)) {
    assert(std::has_single_bit(capacity));
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  [[nodiscard]] std::size_t capacity() const { return mask_ + 1; }

  // --- writing thread ---

  // Whom Publish wakes. Before the first Publish.
  void SetReader(io::Waker reader) { reader_ = std::move(reader); }

  // False when full; `message` is untouched then. The reader sees it after the
  // next Publish.
  [[nodiscard]] bool TryPush(Msg&& message) {
    if (tail_ - head_seen_ > mask_) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail_ - head_seen_ > mask_) return false;
    }
    slots_[tail_ & mask_] = std::move(message);
    ++tail_;
    return true;
  }

  // Shows the reader everything pushed since the last call, and wakes it if there
  // was anything.
  void Publish() {
    if (published_.load(std::memory_order_relaxed) == tail_) return;
    published_.store(tail_, std::memory_order_release);
    reader_.Wake();
  }

  // --- reading thread ---

  // Calls use(Msg&&) for up to `limit` messages, oldest first; returns how many.
  // The places are given back in one step at the end.
  template <class Use>
  std::size_t Drain(std::size_t limit, Use&& use) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t waiting = published_.load(std::memory_order_acquire) - head;
    const std::size_t count = waiting < limit ? waiting : limit;
    if (count == 0) return 0;
    for (std::size_t i = 0; i < count; ++i) use(std::move(slots_[(head + i) & mask_]));
    head_.store(head + count, std::memory_order_release);
    return count;
  }

  // True when Drain would find something: after a Drain that hit its limit, the
  // reader must not sleep.
  [[nodiscard]] bool HasMail() const {
    return published_.load(std::memory_order_acquire) != head_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::size_t kCacheLine = 64;

  const std::size_t mask_;
  const std::unique_ptr<Msg[]> slots_;
  // Written by the writer.
  alignas(kCacheLine) std::size_t tail_ = 0;
  std::size_t head_seen_ = 0;
  io::Waker reader_;
  alignas(kCacheLine) std::atomic<std::size_t> published_{0};
  // Written by the reader.
  alignas(kCacheLine) std::atomic<std::size_t> head_{0};
};

}  // namespace ringscale::core::engine

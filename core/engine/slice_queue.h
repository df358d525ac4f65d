// What a stream has still to send. Most streams of thousands hold one small message
// now and then: that one needs no memory of its own.
#pragma once

#include <cstddef>
#include <utility>

#include "core/base/slices.h"

namespace ringscale::core::engine {

class SliceQueue {
 public:
  [[nodiscard]] std::size_t size() const { return (has_first_ ? 1 : 0) + rest_.size() - head_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] const SharedSlice& operator[](std::size_t i) const {
    if (!has_first_) return rest_[head_ + i];
    return i == 0 ? first_ : rest_[head_ + i - 1];
  }

  void Push(SharedSlice slice) {
    if (empty()) {
      first_ = std::move(slice);
      has_first_ = true;
    } else {
      rest_.push_back(std::move(slice));
    }
  }

  // The first `count`; lets go of what they own.
  void Drop(std::size_t count) {
    if (count > 0 && has_first_) {
      first_ = {};
      has_first_ = false;
      --count;
    }
    for (; count > 0; --count) rest_[head_++] = {};
    if (head_ == rest_.size()) {
      // A queue that grew gives its memory back.
      if (rest_.capacity() > kKept) SliceList().swap(rest_);
      rest_.clear();
      head_ = 0;
    } else if (head_ >= kShiftAt && head_ * 2 >= rest_.size()) {
      rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }

 private:
  static constexpr std::size_t kKept = 8;
  static constexpr std::size_t kShiftAt = 1024;

  SharedSlice first_;  // when has_first_; the queue was empty when it came
  bool has_first_ = false;
  SliceList rest_;
  std::size_t head_ = 0;  // of rest_
};

}  // namespace ringscale::core::engine

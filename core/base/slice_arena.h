// Memory for many small outputs that are made in a row and soon sent: without an
// allocation for each, and in the same lines of the cache every time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/slices.h"

namespace ringscale::core {

// One thread. A slice keeps its whole block (kBlock bytes) alive: for outputs that do
// not wait long.
class SliceArena {
 public:
  static constexpr std::size_t kBlock = 16 << 10;

  // A text with room for `size` more bytes (at most kBlock) to append.
  std::string& Room(std::size_t size) {
    // Nobody has a slice of it any more.
    if (block_ != nullptr && block_.use_count() == 1) block_->clear();
    if (block_ == nullptr || block_->capacity() - block_->size() < size) {
      block_ = std::make_shared<std::string>();
      block_->reserve(kBlock);
    }
    begin_ = block_->size();
    return *block_;
  }
  // What was appended since Room.
  [[nodiscard]] SharedSlice Take() const {
    return {block_, std::string_view(*block_).substr(begin_)};
  }

 private:
  std::shared_ptr<std::string> block_;
  std::size_t begin_ = 0;
};

}  // namespace ringscale::core

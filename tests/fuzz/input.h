// An input that is read byte by byte and piece by piece, so that a seed in the corpus
// can be written by hand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"

namespace ringscale::fuzz {

class Input {
 public:
  explicit Input(core::Bytes bytes) : rest_(bytes) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  // 0 behind the end.
  std::uint8_t Byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t byte = rest_[0];
    rest_ = rest_.subspan(1);
    return byte;
  }
  // Fewer than `size` at the end.
  core::Bytes Take(std::size_t size) {
    const core::Bytes taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  core::Bytes rest_;
};

}  // namespace ringscale::fuzz

// The receive buffers of one ring: equal pieces of one mapping, and which of
// them the owner holds at the moment.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/result.h"

namespace ringscale::core::io {

class BufferMemory {
 public:
  // `count`: a power of two up to 32768.
  static Result<BufferMemory> Create(std::uint32_t count, std::uint32_t size);
  BufferMemory(BufferMemory&& other) noexcept;
  BufferMemory& operator=(BufferMemory&&) = delete;
  BufferMemory(const BufferMemory&) = delete;
  BufferMemory& operator=(const BufferMemory&) = delete;
  ~BufferMemory();

  [[nodiscard]] std::uint8_t* Data(std::uint16_t id) const {
    return memory_ + static_cast<std::size_t>(id) * size_;
  }
  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(held_.size()); }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t free() const { return free_; }

  // The kernel filled buffer `id`: the owner holds it now. Giving back what is
  // not held would corrupt somebody's bytes, so that stops the process.
  void Hold(std::uint16_t id) {
    assert(id < held_.size() && held_[id] == 0);
    held_[id] = 1;
    --free_;
  }
  void Release(std::uint16_t id) {
    assert(id < held_.size() && held_[id] == 1);
    held_[id] = 0;
    ++free_;
  }

 private:
  BufferMemory(std::uint8_t* memory, std::uint32_t count, std::uint32_t size)
      : memory_(memory), size_(size), free_(count), held_(count, 0) {}

  std::uint8_t* memory_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t free_ = 0;
  std::vector<std::uint8_t> held_;
};

}  // namespace ringscale::core::io

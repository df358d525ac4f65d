// Gives free memory back to the kernel when a storm of connections has ended:
// handshakes leave holes between what stays that the allocator would keep for good
// (some 8 to 19 kB a connection). One per front, on its thread.
#pragma once

#include <cstddef>
#include <functional>

#include "core/base/time.h"
#include "core/engine/loop.h"

namespace ringscale::serverd {

class HeapTrim {
 public:
  struct Limits {
    std::size_t storm = 512;  // connections that are worth a trim
    // A storm has ended when fewer than an eighth of that came for so long.
    core::Duration quiet = core::Seconds(2);
  };
  // `loop` must outlive it. `trim` is what it does then.
  HeapTrim(core::engine::Loop& loop, const Limits& limits, std::function<void()> trim);
  ~HeapTrim();
  HeapTrim(const HeapTrim&) = delete;
  HeapTrim& operator=(const HeapTrim&) = delete;

  // A connection has been handed over or has ended.
  void Count();

 private:
  void Arm();

  core::engine::Loop& loop_;
  const Limits limits_;
  const std::function<void()> trim_;
  std::size_t count_ = 0;  // since the last trim
  std::size_t seen_ = 0;   // of those, when the timer was started
  bool armed_ = false;
  core::engine::TimerId timer_;
};

// The C library's: all threads' free memory. Takes milliseconds where much is free.
void TrimHeap();

}  // namespace ringscale::serverd

// A thread that runs one Loop.
#pragma once

#include <memory>
#include <optional>

#include "core/base/result.h"
#include "core/engine/loop.h"

namespace ringscale::core::engine {

struct LoopThreadOptions {
  LoopOptions loop;  // loop.name is the thread's name too
  int nice = 0;
  std::optional<int> core;  // pinned to it
};

class LoopThread {
 public:
  // Starts the thread and creates the loop on it; returns when both are there.
  static Result<std::unique_ptr<LoopThread>> Start(LoopThreadOptions options);
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  // Stops and joins.
  ~LoopThread();

  // Lives as long as this object: after Join() its Post returns false and all else
  // does nothing, so threads that post to each other may end in any order. From
  // other threads only Post and Stop.
  [[nodiscard]] Loop& loop() const;

  // Ends Run() after the current turn; from any thread.
  void Stop();
  // Stops, closes everything that the loop has, and waits for the thread. Not on
  // the thread itself; once or more.
  void Join();

 private:
  struct Shared;
  explicit LoopThread(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace ringscale::core::engine

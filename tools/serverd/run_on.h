// Work on another thread's loop, waited for.
#pragma once

#include <functional>
#include <future>
#include <utility>

#include "core/base/result.h"
#include "core/engine/loop.h"

namespace ringscale::serverd {

// Runs `work` on the loop's thread and waits for it; kUnavailable when that has ended.
template <class T>
core::Result<T> RunOn(core::engine::Loop& loop, std::move_only_function<core::Result<T>()> work) {
  std::promise<core::Result<T>> promise;
  auto result = promise.get_future();
  if (!loop.Post([&] { promise.set_value(work()); })) {
    return core::Fail(core::ErrorCode::kUnavailable, "the thread has ended");
  }
  return result.get();
}

// The same; nothing happens when the thread has ended.
inline void RunOn(core::engine::Loop& loop, std::move_only_function<void()> work) {
  std::promise<void> promise;
  if (loop.Post([&] {
        work();
        promise.set_value();
      })) {
    promise.get_future().wait();
  }
}

}  // namespace ringscale::serverd

// Signals as calls.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/base/result.h"

namespace ringscale::core::engine {

// Ignores SIGPIPE for the process: broken connections are seen by their errors.
void IgnoreBrokenPipes();

class SignalWatcher {
 public:
  using Callback = std::move_only_function<void(int signal)>;

  // Blocks `signals` on the calling thread, so it has to come before any other
  // thread is started (threads inherit the mask), and starts a thread that calls
  // `callback` for each signal that arrives; the callback usually posts to a loop.
  // The signals stay blocked for good: one that comes during a long shutdown does
  // not kill the process half-way.
  static Result<std::unique_ptr<SignalWatcher>> Start(const std::vector<int>& signals,
                                                      Callback callback);
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;
  // Waits for a callback that is running. Not inside the callback.
  ~SignalWatcher();

 private:
  struct Shared;
  explicit SignalWatcher(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace ringscale::core::engine

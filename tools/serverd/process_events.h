// What a server process waits for while its threads work: signals, and requests to
// stop that come from elsewhere. Signals are blocked in every thread (the caller
// blocked them before the first one started).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "core/base/result.h"
#include "core/engine/signals.h"

namespace ringscale::serverd {

class ProcessEvents {
 public:
  // Catches SIGTERM, SIGINT (stop) and SIGHUP (reload) from now on.
  core::Result<> Start();
  // From any thread: Wait returns.
  void RequestStop() { Push(Event::kStop); }
  // Runs `reload` for every SIGHUP until the process shall stop.
  void Wait(const std::function<void()>& reload);
  // No signal is caught any more.
  void End() { signals_.reset(); }

 private:
  enum class Event : unsigned char { kStop, kReload };
  void Push(Event event);

  std::unique_ptr<core::engine::SignalWatcher> signals_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Event> events_;
};

// What every server process does first: no SIGPIPE, as many descriptors as allowed
// (too few is a warning of `component`), no core dumps unless `core_dumps`.
core::Result<> PrepareProcess(const char* component, bool core_dumps);

}  // namespace ringscale::serverd

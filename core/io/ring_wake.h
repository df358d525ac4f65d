// How the two real rings are woken: an eventfd that the sleeping thread watches,
// or a message from the waker's own io_uring.
#pragma once

#include <atomic>
#include <memory>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/io/waker.h"

namespace ringscale::core::io {

class UringRing;

class RingWakeTarget : public WakeTarget, public std::enable_shared_from_this<RingWakeTarget> {
 public:
  static Result<std::shared_ptr<RingWakeTarget>> Create();

  [[nodiscard]] int event_fd() const { return event_fd_.get(); }
  void WriteEvent();

  // The target's io_uring descriptor, -1 for an epoll ring and when it is gone.
  std::atomic<int> ring_fd{-1};

 protected:
  void Signal() override;

 private:
  explicit RingWakeTarget(Fd event_fd) : event_fd_(std::move(event_fd)) {}

  // Nobody reads the counter: watchers are told about every write, and 2^64
  // writes do not happen.
  Fd event_fd_;
};

// The io_uring through which this thread sends its wakes; null: none, write to
// the eventfd.
UringRing* ThreadWakeRing();
void SetThreadWakeRing(UringRing* ring);

}  // namespace ringscale::core::io

#include "core/io/ring_wake.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "core/io/uring_ring.h"

namespace ringscale::core::io {
namespace {

thread_local UringRing* thread_wake_ring = nullptr;

}  // namespace

UringRing* ThreadWakeRing() {
  return thread_wake_ring;
}
void SetThreadWakeRing(UringRing* ring) {
  thread_wake_ring = ring;
}

Result<std::shared_ptr<RingWakeTarget>> RingWakeTarget::Create() {
  Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return FailErrno("eventfd", errno);
  return std::shared_ptr<RingWakeTarget>(new RingWakeTarget(std::move(fd)));
}

void RingWakeTarget::WriteEvent() {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the target has been told.
  while (::write(event_fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void RingWakeTarget::Signal() {
  UringRing* const sender = thread_wake_ring;
  if (sender != nullptr && ring_fd.load(std::memory_order_relaxed) >= 0) {
    sender->QueueWake(shared_from_this());
  } else {
    WriteEvent();
  }
}

}  // namespace ringscale::core::io

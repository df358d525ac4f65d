// The ring concept over io_uring (kernel 6.1 or newer). See core/io/ring.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/io/buffer_memory.h"
#include "core/io/ring.h"
#include "core/io/ring_wake.h"
#include "core/io/waker.h"

struct io_uring_sqe;

namespace ringscale::core::io {

class UringRing {
 public:
  // On the thread that will use it.
  static Result<std::unique_ptr<UringRing>> Create(const RingOptions& options);
  UringRing(const UringRing&) = delete;
  UringRing& operator=(const UringRing&) = delete;
  ~UringRing();

  void AcceptMultishot(int fd, Token token);
  void ReceiveMultishot(int fd, Token token);
  void ReceiveOnce(int fd, Token token);
  void ReceiveMessageMultishot(int fd, msghdr* message, Token token);
  void Send(int fd, const iovec* iov, unsigned count, Token token);
  void SendMessage(int fd, msghdr* message, Token token);
  void CancelFd(int fd);

  [[nodiscard]] std::uint8_t* BufferData(std::uint16_t id) const { return buffers_.Data(id); }
  void ReturnBuffer(std::uint16_t id);
  [[nodiscard]] std::uint32_t FreeBuffers() const { return buffers_.free(); }
  [[nodiscard]] std::uint32_t buffer_size() const { return buffers_.size(); }

  std::size_t Turn(std::span<Completion> out, Duration wait, Duration gather = {});

  [[nodiscard]] Waker waker() const { return Waker(wake_); }

  // Called by ring_wake on this ring's thread: signals `target` with the next Turn.
  void QueueWake(std::shared_ptr<RingWakeTarget> target);

 private:
  struct Kernel;  // liburing's objects

  UringRing(std::unique_ptr<Kernel> kernel, BufferMemory buffers,
            std::shared_ptr<RingWakeTarget> wake);

  io_uring_sqe* NextSubmission();
  void OfferBuffer(std::uint16_t id);
  void PublishBuffers();
  void WatchEvent();
  // A completion will come `wait` from now, or somewhat earlier.
  void ArmTimer(Duration wait);
  // False when the completion is the ring's own business.
  bool Translate(std::uint64_t user_data, std::int32_t result, std::uint32_t flags,
                 Completion& out);
  void OnOwnCompletion(Token token, std::int32_t result, bool more);

  std::unique_ptr<Kernel> kernel_;
  BufferMemory buffers_;
  std::shared_ptr<RingWakeTarget> wake_;
  static constexpr Instant kNoTimer{INT64_MAX};
  Instant timer_at_ = kNoTimer;    // when the timer set last rings
  std::uint32_t unpublished_ = 0;  // buffers added to the ring but not shown to the kernel yet
  // Whom this ring sent messages to; the slot of the message's token is the index.
  std::vector<std::shared_ptr<RingWakeTarget>> message_targets_;
};

static_assert(RingLike<UringRing>);

}  // namespace ringscale::core::io

// The ring concept: what a shard asks of the operating system. Three
// implementations: UringRing (io_uring, kernel 6.1 or newer), EpollRing (where
// io_uring is refused) and the simulation's SimRing.
//
// A ring belongs to the thread that created it. Operations are started by the
// methods below and end in one or more completions that carry the Token given at
// the start. A descriptor stays open until every operation on it has completed.
//
// The real rings also have `static Result<std::unique_ptr<R>> Create(options)`,
// and `Waker waker()` (core/io/waker.h).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <compare>
#include <concepts>
#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/base/time.h"

namespace ringscale::core::io {

// What a completion belongs to: 8 bits for the owner's operation, 24 bits for
// its slot, 32 bits for the slot's generation. The owner compares generations;
// a completion of an older one is dropped and counted.
struct Token {
  std::uint64_t raw = 0;

  constexpr Token() = default;
  constexpr Token(std::uint8_t op, std::uint32_t slot, std::uint32_t generation)
      : raw(static_cast<std::uint64_t>(op) << 56 |
            static_cast<std::uint64_t>(slot & 0xffffffu) << 32 | generation) {}
  [[nodiscard]] constexpr std::uint8_t op() const { return static_cast<std::uint8_t>(raw >> 56); }
  [[nodiscard]] constexpr std::uint32_t slot() const {
    return static_cast<std::uint32_t>(raw >> 32) & 0xffffffu;
  }
  [[nodiscard]] constexpr std::uint32_t generation() const {
    return static_cast<std::uint32_t>(raw);
  }
  auto operator<=>(const Token&) const = default;
};

// Operation number 0xff is the ring's own (wake-ups); owners use 1 to 0xfe.
inline constexpr std::uint8_t kRingOp = 0xff;

struct Completion {
  Token token;
  // >= 0: bytes moved or descriptor accepted; < 0: -errno.
  std::int32_t result = 0;
  std::uint16_t buffer_id = 0;
  // buffer_id holds `result` received bytes; give it back with ReturnBuffer.
  // Never set when result <= 0.
  bool has_buffer = false;
  bool more = false;  // a multishot operation goes on; false: start it again if wanted
  bool wake = false;  // somebody called Waker::Wake(); token means nothing
};

struct RingOptions {
  std::uint32_t submission_entries = 1024;
  std::uint32_t completion_entries = 16384;
  // The provided-buffer ring that all receives of this ring share.
  std::uint32_t buffer_count = 256;  // a power of two
  std::uint32_t buffer_size = 32 * 1024;
  // Wakes that the ring's thread sends to other io_uring threads go out with its
  // next Turn (MSG_RING, no system call of their own) instead of at once. Only
  // for threads that turn their ring until they end and never wait for another.
  bool defer_wakes = false;
};

template <class R>
concept RingLike =
    requires(R ring, int fd, Token token, std::span<Completion> out, Duration wait, Duration gather,
             const iovec* iov, unsigned count, msghdr* message, std::uint16_t buffer) {
      // Accepts until cancelled; result = the new descriptor.
      { ring.AcceptMultishot(fd, token) };
      // Receives into provided buffers until cancelled, end of stream (result 0),
      // error, or -ENOBUFS (start again after buffers came back).
      // One receive operation per descriptor at a time, of whichever kind.
      { ring.ReceiveMultishot(fd, token) };
      // One receive into a provided buffer.
      { ring.ReceiveOnce(fd, token) };
      // Datagrams into provided buffers; the buffer begins with io_uring_recvmsg_out
      // (see DatagramView in core/io/datagram.h). `message` must outlive the operation.
      // May end (more = false) with any datagram: Linux ends it with an empty one.
      { ring.ReceiveMessageMultishot(fd, message, token) };
      // Sends all of it or fails (a short result means the connection broke). The
      // iovec array and its memory must stay until the completion. One send in
      // flight per stream socket.
      { ring.Send(fd, iov, count, token) };
      // One datagram.
      { ring.SendMessage(fd, message, token) };
      // Ends every operation on `fd`; each still completes: with -ECANCELED, or with
      // what it had done before (an interrupted send: the bytes that went out).
      { ring.CancelFd(fd) };

      { ring.BufferData(buffer) } -> std::same_as<std::uint8_t*>;
      { ring.ReturnBuffer(buffer) };
      { ring.FreeBuffers() } -> std::convertible_to<std::uint32_t>;

      // Submits what was started, waits up to `wait` for the first completion, and
      // returns how many were written to `out` (at least 16 places). One system call
      // per turn. May return 0 before the time is over. What does not fit stays for
      // the next turn, which then does not wait.
      // When it would wait, it first sleeps for `gather` (no longer than `wait`), in
      // which nothing wakes it: completions that come meanwhile share one wake-up.
      { ring.Turn(out, wait, gather) } -> std::convertible_to<std::size_t>;
    };

}  // namespace ringscale::core::io

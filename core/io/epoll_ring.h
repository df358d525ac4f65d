// The ring concept over epoll, for machines and containers that refuse io_uring.
// Slower, but complete: operations start and end as they do with io_uring. See
// core/io/ring.h.
//
// Descriptors may be in blocking mode (calls are made with MSG_DONTWAIT), except
// listening ones, which have to be non-blocking (core/net/listener.h opens them so).
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/io/buffer_memory.h"
#include "core/io/ring.h"
#include "core/io/ring_wake.h"
#include "core/io/waker.h"

namespace ringscale::core::io {

class EpollRing {
 public:
  static Result<std::unique_ptr<EpollRing>> Create(const RingOptions& options);
  EpollRing(const EpollRing&) = delete;
  EpollRing& operator=(const EpollRing&) = delete;
  ~EpollRing();

  void AcceptMultishot(int fd, Token token);
  void ReceiveMultishot(int fd, Token token);
  void ReceiveOnce(int fd, Token token);
  void ReceiveMessageMultishot(int fd, msghdr* message, Token token);
  void Send(int fd, const iovec* iov, unsigned count, Token token);
  void SendMessage(int fd, msghdr* message, Token token);
  void CancelFd(int fd);
  // The descriptor, which has no operation, goes to another thread: epoll lets go
  // of it. Not needed before closing it.
  void Forget(int fd);

  [[nodiscard]] std::uint8_t* BufferData(std::uint16_t id) const { return buffers_.Data(id); }
  void ReturnBuffer(std::uint16_t id);
  [[nodiscard]] std::uint32_t FreeBuffers() const { return buffers_.free(); }
  [[nodiscard]] std::uint32_t buffer_size() const { return buffers_.size(); }

  std::size_t Turn(std::span<Completion> out, Duration wait, Duration gather = {});

  [[nodiscard]] Waker waker() const { return Waker(wake_); }

 private:
  enum class Read : std::uint8_t { kNone, kAccept, kMultishot, kOnce, kMessages };
  static constexpr std::uint32_t kNoSend = 0xffffffffu;

  // One queued send; a list per descriptor, all nodes in one slab.
  struct SendNode {
    Token token;
    const iovec* iov = nullptr;
    msghdr* message = nullptr;  // a datagram; null = stream bytes
    std::size_t total = 0;
    std::size_t done = 0;
    unsigned count = 0;
    std::uint32_t next = kNoSend;
  };

  // What goes on with one descriptor number.
  struct Descriptor {
    Token read_token;
    msghdr* read_message = nullptr;
    std::uint32_t send_head = kNoSend;
    std::uint32_t send_tail = kNoSend;
    std::uint32_t armed = 0;  // the events that epoll watches for
    Read read = Read::kNone;
    bool send_blocked = false;  // the socket buffer is full, wait for EPOLLOUT
    bool touched = false;       // listed in touched_
    bool false_alarm = false;   // was called readable, and nothing could be read
  };

  EpollRing(Fd epoll, BufferMemory buffers, std::shared_ptr<RingWakeTarget> wake);

  Descriptor& At(int fd);
  void Touch(int fd);
  void StartRead(int fd, Read kind, msghdr* message, Token token);
  void QueueSend(int fd, SendNode node);
  void RunTouched();
  void RunEvent(const epoll_event& event);
  void RunRead(int fd, Descriptor& descriptor);
  // Each makes one attempt; false when the socket has no more for now or the
  // operation has ended.
  bool AcceptOne(int fd, Descriptor& descriptor);
  bool ReceiveOne(int fd, Descriptor& descriptor);
  bool ReceiveMessage(int fd, Descriptor& descriptor);
  void RunSends(int fd, Descriptor& descriptor);
  ssize_t AttemptSend(int fd, const SendNode& node);
  void EndRead(Descriptor& descriptor, std::int32_t result);
  void PopSend(Descriptor& descriptor, std::int32_t result);
  void UpdateInterest(int fd, Descriptor& descriptor);
  int Arm(int fd, std::uint32_t events);
  void FailAll(Descriptor& descriptor, int error);
  int Wait(Duration wait);

  Fd epoll_;
  BufferMemory buffers_;
  std::shared_ptr<RingWakeTarget> wake_;
  std::vector<std::uint16_t> free_buffers_;  // last returned is first used: still in cache
  std::vector<Descriptor> descriptors_;      // by descriptor number
  std::vector<int> touched_;                 // descriptors with something to start
  std::vector<SendNode> sends_;
  std::uint32_t free_send_ = kNoSend;
  std::vector<Completion> completions_;  // not delivered yet, from next_completion_ on
  std::size_t next_completion_ = 0;
  std::vector<iovec> send_rest_;  // what is left of a send that went out in part
  std::array<epoll_event, 256> events_{};
  bool precise_wait_ = true;  // epoll_pwait2 is there
};

static_assert(RingLike<EpollRing>);

}  // namespace ringscale::core::io

#include "core/io/uring_ring.h"

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/io/datagram.h"
#include "core/io/pause.h"

namespace ringscale::core::io {
namespace {

constexpr unsigned kBufferGroup = 0;

// Slots of the ring's own operations (Token with kRingOp).
enum OwnOperation : std::uint32_t { kWatchEvent = 1, kCancel = 2, kTimer = 3, kFirstMessage = 16 };

// A wait as long as this is ended by a timer that stays armed from turn to turn:
// setting one up for every wait costs a busy shard more than the wait itself. It
// may ring late by kTimerSlack.
constexpr Duration kLongWait = Millis(5);
constexpr Duration kTimerSlack = Millis(1);

static_assert(sizeof(DatagramHeader) == sizeof(io_uring_recvmsg_out));
static_assert(offsetof(DatagramHeader, control_length) ==
              offsetof(io_uring_recvmsg_out, controllen));
static_assert(offsetof(DatagramHeader, payload_length) ==
              offsetof(io_uring_recvmsg_out, payloadlen));
static_assert(offsetof(DatagramHeader, flags) == offsetof(io_uring_recvmsg_out, flags));
static_assert(offsetof(io_uring_buf_ring, bufs) == 0);

[[noreturn, gnu::cold]] void Die(const char* what, int error) {
  std::fprintf(stderr, "io_uring: %s: %s\n", what, std::strerror(error));
  std::abort();
}

}  // namespace

struct UringRing::Kernel {
  io_uring ring{};
  bool ring_ready = false;
  io_uring_buf_ring* buffer_ring = nullptr;
  std::size_t buffer_ring_bytes = 0;
  int buffer_mask = 0;
  // Headers of gathered sends, one per submission entry: the kernel copies them
  // when the entry is submitted, and only then the entry is used again.
  std::unique_ptr<msghdr[]> send_headers;
  __kernel_timespec timer{};  // read when the entry is submitted

  ~Kernel() {
    // Ends all operations and with them the kernel's use of the buffers.
    if (ring_ready) io_uring_queue_exit(&ring);
    if (buffer_ring != nullptr) munmap(buffer_ring, buffer_ring_bytes);
  }
};

Result<std::unique_ptr<UringRing>> UringRing::Create(const RingOptions& options) {
  auto wake = RingWakeTarget::Create();
  if (!wake) return Forward(wake);
  auto buffers = BufferMemory::Create(options.buffer_count, options.buffer_size);
  if (!buffers) return Forward(buffers);

  auto kernel = std::make_unique<Kernel>();
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE;
  params.cq_entries = options.completion_entries;
  int error = io_uring_queue_init_params(options.submission_entries, &kernel->ring, &params);
  if (error < 0) return FailErrno("io_uring_setup", -error);
  kernel->ring_ready = true;
  kernel->send_headers = std::make_unique<msghdr[]>(params.sq_entries);
  // Saves the descriptor look-up in every call; without it all works the same.
  io_uring_register_ring_fd(&kernel->ring);

  kernel->buffer_ring_bytes = options.buffer_count * sizeof(io_uring_buf);
  void* memory = mmap(nullptr, kernel->buffer_ring_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return FailErrno("mapping the buffer ring", errno);
  kernel->buffer_ring = static_cast<io_uring_buf_ring*>(memory);
  kernel->buffer_mask = io_uring_buf_ring_mask(options.buffer_count);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(memory);
  registration.ring_entries = options.buffer_count;
  registration.bgid = kBufferGroup;
  error = io_uring_register_buf_ring(&kernel->ring, &registration, 0);
  if (error < 0) return FailErrno("registering the buffer ring", -error);

  std::unique_ptr<UringRing> ring(
      new UringRing(std::move(kernel), std::move(*buffers), std::move(*wake)));
  if (options.defer_wakes) SetThreadWakeRing(ring.get());
  return ring;
}

UringRing::UringRing(std::unique_ptr<Kernel> kernel, BufferMemory buffers,
                     std::shared_ptr<RingWakeTarget> wake)
    : kernel_(std::move(kernel)), buffers_(std::move(buffers)), wake_(std::move(wake)) {
  for (std::uint32_t id = 0; id < buffers_.count(); ++id) {
    OfferBuffer(static_cast<std::uint16_t>(id));
  }
  PublishBuffers();
  WatchEvent();
  wake_->ring_fd.store(kernel_->ring.ring_fd, std::memory_order_relaxed);
}

UringRing::~UringRing() {
  if (ThreadWakeRing() == this) SetThreadWakeRing(nullptr);
  wake_->ring_fd.store(-1, std::memory_order_relaxed);
  kernel_.reset();  // before the buffers that it writes into
}

// The submission queue is emptied when it is full. The kernel refuses only while
// it has no memory or holds completions back, so try a while before giving up.
io_uring_sqe* UringRing::NextSubmission() {
  io_uring_sqe* entry = io_uring_get_sqe(&kernel_->ring);
  for (int attempt = 0; entry == nullptr; ++attempt) {
    const int error = attempt == 0 ? io_uring_submit(&kernel_->ring)
                                   : io_uring_submit_and_get_events(&kernel_->ring);
    if (error < 0 && attempt >= 10'000) Die("cannot submit", -error);
    entry = io_uring_get_sqe(&kernel_->ring);
  }
  return entry;
}

void UringRing::AcceptMultishot(int fd, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_multishot_accept(entry, fd, nullptr, nullptr, SOCK_CLOEXEC);
  entry->user_data = token.raw;
}

void UringRing::ReceiveMultishot(int fd, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_recv_multishot(entry, fd, nullptr, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = kBufferGroup;
  entry->user_data = token.raw;
}

void UringRing::ReceiveOnce(int fd, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_recv(entry, fd, nullptr, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = kBufferGroup;
  // The previous receive emptied the socket more often than not: waiting for it
  // to become readable first saves the attempt that fails.
  entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
  entry->user_data = token.raw;
}

void UringRing::ReceiveMessageMultishot(int fd, msghdr* message, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_recvmsg_multishot(entry, fd, message, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = kBufferGroup;
  entry->user_data = token.raw;
}

void UringRing::Send(int fd, const iovec* iov, unsigned count, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  constexpr int kFlags = MSG_NOSIGNAL | MSG_WAITALL;
  if (count == 1) {
    io_uring_prep_send(entry, fd, iov->iov_base, iov->iov_len, kFlags);
  } else {
    msghdr& header = kernel_->send_headers[entry - kernel_->ring.sq.sqes];
    header = {};
    header.msg_iov = const_cast<iovec*>(iov);
    header.msg_iovlen = count;
    io_uring_prep_sendmsg(entry, fd, &header, kFlags);
  }
  entry->user_data = token.raw;
}

void UringRing::SendMessage(int fd, msghdr* message, Token token) {
  io_uring_sqe* const entry = NextSubmission();
  if (message->msg_iovlen == 1 && message->msg_controllen == 0 && message->msg_name != nullptr) {
    // The kernel needs no header and no list for one piece to one address.
    const iovec& piece = *message->msg_iov;
    io_uring_prep_send(entry, fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL);
    io_uring_prep_send_set_addr(entry, static_cast<const sockaddr*>(message->msg_name),
                                static_cast<std::uint16_t>(message->msg_namelen));
  } else {
    io_uring_prep_sendmsg(entry, fd, message, MSG_NOSIGNAL);
  }
  entry->user_data = token.raw;
}

void UringRing::CancelFd(int fd) {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_cancel_fd(entry, fd, IORING_ASYNC_CANCEL_ALL);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  entry->user_data = Token(kRingOp, kCancel, 0).raw;
}

void UringRing::ReturnBuffer(std::uint16_t id) {
  buffers_.Release(id);
  OfferBuffer(id);
}

void UringRing::OfferBuffer(std::uint16_t id) {
  io_uring_buf_ring_add(kernel_->buffer_ring, buffers_.Data(id), buffers_.size(), id,
                        kernel_->buffer_mask, static_cast<int>(unpublished_));
  ++unpublished_;
}

void UringRing::PublishBuffers() {
  if (unpublished_ == 0) return;
  io_uring_buf_ring_advance(kernel_->buffer_ring, static_cast<int>(unpublished_));
  unpublished_ = 0;
}

// A multishot poll tells of every write; the counter is never read.
void UringRing::WatchEvent() {
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_poll_multishot(entry, wake_->event_fd(), POLLIN);
  entry->user_data = Token(kRingOp, kWatchEvent, 0).raw;
}

void UringRing::ArmTimer(Duration wait) {
  const Instant now = MonotonicNow();
  const Instant wanted = now + wait;
  if (timer_at_ > now && timer_at_ <= wanted + kTimerSlack) return;
  timer_at_ = wanted;
  kernel_->timer.tv_sec = wanted.ns / 1'000'000'000;
  kernel_->timer.tv_nsec = wanted.ns % 1'000'000'000;
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_timeout(entry, &kernel_->timer, 0, IORING_TIMEOUT_ABS);
  entry->user_data = Token(kRingOp, kTimer, 0).raw;
}

void UringRing::QueueWake(std::shared_ptr<RingWakeTarget> target) {
  const auto known = std::find(message_targets_.begin(), message_targets_.end(), target);
  const auto index = static_cast<std::uint32_t>(known - message_targets_.begin());
  const int fd = target->ring_fd.load(std::memory_order_relaxed);
  if (known == message_targets_.end()) message_targets_.push_back(std::move(target));
  io_uring_sqe* const entry = NextSubmission();
  io_uring_prep_msg_ring(entry, fd, 0, Token(kRingOp, kFirstMessage, 0).raw, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  entry->user_data = Token(kRingOp, kFirstMessage + index, 0).raw;
}

std::size_t UringRing::Turn(std::span<Completion> out, Duration wait, Duration gather) {
  assert(!out.empty());
  io_uring* const ring = &kernel_->ring;
  PublishBuffers();
  if (gather.ns > 0 && wait.ns > 0 && io_uring_cq_ready(ring) == 0) {
    io_uring_submit(ring);
    Pause(std::min(gather, wait));
  }
  const bool sleep = wait.ns > 0 && io_uring_cq_ready(ring) == 0 && wake_->PrepareSleep();
  int error = 0;
  if (sleep && wait >= kLongWait) {
    ArmTimer(wait);
    error = io_uring_submit_and_wait(ring, 1);
  } else if (sleep) {
    __kernel_timespec limit{};
    limit.tv_sec = wait.ns / 1'000'000'000;
    limit.tv_nsec = wait.ns % 1'000'000'000;
    io_uring_cqe* first = nullptr;
    error = io_uring_submit_and_wait_timeout(ring, &first, 1, &limit, nullptr);
  } else {
    error = io_uring_submit_and_get_events(ring);
  }
  // The ring used wrongly, or completions lost: nothing could be trusted after.
  if (error == -EBADF || error == -EFAULT || error == -EINVAL || error == -EEXIST ||
      error == -EBADR) {
    Die("io_uring_enter", -error);
  }

  std::size_t count = 0;
  if (wake_->Awake()) {
    out[count] = {};
    out[count++].wake = true;
  }
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(ring, head, entry) {
    if (count == out.size()) break;
    ++seen;
    if (Translate(entry->user_data, entry->res, entry->flags, out[count])) ++count;
  }
  io_uring_cq_advance(ring, seen);
  return count;
}

bool UringRing::Translate(std::uint64_t user_data, std::int32_t result, std::uint32_t flags,
                          Completion& out) {
  Token token;
  token.raw = user_data;
  const bool more = (flags & IORING_CQE_F_MORE) != 0;
  if (token.op() == kRingOp) {
    OnOwnCompletion(token, result, more);
    return false;
  }
  out = {};
  out.token = token;
  out.result = result;
  out.more = more;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    buffers_.Hold(id);
    if (result > 0) {
      out.has_buffer = true;
      out.buffer_id = id;
    } else {
      ReturnBuffer(id);
    }
  }
  return true;
}

void UringRing::OnOwnCompletion(Token token, std::int32_t result, bool more) {
  if (token.slot() == kWatchEvent && !more && result != -ECANCELED) WatchEvent();
  if (token.slot() == kTimer) timer_at_ = kNoTimer;
  if (token.slot() < kFirstMessage || result >= 0) return;
  // The message could not be delivered (the target's completion queue is full,
  // or it is gone): the eventfd always works.
  message_targets_[token.slot() - kFirstMessage]->WriteEvent();
}

}  // namespace ringscale::core::io

#include "core/io/epoll_ring.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "core/io/datagram.h"
#include "core/io/pause.h"

namespace ringscale::core::io {
namespace {

constexpr std::uint64_t kWakeEvent = std::numeric_limits<std::uint64_t>::max();

// What one descriptor may do in one turn before the others get theirs. epoll is
// level-triggered here: what is left is reported again.
constexpr int kReceivesPerTurn = 4;
constexpr int kDatagramsPerTurn = 32;
constexpr int kAcceptsPerTurn = 16;

}  // namespace

Result<std::unique_ptr<EpollRing>> EpollRing::Create(const RingOptions& options) {
  auto wake = RingWakeTarget::Create();
  if (!wake) return Forward(wake);
  auto buffers = BufferMemory::Create(options.buffer_count, options.buffer_size);
  if (!buffers) return Forward(buffers);
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return FailErrno("epoll_create1", errno);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // tells of every write; the counter is never read
  event.data.u64 = kWakeEvent;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, (*wake)->event_fd(), &event) != 0) {
    return FailErrno("epoll_ctl", errno);
  }
  return std::unique_ptr<EpollRing>(
      new EpollRing(std::move(epoll), std::move(*buffers), std::move(*wake)));
}

EpollRing::EpollRing(Fd epoll, BufferMemory buffers, std::shared_ptr<RingWakeTarget> wake)
    : epoll_(std::move(epoll)), buffers_(std::move(buffers)), wake_(std::move(wake)) {
  free_buffers_.reserve(buffers_.count());
  for (std::uint32_t id = buffers_.count(); id > 0; --id) {
    free_buffers_.push_back(static_cast<std::uint16_t>(id - 1));
  }
  completions_.reserve(1024);
}

EpollRing::~EpollRing() = default;

// --- starting operations ---

EpollRing::Descriptor& EpollRing::At(int fd) {
  assert(fd >= 0);
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size()) descriptors_.resize(index + 1);
  return descriptors_[index];
}

void EpollRing::Touch(int fd) {
  Descriptor& descriptor = At(fd);
  if (descriptor.touched) return;
  descriptor.touched = true;
  touched_.push_back(fd);
}

void EpollRing::StartRead(int fd, Read kind, msghdr* message, Token token) {
  Descriptor& descriptor = At(fd);
  assert(descriptor.read == Read::kNone);
  descriptor.read = kind;
  descriptor.read_message = message;
  descriptor.read_token = token;
  descriptor.false_alarm = false;
  Touch(fd);
}

void EpollRing::AcceptMultishot(int fd, Token token) {
  StartRead(fd, Read::kAccept, nullptr, token);
}
void EpollRing::ReceiveMultishot(int fd, Token token) {
  StartRead(fd, Read::kMultishot, nullptr, token);
}
void EpollRing::ReceiveOnce(int fd, Token token) {
  StartRead(fd, Read::kOnce, nullptr, token);
}
void EpollRing::ReceiveMessageMultishot(int fd, msghdr* message, Token token) {
  StartRead(fd, Read::kMessages, message, token);
}

void EpollRing::QueueSend(int fd, SendNode node) {
  std::uint32_t index = free_send_;
  if (index == kNoSend) {
    index = static_cast<std::uint32_t>(sends_.size());
    sends_.push_back(node);
  } else {
    free_send_ = sends_[index].next;
    sends_[index] = node;
  }
  Descriptor& descriptor = At(fd);
  if (descriptor.send_head == kNoSend) {
    descriptor.send_head = index;
  } else {
    sends_[descriptor.send_tail].next = index;
  }
  descriptor.send_tail = index;
  Touch(fd);
}

void EpollRing::Send(int fd, const iovec* iov, unsigned count, Token token) {
  SendNode node;
  node.token = token;
  node.iov = iov;
  node.count = count;
  for (unsigned i = 0; i < count; ++i) node.total += iov[i].iov_len;
  QueueSend(fd, node);
}

void EpollRing::SendMessage(int fd, msghdr* message, Token token) {
  SendNode node;
  node.token = token;
  node.message = message;
  QueueSend(fd, node);
}

void EpollRing::CancelFd(int fd) {
  Descriptor& descriptor = At(fd);
  FailAll(descriptor, ECANCELED);
  UpdateInterest(fd, descriptor);
}

void EpollRing::Forget(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  At(fd).armed = 0;
}

void EpollRing::ReturnBuffer(std::uint16_t id) {
  buffers_.Release(id);
  free_buffers_.push_back(id);
}

// --- one turn ---

std::size_t EpollRing::Turn(std::span<Completion> out, Duration wait, Duration gather) {
  assert(!out.empty());
  RunTouched();
  const auto undelivered = [this] { return completions_.size() - next_completion_; };
  if (gather.ns > 0 && wait.ns > 0 && undelivered() == 0) Pause(std::min(gather, wait));
  if (undelivered() < out.size()) {
    const bool sleep = wait.ns > 0 && undelivered() == 0 && wake_->PrepareSleep();
    const int count = Wait(sleep ? wait : Nanos(0));
    for (int i = 0; i < count; ++i) RunEvent(events_[static_cast<std::size_t>(i)]);
  }
  std::size_t written = 0;
  if (wake_->Awake()) {
    out[written] = {};
    out[written++].wake = true;
  }
  const std::size_t count = std::min(undelivered(), out.size() - written);
  std::copy_n(completions_.begin() + static_cast<std::ptrdiff_t>(next_completion_), count,
              out.begin() + static_cast<std::ptrdiff_t>(written));
  next_completion_ += count;
  if (next_completion_ == completions_.size()) {
    completions_.clear();
    next_completion_ = 0;
  }
  return written + count;
}

int EpollRing::Wait(Duration wait) {
  const int capacity = static_cast<int>(events_.size());
  if (wait.ns > 0 && precise_wait_) {
    const timespec limit{.tv_sec = wait.ns / 1'000'000'000, .tv_nsec = wait.ns % 1'000'000'000};
    const int count = epoll_pwait2(epoll_.get(), events_.data(), capacity, &limit, nullptr);
    if (count >= 0 || errno == EINTR) return std::max(count, 0);
    precise_wait_ = false;  // a kernel before 5.11, or a container profile older than that
  }
  constexpr std::int64_t kMaxMillis = std::numeric_limits<int>::max();
  const std::int64_t millis = std::min((wait.ns + 999'999) / 1'000'000, kMaxMillis);
  return std::max(epoll_wait(epoll_.get(), events_.data(), capacity, static_cast<int>(millis)), 0);
}

void EpollRing::RunTouched() {
  for (const int fd : touched_) {
    Descriptor& descriptor = At(fd);
    descriptor.touched = false;
    if (!descriptor.send_blocked) RunSends(fd, descriptor);
    UpdateInterest(fd, descriptor);
  }
  touched_.clear();
}

void EpollRing::RunEvent(const epoll_event& event) {
  if (event.data.u64 == kWakeEvent) return;
  const int fd = static_cast<int>(event.data.u64);
  Descriptor& descriptor = At(fd);
  if ((descriptor.armed & EPOLLONESHOT) != 0) descriptor.armed = 0;
  constexpr std::uint32_t kBroken = EPOLLHUP | EPOLLERR;
  if ((event.events & (EPOLLIN | kBroken)) != 0) RunRead(fd, descriptor);
  if ((event.events & (EPOLLOUT | kBroken)) != 0) {
    descriptor.send_blocked = false;
    RunSends(fd, descriptor);
  }
  UpdateInterest(fd, descriptor);
}

// --- receiving ---

void EpollRing::RunRead(int fd, Descriptor& descriptor) {
  const std::size_t before = completions_.size();
  switch (descriptor.read) {
    case Read::kNone:
      return;
    case Read::kAccept:
      for (int i = 0; i < kAcceptsPerTurn && AcceptOne(fd, descriptor); ++i) {
      }
      return;
    case Read::kOnce:
      ReceiveOne(fd, descriptor);
      break;
    case Read::kMultishot:
      for (int i = 0; i < kReceivesPerTurn && ReceiveOne(fd, descriptor); ++i) {
      }
      break;
    case Read::kMessages:
      for (int i = 0; i < kDatagramsPerTurn && ReceiveMessage(fd, descriptor); ++i) {
      }
      return;
  }
  descriptor.false_alarm = completions_.size() == before;
}

bool EpollRing::AcceptOne(int fd, Descriptor& descriptor) {
  const int accepted = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
  if (accepted < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN) EndRead(descriptor, -errno);
    return false;
  }
  completions_.push_back({.token = descriptor.read_token, .result = accepted, .more = true});
  return true;
}

bool EpollRing::ReceiveOne(int fd, Descriptor& descriptor) {
  if (free_buffers_.empty()) {
    EndRead(descriptor, -ENOBUFS);
    return false;
  }
  const std::uint16_t id = free_buffers_.back();
  const ssize_t got = recv(fd, buffers_.Data(id), buffers_.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    EndRead(descriptor, got < 0 ? -errno : 0);
    return false;
  }
  free_buffers_.pop_back();
  buffers_.Hold(id);
  const bool more = descriptor.read == Read::kMultishot;
  completions_.push_back({.token = descriptor.read_token,
                          .result = static_cast<std::int32_t>(got),
                          .buffer_id = id,
                          .has_buffer = true,
                          .more = more});
  if (!more) descriptor.read = Read::kNone;
  // A buffer that was not filled: the socket is most likely empty.
  return more && static_cast<std::size_t>(got) == buffers_.size();
}

bool EpollRing::ReceiveMessage(int fd, Descriptor& descriptor) {
  if (free_buffers_.empty()) {
    EndRead(descriptor, -ENOBUFS);
    return false;
  }
  const msghdr& layout = *descriptor.read_message;
  const std::size_t payload_at =
      sizeof(DatagramHeader) + layout.msg_namelen + layout.msg_controllen;
  if (payload_at >= buffers_.size()) {
    EndRead(descriptor, -EMSGSIZE);
    return false;
  }
  const std::uint16_t id = free_buffers_.back();
  std::uint8_t* const data = buffers_.Data(id);
  iovec payload{.iov_base = data + payload_at, .iov_len = buffers_.size() - payload_at};
  msghdr message{};
  message.msg_name = data + sizeof(DatagramHeader);
  message.msg_namelen = layout.msg_namelen;
  message.msg_control = data + sizeof(DatagramHeader) + layout.msg_namelen;
  message.msg_controllen = layout.msg_controllen;
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN) EndRead(descriptor, -errno);
    return false;
  }
  const auto length = static_cast<std::size_t>(got);
  const DatagramHeader header{.name_length = message.msg_namelen,
                              .control_length = static_cast<std::uint32_t>(message.msg_controllen),
                              .payload_length = static_cast<std::uint32_t>(length),
                              .flags = static_cast<std::uint32_t>(message.msg_flags)};
  std::memcpy(data, &header, sizeof header);
  free_buffers_.pop_back();
  buffers_.Hold(id);
  completions_.push_back(
      {.token = descriptor.read_token,
       .result = static_cast<std::int32_t>(payload_at + std::min(length, payload.iov_len)),
       .buffer_id = id,
       .has_buffer = true,
       .more = true});
  return true;
}

void EpollRing::EndRead(Descriptor& descriptor, std::int32_t result) {
  descriptor.read = Read::kNone;
  completions_.push_back({.token = descriptor.read_token, .result = result});
}

// --- sending ---

ssize_t EpollRing::AttemptSend(int fd, const SendNode& node) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  if (node.message != nullptr) return sendmsg(fd, node.message, kFlags);
  msghdr header{};
  header.msg_iov = const_cast<iovec*>(node.iov);
  header.msg_iovlen = node.count;
  if (node.done > 0) {
    send_rest_.assign(node.iov, node.iov + node.count);
    std::size_t skip = node.done;
    std::size_t first = 0;
    while (skip >= send_rest_[first].iov_len) skip -= send_rest_[first++].iov_len;
    send_rest_[first].iov_base = static_cast<std::uint8_t*>(send_rest_[first].iov_base) + skip;
    send_rest_[first].iov_len -= skip;
    header.msg_iov = &send_rest_[first];
    header.msg_iovlen = send_rest_.size() - first;
  }
  return sendmsg(fd, &header, kFlags);
}

void EpollRing::RunSends(int fd, Descriptor& descriptor) {
  while (descriptor.send_head != kNoSend) {
    SendNode& node = sends_[descriptor.send_head];
    const ssize_t sent = AttemptSend(fd, node);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      descriptor.send_blocked = true;
      return;
    }
    if (sent < 0) {
      PopSend(descriptor, node.done > 0 ? static_cast<std::int32_t>(node.done) : -errno);
      continue;
    }
    node.done += static_cast<std::size_t>(sent);
    if (node.message != nullptr || node.done >= node.total) {
      PopSend(descriptor, static_cast<std::int32_t>(node.done));
    }
  }
}

void EpollRing::PopSend(Descriptor& descriptor, std::int32_t result) {
  const std::uint32_t index = descriptor.send_head;
  SendNode& node = sends_[index];
  completions_.push_back({.token = node.token, .result = result});
  descriptor.send_head = node.next;
  node.next = free_send_;
  free_send_ = index;
}

// --- what epoll watches ---

// A multishot receive stays armed. Anything else is armed once per operation: an
// idle descriptor is then registered but silent, so that its owner may close it
// or pass it on without telling the ring. A socket that is called readable while
// there is nothing to read (Linux's TLS does it with half a record) is heard of
// again when something has come, not at once.
void EpollRing::UpdateInterest(int fd, Descriptor& descriptor) {
  const bool waits = descriptor.false_alarm && descriptor.read != Read::kNone;
  const bool stays = waits || (descriptor.read != Read::kNone && descriptor.read != Read::kOnce);
  std::uint32_t wanted = 0;
  if (descriptor.read != Read::kNone) wanted |= EPOLLIN;
  if (descriptor.send_head != kNoSend && descriptor.send_blocked) wanted |= EPOLLOUT;
  if (wanted == 0) {
    if (descriptor.armed != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    descriptor.armed = 0;
    return;
  }
  if (!stays) wanted |= EPOLLONESHOT;
  if (waits) wanted |= EPOLLET;
  if (descriptor.read == Read::kAccept) wanted |= EPOLLEXCLUSIVE;
  if (wanted == descriptor.armed) return;
  const int error = Arm(fd, wanted);
  if (error != 0) {
    FailAll(descriptor, error);
    descriptor.armed = 0;
    return;
  }
  descriptor.armed = wanted;
}

// The number may be registered from an earlier operation, or from an earlier
// owner of the number: epoll says which it is.
int EpollRing::Arm(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = static_cast<std::uint64_t>(fd);
  if ((events & EPOLLEXCLUSIVE) != 0) {
    // Exclusive entries cannot be modified.
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    if (errno != EEXIST) return errno;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
  }
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno != ENOENT) return errno;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void EpollRing::FailAll(Descriptor& descriptor, int error) {
  if (descriptor.read != Read::kNone) EndRead(descriptor, -error);
  while (descriptor.send_head != kNoSend) {
    const std::size_t done = sends_[descriptor.send_head].done;
    PopSend(descriptor, done > 0 ? static_cast<std::int32_t>(done) : -error);
  }
  descriptor.send_blocked = false;
}

}  // namespace ringscale::core::io

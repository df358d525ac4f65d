#include "core/engine/ring_loop.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "core/io/epoll_ring.h"
#include "core/io/probe.h"
#include "core/io/uring_ring.h"
#include "core/obs/log.h"

namespace ringscale::core::engine {
namespace {

// A wait without timers; any event ends it.
constexpr Duration kLongestWait = Seconds(60);
// Out of descriptors or memory: accepting goes on after this.
constexpr Duration kAcceptPause = Millis(100);
// So many completions before its turn comes, what a stream's one reads is fetched.
constexpr std::size_t kAhead = 4;

}  // namespace

template <class Ring>
RingLoop<Ring>::RingLoop(std::unique_ptr<Ring> ring, const LoopOptions& options)
    : name_(options.name),
      post_queue_limit_(options.post_queue_limit),
      now_(MonotonicNow()),
      wall_(WallNow()),
      wheel_(now_),
      waker_(ring->waker()),
      streams_(*ring, *this),
      ring_(std::move(ring)) {}

template <class Ring>
RingLoop<Ring>::~RingLoop() {
  Release();
}

template <class Ring>
void RingLoop<Ring>::Release() {
  if (ring_ == nullptr) return;
  std::vector<Task> unrun;
  {
    const std::lock_guard lock(post_mutex_);
    post_closed_ = true;
    unrun.swap(posted_);
  }
  // Tasks and callbacks may own things that talk to the loop when they go: they
  // go while everything is still there.
  unrun.clear();
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    if (!timers_[i].armed()) continue;
    wheel_.Cancel(timers_[i]);
    FreeTimer(timers_[i]);
  }
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i] != nullptr) listeners_[i]->on_accept = nullptr;
  }
  ring_.reset();
  listeners_.clear();
  streams_.CloseAll();
}

// --- the turn ---

template <class Ring>
void RingLoop<Ring>::Run() {
  {
    const std::lock_guard lock(post_mutex_);
    post_closed_ = false;
  }
  while (!stopping_.load(std::memory_order_acquire)) {
    streams_.FlushDirty();
    const std::size_t count = ring_->Turn(completions_, WaitTime());
    now_ = MonotonicNow();
    wall_ = WallNow();
    for (std::size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) streams_.Prefetch(completions_[i + kAhead]);
      OnCompletion(completions_[i]);
    }
    retired_listeners_.clear();
    wheel_.AdvanceTo(now_, [this](TimerNode& node) { FireTimer(static_cast<Timer&>(node)); });
  }
  const std::lock_guard lock(post_mutex_);
  post_closed_ = true;
  stopping_.store(false, std::memory_order_release);
}

template <class Ring>
Duration RingLoop<Ring>::WaitTime() const {
  if (streams_.dirty()) return Nanos(0);
  const auto next = wheel_.NextDeadline();
  if (!next) return kLongestWait;
  return std::clamp(*next - now_, Nanos(0), kLongestWait);
}

template <class Ring>
void RingLoop<Ring>::OnCompletion(const io::Completion& completion) {
  if (completion.wake) {
    RunPosted();
    return;
  }
  switch (completion.token.op()) {
    case StreamTable<Ring>::kReceive:
      streams_.OnReceived(completion);
      return;
    case StreamTable<Ring>::kSend:
      streams_.OnSendDone(completion);
      return;
    case kAccept:
      OnAccepted(completion);
      return;
    default:
      assert(false);
  }
}

// --- tasks from other threads ---

template <class Ring>
bool RingLoop<Ring>::Post(Task task) {
  {
    const std::lock_guard lock(post_mutex_);
    if (post_closed_ || posted_.size() >= post_queue_limit_) return false;
    posted_.push_back(std::move(task));
  }
  waker_.Wake();
  return true;
}

template <class Ring>
void RingLoop<Ring>::RunPosted() {
  {
    const std::lock_guard lock(post_mutex_);
    running_posted_.swap(posted_);
  }
  for (Task& task : running_posted_) task();
  running_posted_.clear();
}

template <class Ring>
void RingLoop<Ring>::Stop() {
  stopping_.store(true, std::memory_order_release);
  waker_.Wake();
}

// --- timers ---

template <class Ring>
TimerId RingLoop<Ring>::After(Duration delay, Task task) {
  if (ring_ == nullptr) return {};
  if (free_timers_.empty()) {
    timers_.emplace_back();
    timers_.back().slot = static_cast<std::uint32_t>(timers_.size() - 1);
    free_timers_.push_back(timers_.back().slot);
  }
  Timer& timer = timers_[free_timers_.back()];
  free_timers_.pop_back();
  timer.task = std::move(task);
  wheel_.Start(timer, now_ + delay);
  return {static_cast<std::uint64_t>(timer.slot) << 32 | timer.generation};
}

template <class Ring>
void RingLoop<Ring>::CancelTimer(TimerId id) {
  const auto slot = static_cast<std::uint32_t>(id.value >> 32);
  if (slot >= timers_.size()) return;
  Timer& timer = timers_[slot];
  if (timer.generation != static_cast<std::uint32_t>(id.value)) return;
  wheel_.Cancel(timer);
  FreeTimer(timer);
}

template <class Ring>
void RingLoop<Ring>::FireTimer(Timer& timer) {
  Task task = std::move(timer.task);
  FreeTimer(timer);
  task();
}

template <class Ring>
void RingLoop<Ring>::FreeTimer(Timer& timer) {
  // The task goes last: what it owns may start timers when it is destroyed.
  const Task task = std::exchange(timer.task, nullptr);
  if (++timer.generation == 0) timer.generation = 1;
  free_timers_.push_back(timer.slot);
}

// --- listeners ---

template <class Ring>
void RingLoop<Ring>::Listen(int listening_fd, AcceptFn on_accept) {
  if (ring_ == nullptr) return;
  auto listener = std::make_unique<Listener>();
  listener->fd = Fd(fcntl(listening_fd, F_DUPFD_CLOEXEC, 0));
  if (!listener->fd.valid()) {
    LogError("engine", "cannot listen",
             {{"loop", name_}, {"error", FailErrno("dup", errno).error().message}});
    return;
  }
  listener->original_fd = listening_fd;
  listener->on_accept = std::move(on_accept);
  std::size_t slot = 0;
  while (slot < listeners_.size() && listeners_[slot] != nullptr) ++slot;
  if (slot == listeners_.size()) listeners_.emplace_back();
  listeners_[slot] = std::move(listener);
  StartAccept(static_cast<std::uint32_t>(slot), *listeners_[slot]);
}

template <class Ring>
void RingLoop<Ring>::StartAccept(std::uint32_t slot, Listener& listener) {
  listener.armed = true;
  ring_->AcceptMultishot(listener.fd.get(), io::Token(kAccept, slot, 0));
}

template <class Ring>
void RingLoop<Ring>::StopListening(int listening_fd) {
  for (auto& listener : listeners_) {
    if (listener == nullptr || listener->original_fd != listening_fd || listener->stopping) {
      continue;
    }
    listener->stopping = true;
    // Without an accept in flight, the timer that would start it ends it.
    if (listener->armed) ring_->CancelFd(listener->fd.get());
    return;
  }
}

template <class Ring>
void RingLoop<Ring>::OnAccepted(const io::Completion& completion) {
  const std::uint32_t slot = completion.token.slot();
  Listener& listener = *listeners_[slot];
  if (completion.result >= 0) {
    Fd fd(completion.result);
    sockaddr_storage native{};
    socklen_t length = sizeof native;
    // A connection that is gone already has no peer.
    if (getpeername(fd.get(), reinterpret_cast<sockaddr*>(&native), &length) == 0) {
      listener.on_accept(std::move(fd), SocketAddress::FromNative(native));
    }
  }
  if (completion.more) return;
  listener.armed = false;
  if (listener.stopping) {
    // Not freed before the turn ends: the callback may be what is running.
    retired_listeners_.push_back(std::move(listeners_[slot]));
    return;
  }
  const int error = completion.result < 0 ? -completion.result : 0;
  const bool exhausted = error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
  if (error == EBADF || error == EINVAL || error == ENOTSOCK || error == EOPNOTSUPP) {
    LogError("engine", "listener broke",
             {{"loop", name_}, {"error", FailErrno("accept", error).error().message}});
    retired_listeners_.push_back(std::move(listeners_[slot]));
    return;
  }
  if (!exhausted) {
    StartAccept(slot, listener);
    return;
  }
  LogWarn("engine", "cannot accept, trying again",
          {{"loop", name_}, {"error", FailErrno("accept", error).error().message}});
  After(kAcceptPause, [this, slot] {
    if (listeners_[slot]->stopping) {
      retired_listeners_.push_back(std::move(listeners_[slot]));
    } else {
      StartAccept(slot, *listeners_[slot]);
    }
  });
}

Result<std::unique_ptr<ReleasableLoop>> CreateReleasableLoop(const LoopOptions& options) {
  io::RingOptions ring_options;
  ring_options.submission_entries = 256;
  ring_options.completion_entries = 4096;
  ring_options.buffer_count = options.buffer_count;
  ring_options.buffer_size = options.buffer_size;
  if (io::ChooseRing(options.force_epoll) == io::RingKind::kUring) {
    auto ring = io::UringRing::Create(ring_options);
    if (!ring) return Forward(ring);
    return std::make_unique<RingLoop<io::UringRing>>(std::move(*ring), options);
  }
  auto ring = io::EpollRing::Create(ring_options);
  if (!ring) return Forward(ring);
  return std::make_unique<RingLoop<io::EpollRing>>(std::move(*ring), options);
}

Result<std::unique_ptr<Loop>> CreateLoop(const LoopOptions& options) {
  return CreateReleasableLoop(options);
}

template class RingLoop<io::UringRing>;
template class RingLoop<io::EpollRing>;

}  // namespace ringscale::core::engine

// The Loop over a ring. Instantiated for UringRing and EpollRing; made by
// CreateLoop and LoopThread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/loop.h"
#include "core/engine/stream_table.h"
#include "core/engine/timer_wheel.h"
#include "core/io/ring.h"
#include "core/io/waker.h"

namespace ringscale::core::engine {

// A loop in two parts that may end on different threads.
class ReleasableLoop : public Loop {
 public:
  // On the loop's thread, after Run: closes everything and ends the ring. What is
  // left may be destroyed by any thread; until then Post and Stop are harmless
  // from any thread, and everything else does nothing.
  virtual void Release() = 0;
};

// CreateLoop, with the type that LoopThread needs.
Result<std::unique_ptr<ReleasableLoop>> CreateReleasableLoop(const LoopOptions& options);

template <class Ring>
class RingLoop final : public ReleasableLoop {
 public:
  RingLoop(std::unique_ptr<Ring> ring, const LoopOptions& options);
  ~RingLoop() override;

  [[nodiscard]] Instant Now() const override { return now_; }
  [[nodiscard]] WallTime Wall() const override { return wall_; }

  StreamId Attach(Fd fd, StreamHandler& handler) override {
    return ring_ == nullptr ? StreamId{} : streams_.Attach(std::move(fd), handler);
  }
  void Send(StreamId stream, std::string bytes) override {
    streams_.Send(stream, SharedSlice::Own(std::move(bytes)));
  }
  void Send(StreamId stream, SharedSlice slice) override {
    streams_.Send(stream, std::move(slice));
  }
  [[nodiscard]] std::size_t QueuedBytes(StreamId stream) const override {
    return streams_.QueuedBytes(stream);
  }
  void Prefetch(StreamId stream) const override { streams_.Prefetch(stream); }
  void PauseReceive(StreamId stream) override { streams_.PauseReceive(stream); }
  void ResumeReceive(StreamId stream) override { streams_.ResumeReceive(stream); }
  Result<Fd> Detach(StreamId stream) override { return streams_.Detach(stream); }
  void Close(StreamId stream) override { streams_.Close(stream); }
  void CloseAfterFlush(StreamId stream, Duration limit) override {
    streams_.CloseAfterFlush(stream, limit);
  }

  void Listen(int listening_fd, AcceptFn on_accept) override;
  void StopListening(int listening_fd) override;

  TimerId After(Duration delay, Task task) override;
  void CancelTimer(TimerId timer) override;

  [[nodiscard]] bool Post(Task task) override;
  void Stop() override;
  void Run() override;
  void Release() override;

 private:
  struct Listener {
    Fd fd;
    int original_fd = -1;
    AcceptFn on_accept;
    bool stopping = false;
    bool armed = false;
  };

  struct Timer : TimerNode {
    std::uint32_t slot = 0;
    std::uint32_t generation = 1;
    Task task;
  };

  static constexpr std::uint8_t kAccept = 3;  // operation of listener tokens

  void OnCompletion(const io::Completion& completion);
  void OnAccepted(const io::Completion& completion);
  void StartAccept(std::uint32_t slot, Listener& listener);

  void FireTimer(Timer& timer);
  void FreeTimer(Timer& timer);
  void RunPosted();
  [[nodiscard]] Duration WaitTime() const;

  const std::string name_;
  const std::size_t post_queue_limit_;
  Instant now_;
  WallTime wall_;

  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Listener>> retired_listeners_;

  std::deque<Timer> timers_;
  std::vector<std::uint32_t> free_timers_;
  TimerWheel wheel_;

  std::mutex post_mutex_;
  std::vector<Task> posted_;
  bool post_closed_ = false;
  std::vector<Task> running_posted_;
  std::atomic<bool> stopping_{false};

  std::array<io::Completion, 256> completions_;
  io::Waker waker_;
  StreamTable<Ring> streams_;
  std::unique_ptr<Ring> ring_;
};

}  // namespace ringscale::core::engine

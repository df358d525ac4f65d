// A loop without sockets, threads and a kernel below it: whoever tests or measures
// what runs on one moves its time and runs its tasks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "core/engine/loop.h"

namespace ringscale::core::engine {

class ManualLoop : public Loop {
 public:
  explicit ManualLoop(WallTime wall = *ParseRfc3339("2026-01-01T00:00:00Z")) : wall_(wall) {}

  // Lets time pass, running timers in their order, and posted tasks in between.
  void Advance(Duration by) {
    const Instant end = now_ + by;
    Run();
    while (!timers_.empty() && timers_.begin()->first.first <= end) {
      auto timer = timers_.extract(timers_.begin());
      MoveTo(std::max(now_, timer.key().first));
      timer.mapped()();
      Run();
    }
    MoveTo(end);
  }
  [[nodiscard]] std::size_t timers() const { return timers_.size(); }

  bool refuse_posts = false;

  [[nodiscard]] Instant Now() const override { return now_; }
  [[nodiscard]] WallTime Wall() const override { return wall_; }

  StreamId Attach(Fd, StreamHandler&) override { return {}; }
  void Send(StreamId, std::string) override {}
  void Send(StreamId, SharedSlice) override {}
  [[nodiscard]] std::size_t QueuedBytes(StreamId) const override { return 0; }
  void PauseReceive(StreamId) override {}
  void ResumeReceive(StreamId) override {}
  Result<Fd> Detach(StreamId) override { return Fail(ErrorCode::kUnsupported, "no streams here"); }
  void Close(StreamId) override {}
  void CloseAfterFlush(StreamId, Duration) override {}
  void Listen(int, AcceptFn) override {}
  void StopListening(int) override {}

  TimerId After(Duration delay, Task task) override {
    const std::uint64_t id = next_timer_++;
    timers_.emplace(std::pair(now_ + delay, id), std::move(task));
    return {id};
  }
  void CancelTimer(TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer.value; });
  }
  // Of the thread that runs the loop, unlike with other loops.
  [[nodiscard]] bool Post(Task task) override {
    if (refuse_posts) return false;
    posted_.push_back(std::move(task));
    return true;
  }
  void Stop() override {}
  // Runs the posted tasks, and those that they post.
  void Run() override {
    while (!posted_.empty()) {
      Task task = std::move(posted_.front());
      posted_.pop_front();
      task();
    }
  }

 private:
  void MoveTo(Instant at) {
    wall_ = wall_ + (at - now_);
    now_ = at;
  }

  Instant now_{1'000'000'000};
  WallTime wall_;
  std::uint64_t next_timer_ = 1;
  std::map<std::pair<Instant, std::uint64_t>, Task> timers_;
  std::deque<Task> posted_;
};

}  // namespace ringscale::core::engine

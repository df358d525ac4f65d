// A loop for measuring what runs on one, without a kernel below it.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "core/engine/loop.h"

namespace ringscale::bench {

// A loop whose time stands still until the benchmark runs its timers.
class ManualLoop final : public core::engine::Loop {
 public:
  [[nodiscard]] core::Instant Now() const override { return now_; }
  [[nodiscard]] core::WallTime Wall() const override { return {1'800'000'000'000'000'000}; }
  core::engine::StreamId Attach(core::Fd, core::engine::StreamHandler&) override { return {}; }
  void Send(core::engine::StreamId, std::string) override {}
  void Send(core::engine::StreamId, core::SliceList) override {}
  [[nodiscard]] std::size_t QueuedBytes(core::engine::StreamId) const override { return 0; }
  void PauseReceive(core::engine::StreamId) override {}
  void ResumeReceive(core::engine::StreamId) override {}
  core::Result<core::Fd> Detach(core::engine::StreamId) override { return core::Fd(); }
  void Close(core::engine::StreamId) override {}
  void CloseAfterFlush(core::engine::StreamId, core::Duration) override {}
  void Listen(int, AcceptFn) override {}
  void StopListening(int) override {}
  core::engine::TimerId After(core::Duration delay, Task task) override {
    timers_.emplace(std::pair(now_ + delay, ++next_), std::move(task));
    return {next_};
  }
  void CancelTimer(core::engine::TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer.value; });
  }
  [[nodiscard]] bool Post(Task) override { return false; }
  void Stop() override {}
  void Run() override {}

  void Advance(core::Duration by) {
    const core::Instant end = now_ + by;
    while (!timers_.empty() && timers_.begin()->first.first <= end) {
      auto timer = timers_.extract(timers_.begin());
      now_ = std::max(now_, timer.key().first);
      timer.mapped()();
    }
    now_ = end;
  }

 private:
  core::Instant now_{1'000'000'000};
  std::uint64_t next_ = 0;
  std::map<std::pair<core::Instant, std::uint64_t>, Task> timers_;
};

}  // namespace ringscale::bench

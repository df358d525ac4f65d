// A Loop without sockets and clock, for tests of what lives on loops: the test
// plays the peer of every stream and moves the time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/engine/loop.h"

namespace ringscale::testing {

class FakeLoop final : public core::engine::Loop {
 public:
  using StreamId = core::engine::StreamId;
  using TimerId = core::engine::TimerId;

  // --- the peer's side of a stream (they are numbered from 1) ---
  [[nodiscard]] StreamId last_stream() const { return {next_stream_ - 1}; }
  // Bytes arrive; kept while the stream is paused.
  void Arrive(StreamId stream, std::string_view bytes) {
    const auto it = streams_.find(stream.value);
    if (it == streams_.end() || bytes.empty()) return;
    it->second.arriving += bytes;
    Deliver(stream);
  }
  // Everything the stream has sent since the last call. Unless `hold_sends`, it
  // is with the kernel at the end of each turn.
  std::string TakeSent(StreamId stream) { return std::exchange(sent_[stream.value], {}); }
  void PeerCloses(StreamId stream, int error = 0) {
    const auto it = streams_.find(stream.value);
    if (it == streams_.end()) return;
    auto* handler = it->second.handler;
    streams_.erase(it);
    closed_[stream.value] = true;
    handler->OnClosed(stream, error);
  }
  [[nodiscard]] bool IsOpen(StreamId stream) const { return streams_.contains(stream.value); }
  [[nodiscard]] bool IsPaused(StreamId stream) const {
    const auto it = streams_.find(stream.value);
    return it != streams_.end() && it->second.paused;
  }
  [[nodiscard]] bool WasDetached(StreamId stream) const { return detached_.contains(stream.value); }
  [[nodiscard]] bool WasFlushed(StreamId stream) const { return flushed_.contains(stream.value); }
  [[nodiscard]] std::size_t open_streams() const { return streams_.size(); }
  bool hold_sends = false;
  bool refuse_posts = false;

  // Posted tasks, sends, kept bytes: until nothing is left to do.
  void Turn() {
    for (bool busy = true; busy;) {
      busy = false;
      for (auto tasks = std::exchange(posted_, {}); auto& task : tasks) {
        busy = true;
        task();
      }
      for (const std::uint64_t id : Ids()) {
        const auto it = streams_.find(id);
        if (it == streams_.end()) continue;
        if (!hold_sends && it->second.queued > 0) {
          busy = true;
          it->second.queued = 0;
          it->second.handler->OnSent({id});
        }
        const auto again = streams_.find(id);
        if (again != streams_.end() && !again->second.paused && !again->second.arriving.empty()) {
          busy = true;
          Deliver({id});
        }
      }
    }
  }
  void Advance(core::Duration duration) {
    const core::Instant end = now_ + duration;
    while (true) {
      Turn();
      auto first = timers_.end();
      for (auto it = timers_.begin(); it != timers_.end(); ++it) {
        if (first == timers_.end() || it->second.first < first->second.first) first = it;
      }
      if (first == timers_.end() || first->second.first > end) break;
      now_ = std::max(now_, first->second.first);
      Task task = std::move(first->second.second);
      timers_.erase(first);
      task();
    }
    now_ = end;
    Turn();
  }

  // --- Loop ---
  [[nodiscard]] core::Instant Now() const override { return now_; }
  [[nodiscard]] core::WallTime Wall() const override { return {now_.ns}; }
  StreamId Attach(core::Fd fd, core::engine::StreamHandler& handler) override {
    const StreamId id{next_stream_++};
    streams_[id.value] = Stream{std::move(fd), &handler, {}, 0, false, false};
    return id;
  }
  void Send(StreamId stream, std::string bytes) override {
    const auto it = streams_.find(stream.value);
    if (it == streams_.end()) return;
    it->second.queued += bytes.size();
    sent_[stream.value] += bytes;
  }
  void Send(StreamId stream, core::SharedSlice slice) override {
    Send(stream, std::string(slice.bytes));
  }
  [[nodiscard]] std::size_t QueuedBytes(StreamId stream) const override {
    const auto it = streams_.find(stream.value);
    return it == streams_.end() ? 0 : it->second.queued;
  }
  void PauseReceive(StreamId stream) override {
    const auto it = streams_.find(stream.value);
    if (it != streams_.end()) it->second.paused = true;
  }
  void ResumeReceive(StreamId stream) override {
    const auto it = streams_.find(stream.value);
    if (it != streams_.end()) it->second.paused = false;
  }
  core::Result<core::Fd> Detach(StreamId stream) override {
    const auto it = streams_.find(stream.value);
    if (it == streams_.end()) return core::Fail(core::ErrorCode::kClosed, "gone");
    // As the real loops: a receive in flight, or bytes that were kept.
    const bool receiving = !it->second.paused && !it->second.in_receive;
    if (receiving || !it->second.arriving.empty() || it->second.queued > 0) {
      return core::Fail(core::ErrorCode::kConflict, "busy");
    }
    core::Fd fd = std::move(it->second.fd);
    streams_.erase(it);
    detached_[stream.value] = true;
    return fd;
  }
  void Close(StreamId stream) override { streams_.erase(stream.value); }
  void CloseAfterFlush(StreamId stream, core::Duration) override {
    flushed_[stream.value] = true;
    streams_.erase(stream.value);
  }
  void Listen(int, AcceptFn) override {}
  void StopListening(int) override {}
  TimerId After(core::Duration delay, Task task) override {
    const TimerId id{next_timer_++};
    timers_.emplace(id.value, std::pair{now_ + delay, std::move(task)});
    return id;
  }
  void CancelTimer(TimerId timer) override { timers_.erase(timer.value); }
  [[nodiscard]] bool Post(Task task) override {
    if (refuse_posts) return false;
    posted_.push_back(std::move(task));
    return true;
  }
  void Stop() override {}
  void Run() override {}

 private:
  struct Stream {
    core::Fd fd;
    core::engine::StreamHandler* handler = nullptr;
    std::string arriving;
    std::size_t queued = 0;
    bool paused = false;
    bool in_receive = false;
  };

  void Deliver(StreamId stream) {
    const auto it = streams_.find(stream.value);
    if (it == streams_.end() || it->second.paused || it->second.in_receive) return;
    std::string bytes = std::exchange(it->second.arriving, {});
    it->second.in_receive = true;
    it->second.handler->OnReceive(stream,
                                  {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
    const auto after = streams_.find(stream.value);
    if (after != streams_.end()) after->second.in_receive = false;
  }
  [[nodiscard]] std::vector<std::uint64_t> Ids() const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, stream] : streams_) ids.push_back(id);
    return ids;
  }

  core::Instant now_{core::Seconds(1000).ns};
  std::uint64_t next_stream_ = 1;
  std::uint64_t next_timer_ = 1;
  std::map<std::uint64_t, Stream> streams_;
  std::map<std::uint64_t, std::string> sent_;
  std::map<std::uint64_t, bool> closed_, detached_, flushed_;
  std::map<std::uint64_t, std::pair<core::Instant, Task>> timers_;
  std::vector<Task> posted_;
};

}  // namespace ringscale::testing

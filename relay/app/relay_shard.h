// A relay shard on its ring: the loop around ShardCore. The same code runs on
// io_uring, on epoll and in the simulation.
//
// Made, turned and shut down on one thread. Other threads reach it through its
// Inbox, other shards through ShardLinks.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <concepts>
#include <cstdint>
#include <latch>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/time.h"
#include "core/io/ring.h"
#include "relay/app/gathering.h"
#include "relay/app/inbox.h"
#include "relay/app/shard_core.h"
#include "relay/app/stun_port.h"

namespace ringscale::relay {

template <core::io::RingLike Ring>
class RelayShard {
 public:
  // `links` may be null. Links, inbox and metrics outlive the shard.
  RelayShard(const ShardOptions& options, std::unique_ptr<Ring> ring, ShardLinks* links,
             Inbox& inbox, ShardMetrics& metrics, core::Instant now);
  RelayShard(const RelayShard&) = delete;
  RelayShard& operator=(const RelayShard&) = delete;
  ~RelayShard() { Shutdown(); }

  // One turn. `clock()` is asked once, after the wait. False when the shard has
  // stopped as it was told to.
  template <std::invocable Clock>
  bool Turn(Clock&& clock) {
    const std::size_t count = ring_->Turn(completions_, MaxWait(), gathering_.pause());
    return Handle(count, clock());
  }

  // How long the next turn may wait for completions.
  [[nodiscard]] core::Duration MaxWait() const;

  // Ends the ring and gives all memory back. All shards of a service do this
  // before the first of them is destroyed.
  void Shutdown();

  [[nodiscard]] ShardCore& core() { return core_; }
  [[nodiscard]] Ring& ring() { return *ring_; }

 private:
  enum Op : std::uint8_t { kReceive = 1, kSend = 2, kStunReceive = 3, kStunSend = 4 };
  static constexpr std::size_t kCompletionsPerTurn = 1024;
  // How exactly clients over their rate are held back.
  static constexpr core::Duration kThrottleTick = core::Millis(2);
  // After the drain time, for alerts that are still on their way.
  static constexpr core::Duration kFarewellTime = core::Millis(250);

  struct Waiting {
    std::uint32_t slot;
    std::uint32_t generation;
  };

  bool Handle(std::size_t count, core::Instant now);
  void TakeCommands();
  void OnAddClient(AddClientCommand& command);
  void OnCompletion(const core::io::Completion& completion);
  void OnReceiveCompletion(const core::io::Completion& completion);
  void OnSendCompletion(const core::io::Completion& completion);
  void StartSends();
  void EndClosing();
  void FinishIfIdle(Connection& connection);
  void ReturnBuffers();
  void ResumeStalled();
  void ResumeThrottled();
  void Receive(Connection& connection);
  void Send(Connection& connection, const SendBatch& batch);
  [[nodiscard]] bool Stopped(core::Instant now);
  void CloseFd(int fd) {
    if constexpr (requires(Ring& r) { r.Close(fd); }) {
      ring_->Close(fd);
    } else {
      ::close(fd);
    }
  }

  std::unique_ptr<Ring> ring_;
  Inbox& inbox_;
  ShardCore core_;
  StunPorts<Ring> stun_;
  Gathering gathering_;
  std::uint32_t receives_ = 0;  // in this turn
  std::array<core::io::Completion, kCompletionsPerTurn> completions_;
  std::vector<ShardCommand> commands_;
  std::vector<Waiting> stalled_;    // for a receive buffer
  std::vector<Waiting> throttled_;  // for their receive rate
  std::vector<Waiting> taken_throttled_;
  std::shared_ptr<std::latch> drained_;
  std::uint32_t closing_ = 0;  // connections whose operations have not all ended
  bool shut_down_ = false;
  enum class Stage : std::uint8_t { kRunning, kDraining, kFarewell } stage_ = Stage::kRunning;
  core::Instant deadline_;
};

}  // namespace ringscale::relay

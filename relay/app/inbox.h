// What other threads ask of a relay shard: clients to take on, keys to close,
// sockets for STUN, the end. Bounded; many writers, the shard reads. Not on the
// packet path.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/io/waker.h"
#include "relay/app/client_report.h"
#include "relay/app/kernel_transport.h"
#include "relay/app/ports.h"
#include "relay/app/rate_limit.h"

namespace ringscale::relay {

struct AddClientCommand {
  LoggedInClient client;
  std::uint32_t epoch = 0;  // of its key's placement
  KernelMove kernel = {};
};
struct CloseKeyCommand {
  core::NodePublic key;
};
struct AddUdpSocketCommand {
  core::Fd fd;
};
// Closes all clients one by one over the given time, those whose home is elsewhere
// first.
struct DrainCommand {
  core::Duration over;
  std::shared_ptr<std::latch> done;  // counted down when no client is left
};
// The receive rate of every client that is no mesh peer. 0 = no limit.
struct RateCommand {
  RateLimit limit;
};
// `report` gets what the shard knows, on the shard's thread.
struct ReportCommand {
  std::size_t talkers = 0;  // the most that are named
  std::shared_ptr<ReportSink> sink;
};
struct StopCommand {
  core::Duration drain;  // what is queued may take this long to go out
};
using ShardCommand = std::variant<AddClientCommand, CloseKeyCommand, AddUdpSocketCommand,
                                  DrainCommand, RateCommand, ReportCommand, StopCommand>;

class Inbox {
 public:
  explicit Inbox(std::size_t limit) : limit_(limit) {}

  // Before the shard runs.
  void SetReader(core::io::Waker reader) { reader_ = std::move(reader); }

  // Any thread. False when full (a StopCommand always fits): `command` is
  // untouched then.
  [[nodiscard]] bool Push(ShardCommand&& command) {
    {
      const std::lock_guard lock(mutex_);
      if (commands_.size() >= limit_ && !std::holds_alternative<StopCommand>(command)) return false;
      commands_.push_back(std::move(command));
      waiting_.store(true, std::memory_order_release);
    }
    reader_.Wake();
    return true;
  }

  // The shard. Swaps everything waiting into `out`, which is empty.
  void Take(std::vector<ShardCommand>& out) {
    if (!waiting_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(mutex_);
    waiting_.store(false, std::memory_order_relaxed);
    std::swap(commands_, out);
  }

 private:
  const std::size_t limit_;
  core::io::Waker reader_;
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  std::vector<ShardCommand> commands_;
};

}  // namespace ringscale::relay

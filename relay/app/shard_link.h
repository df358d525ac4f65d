// What relay shards say to each other: packets on loan, and who is connected
// where. One link leads from one shard to one other; it has one writer and one
// reader.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/engine/mailbox.h"
#include "core/io/waker.h"
#include "relay/queue/block_pool.h"

namespace ringscale::relay {

struct ShardMessage {
  enum class Kind : std::uint8_t {
    kNone,
    kPacket,       // key = destination; a RecvPacket frame on loan
    kKeyUp,        // key registered here; address, flags; number = epoch
    kKeyDown,      // its last connection closed; number = epoch
    kCloseKey,     // close the connections of key
    kReplay,       // tell watcher `watcher`/`generation` of all your clients
    kReplayStart,  // answer: what follows is for that watcher
    kReplayKey,    // one client of the answer
    // Links to other relays; number = the link.
    kLinkUp,         // it is connection `watcher`/`generation` of this shard
    kLinkDown,       // it has ended, and with it all of its forwarders
    kForwarderUp,    // key can be reached by it
    kForwarderDown,  // no longer
    kForward,        // a ForwardPacket frame on loan for that connection
  };
  Kind kind = Kind::kNone;
  std::uint8_t flags = 0;  // kPacket, kForward: the lane; kKeyUp, kReplayKey: PeerPresent flags
  std::uint16_t port = 0;
  std::uint32_t number = 0;      // kPacket, kForward: bytes; kKeyUp, kKeyDown: epoch
  std::uint32_t watcher = 0;     // kReplay...: slot on the asking shard
  std::uint32_t generation = 0;  // of that slot
  std::array<std::uint8_t, 32> key{};
  struct Loan {
    std::uint8_t* data;
    Block* block;
  };
  union {
    Loan packet;
    std::array<std::uint8_t, 16> ip;  // as PeerPresent has it
  };

  ShardMessage() : packet{nullptr, nullptr} {}
};
static_assert(sizeof(ShardMessage) == 64);

struct ShardLink {
  explicit ShardLink(std::size_t capacity) : messages(capacity), returns(capacity) {}

  core::engine::Mailbox<ShardMessage> messages;
  // Blocks whose loan ended, on their way back: written by the reader of
  // `messages`. As many entries as messages, so it is never full while loans are
  // counted. Wakes nobody: the owner looks when it turns.
  core::engine::Mailbox<LoanReturn> returns;
};

// All links between `shards` shards.
class ShardLinks {
 public:
  // `capacity` (a power of two) of each link; 0 = what suits the number of shards.
  explicit ShardLinks(std::uint16_t shards, std::size_t capacity = 0);

  [[nodiscard]] std::uint16_t shards() const { return shards_; }
  // Null for a shard and itself.
  [[nodiscard]] ShardLink* Get(std::uint16_t from, std::uint16_t to) {
    return links_[static_cast<std::size_t>(from) * shards_ + to].get();
  }
  // Before any shard runs: how `shard` is woken.
  void SetWaker(std::uint16_t shard, const core::io::Waker& waker);

 private:
  std::uint16_t shards_;
  std::vector<std::unique_ptr<ShardLink>> links_;
};

}  // namespace ringscale::relay

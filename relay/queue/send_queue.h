// What waits to be sent to one client: a control lane (pongs, keep-alives, peer
// news; never dropped, its producers are bounded), a disco lane and a data lane,
// both bounded by bytes and by age, the oldest dropped first. An empty queue
// owns no memory beyond itself.
//
// One thread. Nothing here allocates from the heap; lanes live in cells.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "relay/queue/block.h"
#include "relay/queue/block_pool.h"
#include "relay/queue/drop_reason.h"

namespace ringscale::relay {

enum class Lane : std::uint8_t { kControl, kDisco, kData };
inline constexpr std::size_t kLanes = 3;

struct QueueLimits {
  // Per lane; every packet is charged its length and kPacketCharge.
  std::array<std::uint32_t, kLanes> bytes = {256 * 1024, 128 * 1024, 4 * 1024 * 1024};
  // Older packets of the droppable lanes are not worth sending any more.
  std::uint32_t max_age_ms = 200;
};
inline constexpr std::uint32_t kPacketCharge = 32;

constexpr PacketKind KindOf(Lane lane) {
  return lane == Lane::kDisco ? PacketKind::kDisco : PacketKind::kOther;
}

class SendQueue {
 public:
  enum class PushResult : std::uint8_t {
    kQueued,
    kDropped,   // counted: the lane cannot hold it, or there is no memory
    kOverflow,  // control lane only: the client is too far behind
  };

  SendQueue() = default;
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;

  // Queues one packet, making room by dropping the oldest of the same lane. Only
  // after kQueued does the queue own one reference to the block, which the caller
  // has added or been lent; else it stays with the caller.
  PushResult Push(Lane lane, const Packet& packet, const QueueLimits& limits, BlockPool& pool,
                  DropCounters& drops);

  // The oldest packet of a lane, or nullptr.
  [[nodiscard]] const Packet* Front(Lane lane) const;
  // Removes the oldest packet; the caller takes over its reference.
  Packet Pop(Lane lane, BlockPool& pool);
  // Drops what has waited too long at the head of the droppable lanes.
  void DropExpired(std::uint32_t now_ms, const QueueLimits& limits, BlockPool& pool,
                   DropCounters& drops);
  // Copies every packet that keeps a receive buffer or another shard's memory
  // into cells, so that a slow client pins nothing. Packets for which there is
  // no memory are dropped. Returns the number of bytes copied.
  std::uint64_t Settle(BlockPool& pool, DropCounters& drops);
  // Drops everything, for the given reason.
  void Clear(BlockPool& pool, DropCounters& drops, DropReason reason);

  [[nodiscard]] bool empty() const { return packets() == 0; }
  [[nodiscard]] std::uint32_t packets() const {
    return lanes_[0].packets + lanes_[1].packets + lanes_[2].packets;
  }
  [[nodiscard]] std::uint32_t packets(Lane lane) const { return At(lane).packets; }
  // Without kPacketCharge.
  [[nodiscard]] std::uint32_t bytes() const {
    return lanes_[0].bytes + lanes_[1].bytes + lanes_[2].bytes;
  }
  [[nodiscard]] std::uint32_t bytes(Lane lane) const { return At(lane).bytes; }

 private:
  struct Chunk;
  struct LaneState {
    Chunk* head = nullptr;
    Chunk* tail = nullptr;
    std::uint32_t packets = 0;
    std::uint32_t bytes = 0;
    std::uint32_t borrowed = 0;  // packets in borrowed blocks
  };

  [[nodiscard]] LaneState& At(Lane lane) { return lanes_[static_cast<std::size_t>(lane)]; }
  [[nodiscard]] const LaneState& At(Lane lane) const {
    return lanes_[static_cast<std::size_t>(lane)];
  }
  static bool Append(LaneState& lane, const Packet& packet, BlockPool& pool);
  static Packet TakeHead(LaneState& lane, BlockPool& pool);
  static std::uint64_t SettleLane(LaneState& lane, PacketKind kind, BlockPool& pool,
                                  DropCounters& drops);

  std::array<LaneState, kLanes> lanes_;
};

}  // namespace ringscale::relay

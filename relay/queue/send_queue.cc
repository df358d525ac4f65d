#include "relay/queue/send_queue.h"

#include <cassert>
#include <cstring>
#include <new>

namespace ringscale::relay {

// A piece of a lane, at the start of a cell's data. The first piece of a lane is
// small, because most lanes hold a packet or two for less than a turn.
struct SendQueue::Chunk {
  Block* cell;
  Chunk* next;
  std::uint16_t begin;
  std::uint16_t end;
  std::uint16_t capacity;
  std::uint16_t first_borrowed;  // packets before it lie in cells of our own

  Packet* packets() { return reinterpret_cast<Packet*>(this + 1); }
};

namespace {
constexpr std::size_t kFirstChunkBytes = 200;
constexpr std::size_t kNextChunkBytes = 1976;
// Copies are packed into cells of at most this many bytes.
constexpr std::uint32_t kSettleCell = 16384;
}  // namespace

bool SendQueue::Append(LaneState& lane, const Packet& packet, BlockPool& pool) {
  Chunk* chunk = lane.tail;
  if (chunk == nullptr || chunk->end == chunk->capacity) {
    Block* cell = pool.AllocateCell(chunk == nullptr ? kFirstChunkBytes : kNextChunkBytes,
                                    BlockPool::Need::kOrdinary);
    if (cell == nullptr) return false;
    auto* added = new (cell->data) Chunk{};
    added->cell = cell;
    added->capacity = static_cast<std::uint16_t>((cell->capacity - sizeof(Chunk)) / sizeof(Packet));
    if (chunk == nullptr) {
      lane.head = added;
    } else {
      chunk->next = added;
    }
    lane.tail = chunk = added;
  }
  new (chunk->packets() + chunk->end) Packet(packet);
  ++chunk->end;
  ++lane.packets;
  lane.bytes += packet.length;
  if (packet.borrowed != 0) {
    ++lane.borrowed;
  } else if (lane.borrowed == 0) {
    chunk->first_borrowed = chunk->end;
  }
  return true;
}

Packet SendQueue::TakeHead(LaneState& lane, BlockPool& pool) {
  Chunk* chunk = lane.head;
  const Packet packet = chunk->packets()[chunk->begin];
  ++chunk->begin;
  --lane.packets;
  lane.bytes -= packet.length;
  if (lane.borrowed != 0 && packet.borrowed != 0) --lane.borrowed;
  if (chunk->begin == chunk->end) {
    if (chunk->next == nullptr) {
      lane.head = lane.tail = nullptr;
      lane.borrowed = 0;
    } else {
      lane.head = chunk->next;
    }
    if (lane.head != nullptr || lane.packets == 0) pool.Release(chunk->cell);
  }
  return packet;
}

SendQueue::PushResult SendQueue::Push(Lane lane_name, const Packet& packet,
                                      const QueueLimits& limits, BlockPool& pool,
                                      DropCounters& drops) {
  LaneState& lane = At(lane_name);
  const PacketKind kind = KindOf(lane_name);
  const std::uint32_t limit = limits.bytes[static_cast<std::size_t>(lane_name)];
  const std::uint32_t charge = packet.length + kPacketCharge;
  if (lane.bytes + lane.packets * kPacketCharge + charge > limit) {
    if (lane_name == Lane::kControl) return PushResult::kOverflow;
    if (charge > limit) {
      drops.Add(DropReason::kQueueTail, kind, packet.length);
      return PushResult::kDropped;
    }
    while (lane.bytes + lane.packets * kPacketCharge + charge > limit) {
      const Packet oldest = TakeHead(lane, pool);
      pool.Release(oldest.block);
      drops.Add(DropReason::kQueueHead, kind, oldest.length);
    }
  }
  if (!Append(lane, packet, pool)) {
    if (lane_name == Lane::kControl) return PushResult::kOverflow;
    drops.Add(DropReason::kNoMemory, kind, packet.length);
    return PushResult::kDropped;
  }
  return PushResult::kQueued;
}

const Packet* SendQueue::Front(Lane lane) const {
  const LaneState& state = At(lane);
  if (state.packets == 0) return nullptr;
  return state.head->packets() + state.head->begin;
}

Packet SendQueue::Pop(Lane lane, BlockPool& pool) {
  return TakeHead(At(lane), pool);
}

void SendQueue::DropExpired(std::uint32_t now_ms, const QueueLimits& limits, BlockPool& pool,
                            DropCounters& drops) {
  for (const Lane name : {Lane::kDisco, Lane::kData}) {
    LaneState& lane = At(name);
    while (lane.packets != 0) {
      const Packet& oldest = lane.head->packets()[lane.head->begin];
      if (now_ms - oldest.enqueued_ms <= limits.max_age_ms) break;
      drops.Add(DropReason::kQueueAge, KindOf(name), oldest.length);
      pool.Release(TakeHead(lane, pool).block);
    }
  }
}

std::uint64_t SendQueue::SettleLane(LaneState& lane, PacketKind kind, BlockPool& pool,
                                    DropCounters& drops) {
  if (lane.borrowed == 0) return 0;
  std::uint64_t copied = 0;
  Block* cell = nullptr;
  std::uint32_t lost = 0;
  for (Chunk* chunk = lane.head; chunk != nullptr && lane.borrowed != 0; chunk = chunk->next) {
    std::uint16_t at = chunk->begin > chunk->first_borrowed ? chunk->begin : chunk->first_borrowed;
    for (; at < chunk->end && lane.borrowed != 0; ++at) {
      Packet& packet = chunk->packets()[at];
      if (packet.borrowed == 0) continue;
      --lane.borrowed;
      if (cell == nullptr || cell->capacity - cell->used < packet.length) {
        if (cell != nullptr) pool.Release(cell);
        // Enough for the rest of the lane if it is short, for this packet always.
        std::uint32_t want = lane.bytes < kSettleCell ? lane.bytes : kSettleCell;
        if (want < packet.length) want = packet.length;
        cell = pool.AllocateCell(want, BlockPool::Need::kOrdinary);
      }
      if (cell == nullptr) {
        pool.Release(packet.block);
        drops.Add(DropReason::kNoMemory, kind, packet.length);
        lane.bytes -= packet.length;
        packet.block = nullptr;
        ++lost;
        continue;
      }
      std::uint8_t* copy = cell->data + cell->used;
      std::memcpy(copy, packet.data, packet.length);
      cell->used += packet.length;
      pool.AddReference(cell);
      pool.Release(packet.block);
      packet.data = copy;
      packet.block = cell;
      packet.borrowed = 0;
      copied += packet.length;
    }
    chunk->first_borrowed = at;
  }
  if (cell != nullptr) pool.Release(cell);
  if (lost != 0) {
    // Close the holes that the lost packets left.
    for (Chunk* chunk = lane.head; chunk != nullptr; chunk = chunk->next) {
      std::uint16_t to = chunk->begin;
      for (std::uint16_t from = chunk->begin; from < chunk->end; ++from) {
        if (chunk->packets()[from].block != nullptr) {
          chunk->packets()[to++] = chunk->packets()[from];
        }
      }
      chunk->end = to;
      chunk->first_borrowed = to;
    }
    lane.packets -= lost;
    Chunk** link = &lane.head;
    Chunk* last = nullptr;
    while (*link != nullptr) {
      Chunk* chunk = *link;
      if (chunk->begin == chunk->end) {
        *link = chunk->next;
        pool.Release(chunk->cell);
      } else {
        last = chunk;
        link = &chunk->next;
      }
    }
    lane.tail = last;
  }
  return copied;
}

std::uint64_t SendQueue::Settle(BlockPool& pool, DropCounters& drops) {
  std::uint64_t copied = 0;
  for (const Lane name : {Lane::kControl, Lane::kDisco, Lane::kData}) {
    copied += SettleLane(At(name), KindOf(name), pool, drops);
  }
  return copied;
}

void SendQueue::Clear(BlockPool& pool, DropCounters& drops, DropReason reason) {
  for (const Lane name : {Lane::kControl, Lane::kDisco, Lane::kData}) {
    LaneState& lane = At(name);
    while (lane.packets != 0) {
      const Packet packet = TakeHead(lane, pool);
      pool.Release(packet.block);
      if (name != Lane::kControl) drops.Add(reason, KindOf(name), packet.length);
    }
  }
}

}  // namespace ringscale::relay

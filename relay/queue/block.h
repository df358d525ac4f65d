// Memory that packets lie in. A block is either a receive buffer of the shard's
// ring or a cell of the shard's slab; slices of it are held by non-atomic counts
// on the shard it belongs to (its home). A block that is lent to another shard is
// given back to its home by message, never released there directly.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringscale::relay {

enum class BlockKind : std::uint8_t { kReceive, kCell };

struct Block {
  std::uint8_t* data = nullptr;
  std::uint32_t capacity = 0;
  std::uint32_t used = 0;  // cells: how much of it the owner has filled
  std::uint32_t refs = 0;
  std::uint16_t home = 0;       // shard; never changes, may be read by any shard
  std::uint16_t buffer_id = 0;  // receive buffers: the ring's number
  BlockKind kind = BlockKind::kCell;
  std::uint8_t size_class = 0;
  Block* next_free = nullptr;
};

// One frame on its way out, in wire form for the destination.
struct Packet {
  std::uint8_t* data = nullptr;
  Block* block = nullptr;
  std::uint32_t length : 31 = 0;
  // Holding it keeps a receive buffer or another shard's memory from its next
  // use. Kept here so that queueing never looks at a foreign block.
  std::uint32_t borrowed : 1 = 0;
  std::uint32_t enqueued_ms = 0;  // low 32 bits of the shard's clock
};
static_assert(sizeof(Packet) == 24);

inline Packet MakePacket(std::uint8_t* data, std::size_t length, Block* block, bool borrowed,
                         std::uint32_t now_ms) {
  Packet packet;
  packet.data = data;
  packet.block = block;
  packet.length = static_cast<std::uint32_t>(length) & 0x7fffffffu;
  packet.borrowed = borrowed ? 1u : 0u;
  packet.enqueued_ms = now_ms;
  return packet;
}

}  // namespace ringscale::relay

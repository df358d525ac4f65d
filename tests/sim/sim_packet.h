// Packets that say whose they are: what arrives can be held against what was sent.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/base/bytes.h"
#include "relay/queue/send_queue.h"
#include "relay/wire/frame.h"
#include "tests/sim/sim_client.h"

namespace ringscale::sim {

// The identity of a packet, at the start of its payload (behind the disco magic
// for disco); the rest of the payload follows from it.
struct PacketId {
  std::uint32_t connection = 0;  // of the sender
  std::uint32_t from = 0;        // keys, by number
  std::uint32_t to = 0;
  std::uint32_t sequence = 0;  // per connection, destination and lane
  std::uint32_t size = 0;
};
inline constexpr std::size_t kIdBytes = 20;
inline constexpr std::size_t kDiscoPrefix = relay::kMinDiscoBytes;

inline Frame MakePacket(const PacketId& id, relay::Lane lane) {
  Frame packet;
  packet.reserve(kDiscoPrefix + kIdBytes + id.size);
  if (lane == relay::Lane::kDisco) {
    packet.assign(kDiscoPrefix, 0x11);
    std::copy_n(relay::kDiscoMagic, sizeof(relay::kDiscoMagic), packet.begin());
  }
  std::array<std::uint8_t, kIdBytes> head;
  core::StoreBe32(head.data(), id.connection);
  core::StoreBe32(head.data() + 4, id.from);
  core::StoreBe32(head.data() + 8, id.to);
  core::StoreBe32(head.data() + 12, id.sequence);
  core::StoreBe32(head.data() + 16, id.size);
  packet.insert(packet.end(), head.begin(), head.end());
  for (std::uint32_t i = 0; i < id.size; ++i) {
    packet.push_back(static_cast<std::uint8_t>(id.sequence * 31 + id.connection * 7 + i));
  }
  return packet;
}

inline relay::Lane LaneOf(core::Bytes packet) {
  return relay::LooksLikeDisco(packet) ? relay::Lane::kDisco : relay::Lane::kData;
}

// Nothing when these are not the bytes that MakePacket made of any identity.
inline std::optional<PacketId> IdOf(core::Bytes packet, relay::Lane lane) {
  const std::size_t prefix = lane == relay::Lane::kDisco ? kDiscoPrefix : 0;
  if (packet.size() < prefix + kIdBytes) return std::nullopt;
  const std::uint8_t* at = packet.data() + prefix;
  const PacketId id{core::LoadBe32(at), core::LoadBe32(at + 4), core::LoadBe32(at + 8),
                    core::LoadBe32(at + 12), core::LoadBe32(at + 16)};
  if (id.size != packet.size() - prefix - kIdBytes) return std::nullopt;
  return std::ranges::equal(packet, MakePacket(id, lane)) ? std::optional(id) : std::nullopt;
}

}  // namespace ringscale::sim

#include "bench/lib/packet_stream.h"

#include <array>
#include <cassert>
#include <cstring>

namespace ringscale::bench {
namespace {

// Packets are slices of one long run of pseudo-random bytes, each from another
// place: both sides only copy or compare.
constexpr std::size_t kPlaces = 4096;
constexpr std::size_t kStep = 16;

using Filling = std::array<std::uint8_t, kLargestPacket + kPlaces * kStep>;

const Filling& TheFilling() {
  static const auto* const filling = [] {
    auto* bytes = new Filling;
    std::uint64_t state = 1;
    for (std::uint8_t& byte : *bytes) {  // PCG's multiplier; any sequence will do
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::uint8_t>(state >> 56);
    }
    return bytes;
  }();
  return *filling;
}

const std::uint8_t* FillingOf(std::uint32_t stream, std::uint64_t sequence) {
  return TheFilling().data() + (sequence + 977ull * stream) % kPlaces * kStep;
}

}  // namespace

void WritePacket(core::MutableBytes packet, std::uint32_t stream, std::uint64_t sequence,
                 core::Instant sent) {
  assert(packet.size() >= kPacketHead && packet.size() <= kLargestPacket);
  core::StoreBe32(packet.data(), stream);
  core::StoreBe64(packet.data() + 4, sequence);
  core::StoreBe64(packet.data() + 12, static_cast<std::uint64_t>(sent.ns));
  const core::MutableBytes rest = packet.subspan(kPacketHead);
  std::memcpy(rest.data(), FillingOf(stream, sequence), rest.size());
}

StreamCheck::Seen StreamCheck::Check(core::Bytes packet) {
  Seen seen;
  if (packet.size() < kPacketHead || packet.size() > kLargestPacket ||
      core::LoadBe32(packet.data()) != stream_) {
    ++corrupt_;
    return seen;
  }
  seen.sequence = core::LoadBe64(packet.data() + 4);
  seen.sent = {static_cast<std::int64_t>(core::LoadBe64(packet.data() + 12))};
  const core::Bytes rest = packet.subspan(kPacketHead);
  if (std::memcmp(rest.data(), FillingOf(stream_, seen.sequence), rest.size()) != 0) {
    ++corrupt_;
    return seen;
  }
  if (seen.sequence < next_) {
    ++misplaced_;
    return seen;
  }
  next_ = seen.sequence + 1;
  ++received_;
  seen.good = true;
  return seen;
}

}  // namespace ringscale::bench

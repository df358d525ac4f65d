#include "bench/lib/tunnel_end.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "relay/wire/frame.h"

namespace ringscale::bench {
namespace {

TEST(TunnelPing, TheLanesAreWhatARelayTakesThemFor) {
  std::array<std::uint8_t, kPingBytes> packet{};
  const core::Instant sent{123456789};
  for (const PingLane lane : {PingLane::kData, PingLane::kDisco}) {
    WritePing(packet, lane, sent);
    EXPECT_EQ(relay::LooksLikeDisco(packet), lane == PingLane::kDisco);
    EXPECT_NE(packet[0] >> 4, 4) << "would be taken for a packet of the tunnel";
    std::int64_t ns = 0;
    std::memcpy(&ns, packet.data() + packet.size() - sizeof(ns), sizeof(ns));
    EXPECT_EQ(ns, sent.ns);
  }
}

}  // namespace
}  // namespace ringscale::bench

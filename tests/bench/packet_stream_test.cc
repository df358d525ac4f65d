#include "bench/lib/packet_stream.h"

#include <gtest/gtest.h>

#include <vector>

namespace ringscale::bench {
namespace {

std::vector<std::uint8_t> Packet(std::uint32_t stream, std::uint64_t sequence,
                                 std::size_t size = 200) {
  std::vector<std::uint8_t> packet(size);
  WritePacket(packet, stream, sequence, core::Instant{12345});
  return packet;
}

TEST(PacketStream, AcceptsItsOwnPacketsInOrder) {
  StreamCheck check(3);
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const auto seen = check.Check(Packet(3, i, kPacketHead + i % 300));
    ASSERT_TRUE(seen.good);
    EXPECT_EQ(seen.sequence, i);
    EXPECT_EQ(seen.sent.ns, 12345);
  }
  EXPECT_EQ(check.received(), 10'000u);
  EXPECT_EQ(check.missing() + check.corrupt() + check.misplaced(), 0u);
}

TEST(PacketStream, SeesEveryChangedByte) {
  const auto good = Packet(1, 5);
  for (std::size_t at = kPacketHead; at < good.size(); ++at) {
    auto bad = good;
    bad[at] ^= 1;
    StreamCheck check(1);
    EXPECT_FALSE(check.Check(bad).good) << at;
    EXPECT_EQ(check.corrupt(), 1u);
  }
}

TEST(PacketStream, SeesAnotherStreamsPacket) {
  StreamCheck check(1);
  EXPECT_FALSE(check.Check(Packet(2, 0)).good);
  EXPECT_EQ(check.corrupt(), 1u);
}

// The head alone exchanged, the filling of another packet left behind.
TEST(PacketStream, SeesFillingOfAnotherPacket) {
  auto mixed = Packet(1, 7);
  const auto other = Packet(1, 8);
  std::copy(other.begin() + kPacketHead, other.end(), mixed.begin() + kPacketHead);
  StreamCheck check(1);
  EXPECT_FALSE(check.Check(mixed).good);
  EXPECT_EQ(check.corrupt(), 1u);
}

TEST(PacketStream, CountsGapsRepeatsAndLateOnes) {
  StreamCheck check(1);
  EXPECT_TRUE(check.Check(Packet(1, 0)).good);
  EXPECT_TRUE(check.Check(Packet(1, 3)).good);
  EXPECT_EQ(check.missing(), 2u);
  EXPECT_FALSE(check.Check(Packet(1, 3)).good);
  EXPECT_FALSE(check.Check(Packet(1, 1)).good);
  EXPECT_EQ(check.misplaced(), 2u);
  EXPECT_EQ(check.received(), 2u);
}

TEST(PacketStream, RefusesWhatIsTooShort) {
  StreamCheck check(1);
  EXPECT_FALSE(check.Check({}).good);
  const auto whole = Packet(1, 0);
  EXPECT_FALSE(check.Check(core::Bytes(whole).first(kPacketHead - 1)).good);
  EXPECT_EQ(check.corrupt(), 2u);
}

}  // namespace
}  // namespace ringscale::bench

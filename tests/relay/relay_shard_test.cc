// What a relay shard does with packets and frames: the rules that upstream's tests
// state, one by one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/hex.h"
#include "tests/relay/shard_support.h"

namespace ringscale::relay {
namespace {

INSTANTIATE_TEST_SUITE_P(All, RelayShardTest, AllVariants(), NameOf);

TEST_P(RelayShardTest, APacketReachesItsDestinationOnly) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  SimClient& c = Connect();
  const Frame packet = Text("hello, b");
  SendPacket(a, b, packet);
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), packet));
  EXPECT_TRUE(world_->Silent(c));
  EXPECT_TRUE(world_->Silent(a));
  SendPacket(b, a, packet);
  EXPECT_EQ(world_->Receive(a), RecvPacket(b.key(), packet));
}

TEST_P(RelayShardTest, PacketsOfEveryPossibleSizePass) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  for (const std::size_t size : {0, 1, 31, 1400, 16384, 16385, 40000, 65535, 65536}) {
    Frame packet(size);
    for (std::size_t i = 0; i < size; ++i) packet[i] = static_cast<std::uint8_t>(i * 7 + size);
    SendPacket(a, b, packet);
    ASSERT_EQ(world_->Receive(b), RecvPacket(a.key(), packet)) << size;
  }
  Frame too_long(65537);
  SendPacket(a, b, too_long);
  EXPECT_TRUE(world_->RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(world_->Closed(CloseReason::kProtocolError), 1u);
}

TEST_P(RelayShardTest, SendingToOneselfIsLegal) {
  Start();
  SimClient& a = Connect();
  SendPacket(a, a, Text("me"));
  EXPECT_EQ(world_->Receive(a), RecvPacket(a.key(), Text("me")));
}

TEST_P(RelayShardTest, ManyPacketsArriveInOrder) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  for (std::uint32_t i = 0; i < 500; ++i) {
    Frame packet(100);
    core::StoreBe32(packet.data(), i);
    SendPacket(a, b, packet);
  }
  for (std::uint32_t i = 0; i < 500; ++i) {
    const Frame frame = world_->Receive(b);
    ASSERT_EQ(frame.size(), kPacketFrameOverhead + 100);
    ASSERT_EQ(core::LoadBe32(frame.data() + kPacketFrameOverhead), i);
  }
  // They were put together: far fewer sends than packets.
  EXPECT_LT(world_->Sum([](const ShardMetrics& m) { return m.sends.Value(); }), 100u);
}

TEST_P(RelayShardTest, LeftoverBytesOfTheLoginAreHandled) {
  Start();
  SimClient& b = Connect();
  Frame bytes = sim::SendPacketFrame(b.key(), Text("early"));
  const Frame note = sim::MakeFrame(FrameType::kNotePreferred, Text("\x01"));
  bytes.insert(bytes.end(), note.begin(), note.end());
  const Frame late = sim::SendPacketFrame(b.key(), Text("split"));
  bytes.insert(bytes.end(), late.begin(), late.begin() + 20);
  SimClient& a = Connect({.plaintext = bytes});
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("early")));
  world_->Send(a, core::Bytes(late).subspan(20));
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("split")));
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.home_connections.Value(); }), 1u);
}

TEST_P(RelayShardTest, AnUnknownKeyIsDroppedSilentlyUnlessThePacketIsDisco) {
  Start();
  SimClient& a = Connect();
  core::NodePublic nobody;
  nobody.raw.fill(9);
  world_->SendPacket(a, nobody, Text("data"));
  EXPECT_TRUE(world_->Silent(a));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDest), 1u);
  // Six at once: a burst of three is told.
  for (int i = 0; i < 6; ++i) world_->SendPacket(a, nobody, Disco());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(world_->Receive(a), PeerGone(nobody, PeerGoneReason::kNotHere));
  }
  EXPECT_TRUE(world_->Silent(a));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDest), 7u);
}

TEST_P(RelayShardTest, PingIsAnsweredWithTheSameEightBytes) {
  Start();
  SimClient& a = Connect();
  const Frame eight = core::HexDecode("0102030405060708").value();
  Send(a, FrameType::kPing, eight);
  EXPECT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, eight));
  Frame longer(1000, 0xee);
  std::copy(eight.begin(), eight.end(), longer.begin());
  Send(a, FrameType::kPing, longer);
  EXPECT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, eight));
}

TEST_P(RelayShardTest, OnePongWaitsAtATime) {
  Start();
  SimClient& a = Connect();
  a.socket().window = 0;  // takes nothing
  Frame ping(8, 1);
  Send(a, FrameType::kPing, ping);
  world_->Run(core::Millis(5));  // being sent
  for (std::uint8_t i = 2; i < 20; ++i) Send(a, FrameType::kPing, Frame(8, i));
  world_->Run(core::Millis(5));
  a.socket().window = 1 << 20;
  EXPECT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, Frame(8, 1)));
  EXPECT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, Frame(8, 2)));
  EXPECT_TRUE(world_->Silent(a));
}

TEST_P(RelayShardTest, KeepAliveComesEverySixtyToSixtyFiveSeconds) {
  Start();
  SimClient& a = Connect();
  std::vector<core::Instant> times;
  const core::Instant start = world_->now();
  for (int i = 0; i < 3; ++i) {
    core::Instant limit = world_->now() + core::Seconds(70);
    while (a.frames().empty() && world_->now() < limit) {
      world_->Skip(core::Millis(100));
      a.Read(1 << 20, world_->aead());
    }
    ASSERT_FALSE(a.frames().empty());
    EXPECT_EQ(a.frames().front(), sim::MakeFrame(FrameType::kKeepAlive, {}));
    a.frames().pop_front();
    times.push_back(world_->now());
  }
  EXPECT_GE(times[0] - start, core::Millis(59'900));
  EXPECT_LE(times[0] - start, core::Millis(65'300));
  const core::Duration first = times[1] - times[0];
  const core::Duration second = times[2] - times[1];
  EXPECT_GE(first, core::Millis(59'800));
  EXPECT_LE(first, core::Millis(65'300));
  EXPECT_LT(std::max(first, second) - std::min(first, second), core::Millis(400)) << "drawn once";
}

TEST_P(RelayShardTest, EveryKeepAliveSamplesTheRoundTripTime) {
  Start();
  for (int i = 0; i < 4; ++i) Connect();
  const auto sampled = [&] {
    return world_->Sum([](const ShardMetrics& m) {
      return m.rtt[static_cast<std::size_t>(RttClass::k20)].Value() +
             m.rtt[static_cast<std::size_t>(RttClass::k150)].Value();
    });
  };
  world_->Skip(core::Seconds(59));
  EXPECT_EQ(sampled(), 0u);
  world_->Skip(core::Seconds(7));
  EXPECT_EQ(sampled(), 4u);
  EXPECT_EQ(sampled(), world_->Sum([](const ShardMetrics& m) { return m.keep_alives.Value(); }));
}

TEST_P(RelayShardTest, UnknownFramesAreSkippedOfAnyLength) {
  Start();
  SimClient& a = Connect();
  for (const int type : {1, 2, 3, 5, 6, 8, 9, 0x13, 0x14, 0x15, 0x16, 0xff}) {
    Send(a, static_cast<FrameType>(type), Frame(static_cast<std::size_t>(type) * 500, 4));
  }
  Send(a, FrameType::kPing, Frame(8, 3));
  EXPECT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, Frame(8, 3)));
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.unknown_frames.Value(); }), 12u);
}

TEST_P(RelayShardTest, FramesOfWrongLengthsCloseTheConnection) {
  Start();
  const std::pair<FrameType, std::size_t> wrong[] = {
      {FrameType::kSendPacket, 31},   {FrameType::kPing, 7},          {FrameType::kPing, 1001},
      {FrameType::kNotePreferred, 0}, {FrameType::kNotePreferred, 2}, {FrameType::kWatchConns, 1},
      {FrameType::kClosePeer, 31}};
  std::uint64_t closed = 0;
  for (const auto& [type, size] : wrong) {
    SimClient& a = Connect();
    Send(a, type, Frame(size, 1));
    EXPECT_TRUE(world_->RunUntilClosed(a, core::Millis(100)));
    EXPECT_EQ(world_->Closed(CloseReason::kProtocolError), ++closed);
  }
}

TEST_P(RelayShardTest, MeshFramesNeedMeshRights) {
  Start();
  SimClient& b = Connect();
  const Frame forward(70, 1);
  std::uint64_t closed = 0;
  for (int i = 0; i < 3; ++i) {
    SimClient& a = Connect();
    if (i == 0) Send(a, FrameType::kWatchConns, {});
    if (i == 1) Send(a, FrameType::kClosePeer, b.key().raw);
    if (i == 2) Send(a, FrameType::kForwardPacket, forward);
    EXPECT_TRUE(world_->RunUntilClosed(a, core::Millis(100)));
    EXPECT_EQ(world_->Closed(CloseReason::kProtocolError), ++closed);
  }
  EXPECT_FALSE(b.closed());
}

TEST_P(RelayShardTest, HomeFlagIsCountedOncePerChange) {
  Start();
  SimClient& a = Connect();
  const auto home = [&] {
    world_->Run(core::Millis(3));
    return world_->Sum([](const ShardMetrics& m) { return m.home_connections.Value(); });
  };
  const auto moves = [&](auto member) {
    return world_->Sum([&](const ShardMetrics& m) { return (m.*member).Value(); });
  };
  Send(a, FrameType::kNotePreferred, Frame{1});
  EXPECT_EQ(home(), 1u);
  Send(a, FrameType::kNotePreferred, Frame{1});
  EXPECT_EQ(home(), 1u);
  Send(a, FrameType::kNotePreferred, Frame{0});
  EXPECT_EQ(home(), 0u);
  EXPECT_EQ(moves(&ShardMetrics::home_moves_in), 0u) << "shortly after connecting";
  world_->Skip(core::Seconds(6));
  Send(a, FrameType::kNotePreferred, Frame{2});
  EXPECT_EQ(home(), 1u);
  EXPECT_EQ(moves(&ShardMetrics::home_moves_in), 1u);
  a.Close();
  EXPECT_EQ(home(), 0u);
  EXPECT_EQ(moves(&ShardMetrics::home_moves_out), 0u);
}

TEST_P(RelayShardTest, AFrameCutAtEveryByteArrivesWhole) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  const Frame frame = sim::SendPacketFrame(b.key(), Text("cut"));
  const Frame ping = sim::MakeFrame(FrameType::kPing, Frame(8, 5));
  for (std::size_t cut = 1; cut < frame.size(); ++cut) {
    Frame first(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(cut));
    world_->Send(a, first);
    world_->Run(core::Millis(1));
    Frame rest(frame.begin() + static_cast<std::ptrdiff_t>(cut), frame.end());
    rest.insert(rest.end(), ping.begin(), ping.end());
    world_->Send(a, rest);
    ASSERT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("cut"))) << cut;
    ASSERT_EQ(world_->Receive(a), sim::MakeFrame(FrameType::kPong, Frame(8, 5))) << cut;
  }
}

}  // namespace
}  // namespace ringscale::relay

// What a relay shard does for its clients, on the simulated ring without faults:
// the rules that upstream's tests state, one by one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/base/hex.h"
#include "relay/wire/frame.h"
#include "tests/sim/relay_world.h"

namespace ringscale::relay {
namespace {

using sim::ConnectOptions;
using sim::Frame;
using sim::RelayWorld;
using sim::SimClient;
using sim::WorldOptions;

Frame Text(std::string_view text) {
  return {text.begin(), text.end()};
}

Frame Disco() {
  Frame packet(kMinDiscoBytes + 10, 7);
  std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), packet.begin());
  return packet;
}

Frame RecvPacket(const core::NodePublic& from, core::Bytes packet) {
  Frame payload(from.raw.begin(), from.raw.end());
  payload.insert(payload.end(), packet.begin(), packet.end());
  return sim::MakeFrame(FrameType::kRecvPacket, payload);
}

Frame PeerGone(const core::NodePublic& key, PeerGoneReason reason) {
  Frame payload(key.raw.begin(), key.raw.end());
  payload.push_back(static_cast<std::uint8_t>(reason));
  return sim::MakeFrame(FrameType::kPeerGone, payload);
}

FrameType TypeOf(const Frame& frame) {
  return static_cast<FrameType>(frame.at(0));
}

core::NodePublic KeyIn(const Frame& frame) {
  core::NodePublic key;
  std::copy_n(frame.begin() + kHeaderBytes, 32, key.raw.begin());
  return key;
}

// Everything runs plain and with TLS records, on one shard and on two.
struct Variant {
  bool tls;
  std::uint16_t shards;
};

class RelayShardTest : public testing::TestWithParam<Variant> {
 protected:
  void Start(WorldOptions options = {}) {
    options.shards = GetParam().shards;
    world_ = std::make_unique<RelayWorld>(options);
  }
  SimClient& Connect(ConnectOptions options = {}) {
    options.tls = GetParam().tls;
    SimClient& client = world_->Connect(options);
    world_->Run(core::Millis(3));
    return client;
  }
  SimClient& ConnectAs(const core::NodePublic& key, ConnectOptions options = {}) {
    options.tls = GetParam().tls;
    SimClient& client = world_->Connect(key, options);
    world_->Run(core::Millis(3));
    return client;
  }
  SimClient& Mesh() { return Connect({.can_mesh = true}); }
  void Send(SimClient& client, FrameType type, core::Bytes payload) {
    world_->Send(client, sim::MakeFrame(type, payload));
  }
  void SendPacket(SimClient& from, SimClient& to, core::Bytes packet) {
    world_->SendPacket(from, to.key(), packet);
  }

  std::unique_ptr<RelayWorld> world_;
};

INSTANTIATE_TEST_SUITE_P(All, RelayShardTest,
                         testing::Values(Variant{false, 1}, Variant{true, 1}, Variant{false, 2},
                                         Variant{true, 2}),
                         [](const auto& test) {
                           return std::string(test.param.tls ? "Tls" : "Plain") +
                                  std::to_string(test.param.shards) +
                                  (test.param.shards == 1 ? "Shard" : "Shards");
                         });

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

TEST_P(RelayShardTest, ThoseWhoReceivedFromALeaverAreTold) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  SimClient& c = Connect();
  SendPacket(a, b, Text("1"));
  SendPacket(c, a, Text("2"));
  world_->Receive(b);
  world_->Receive(a);
  a.Close();
  EXPECT_EQ(world_->Receive(b), PeerGone(a.key(), PeerGoneReason::kDisconnected));
  EXPECT_TRUE(world_->Silent(c)) << "it only sent";
  // b left before: nobody to tell.
  SendPacket(c, b, Text("3"));
  world_->Receive(b);
  b.Close();
  world_->Run(core::Millis(5));
  c.Close();
  world_->Run(core::Millis(5));
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.peer_gone_disconnected.Value(); }),
            1u);
}

TEST_P(RelayShardTest, PeerGoneWaitsForTheLastOfSeveralConnections) {
  Start();
  SimClient& b = Connect();
  SimClient& a1 = Connect();
  SimClient& a2 = ConnectAs(a1.key());
  SendPacket(a1, b, Text("1"));
  world_->Receive(b);
  a1.Close();
  EXPECT_TRUE(world_->Silent(b));
  a2.Close();
  EXPECT_EQ(world_->Receive(b), PeerGone(a1.key(), PeerGoneReason::kDisconnected));
}

// --- several connections of one key ---

TEST_P(RelayShardTest, TheConnectionThatSpokeLastGetsThePackets) {
  Start();
  SimClient& b = Connect();
  SimClient& a1 = Connect();
  SimClient& a2 = ConnectAs(a1.key());
  const auto goes_to = [&](SimClient& expected, SimClient& other) {
    SendPacket(b, a1, Text("x"));
    EXPECT_EQ(world_->Receive(expected), RecvPacket(b.key(), Text("x")));
    EXPECT_TRUE(world_->Silent(other));
  };
  goes_to(a2, a1);
  Send(a1, FrameType::kNotePreferred, Frame{0});
  world_->Run(core::Millis(3));
  goes_to(a1, a2);
  Send(a2, static_cast<FrameType>(0x99), Frame(3, 1));  // even a frame that is skipped
  world_->Run(core::Millis(3));
  goes_to(a2, a1);
  // Pings of the inactive one are answered on it.
  a2.Close();
  world_->Run(core::Millis(3));
  SendPacket(b, a1, Text("y"));
  EXPECT_EQ(world_->Receive(a1), RecvPacket(b.key(), Text("y")));
}

TEST_P(RelayShardTest, DuplicatesAreCounted) {
  Start();
  SimClient& a1 = Connect();
  SimClient& a2 = ConnectAs(a1.key());
  const auto gauge = [&](auto member) {
    world_->Run(core::Millis(3));
    return world_->Sum([&](const ShardMetrics& m) { return (m.*member).Value(); });
  };
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_keys), 1u);
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_connections), 2u);
  SimClient& a3 = ConnectAs(a1.key());
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_connections), 3u);
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_connections_total), 2u);
  EXPECT_EQ(gauge(&ShardMetrics::connections), 3u);
  a3.Close();
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_connections), 2u);
  a1.Close();
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_connections), 0u);
  EXPECT_EQ(gauge(&ShardMetrics::duplicate_keys), 0u);
  a2.Close();
  EXPECT_EQ(gauge(&ShardMetrics::connections), 0u);
  EXPECT_EQ(world_->presence(),
            (std::vector<std::pair<core::NodePublic, bool>>{{a1.key(), true}, {a1.key(), false}}));
}

TEST_P(RelayShardTest, WhoeverOfADuplicateKeyLeavesSomebodyStaysActive) {
  Start();
  SimClient& b = Connect();
  SimClient& a1 = Connect();
  const core::NodePublic key = a1.key();
  SimClient& a2 = ConnectAs(key);
  SimClient& a3 = ConnectAs(key);
  a1.Close();  // leaves a2, which never spoke, and a3
  world_->Run(core::Millis(3));
  SimClient& a4 = ConnectAs(key);
  a3.Close();
  world_->Run(core::Millis(3));
  SimClient& a5 = ConnectAs(key);
  a4.Close();
  world_->Run(core::Millis(3));
  // a2 and a5 are left; a5 is active. Another joins and leaves: its predecessor
  // in the history is a5.
  SendPacket(b, a5, Text("x"));
  EXPECT_EQ(world_->Receive(a5), RecvPacket(b.key(), Text("x")));
  EXPECT_EQ(world_->Dropped(DropReason::kDupClient), 0u);
  EXPECT_FALSE(a2.closed());
}

// --- watchers ---

std::multiset<core::NodePublic> Keys(const std::vector<Frame>& frames, FrameType type) {
  std::multiset<core::NodePublic> keys;
  for (const Frame& frame : frames) {
    if (TypeOf(frame) == type) keys.insert(KeyIn(frame));
  }
  return keys;
}

std::vector<Frame> ReceiveAll(RelayWorld& world, SimClient& client) {
  std::vector<Frame> frames;
  for (;;) {
    Frame frame = world.Receive(client, core::Millis(20));
    if (frame.empty()) return frames;
    frames.push_back(std::move(frame));
  }
}

TEST_P(RelayShardTest, AWatcherHearsOfAllAndThenOfChanges) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  SimClient& w1 = Mesh();
  SimClient& w2 = Mesh();
  Send(w1, FrameType::kWatchConns, {});
  auto frames = ReceiveAll(*world_, w1);
  EXPECT_EQ(frames.size(), 4u);
  EXPECT_EQ(Keys(frames, FrameType::kPeerPresent),
            (std::multiset<core::NodePublic>{a.key(), b.key(), w1.key(), w2.key()}));
  for (const Frame& frame : frames) {
    ASSERT_EQ(frame.size(), kPeerPresentFrameBytes);
    const bool mesh = KeyIn(frame) == w1.key() || KeyIn(frame) == w2.key();
    EXPECT_EQ(frame.back(), mesh ? kPresentMeshPeer : kPresentRegular);
  }
  Send(w2, FrameType::kWatchConns, {});
  EXPECT_EQ(ReceiveAll(*world_, w2).size(), 4u);
  EXPECT_TRUE(world_->Silent(w1)) << "watching is no news";

  SimClient& c = Connect();
  for (SimClient* w : {&w1, &w2}) {
    const Frame frame = world_->Receive(*w);
    ASSERT_FALSE(frame.empty());
    EXPECT_EQ(TypeOf(frame), FrameType::kPeerPresent);
    EXPECT_EQ(KeyIn(frame), c.key());
  }
  a.Close();
  for (SimClient* w : {&w1, &w2}) {
    EXPECT_EQ(world_->Receive(*w), PeerGone(a.key(), PeerGoneReason::kDisconnected));
    EXPECT_TRUE(world_->Silent(*w));
  }
  w1.Close();
  EXPECT_EQ(world_->Receive(w2), PeerGone(w1.key(), PeerGoneReason::kDisconnected));
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.watchers.Value(); }), 1u);
}

TEST_P(RelayShardTest, EveryRegistrationIsNewsButOnlyTheLastLeaveIs) {
  Start();
  SimClient& w = Mesh();
  Send(w, FrameType::kWatchConns, {});
  ReceiveAll(*world_, w);
  SimClient& a1 = Connect();
  SimClient& a2 = ConnectAs(a1.key());
  EXPECT_EQ(Keys(ReceiveAll(*world_, w), FrameType::kPeerPresent),
            (std::multiset<core::NodePublic>{a1.key(), a1.key()}));
  a1.Close();
  EXPECT_TRUE(world_->Silent(w));
  a2.Close();
  EXPECT_EQ(world_->Receive(w), PeerGone(a1.key(), PeerGoneReason::kDisconnected));
}

TEST_P(RelayShardTest, PresenceCarriesAddressAndFlags) {
  Start();
  SimClient& w = Mesh();
  Send(w, FrameType::kWatchConns, {});
  ReceiveAll(*world_, w);
  Connect({.is_prober = true,
           .not_ideal = true,
           .remote = core::SocketAddress::Parse("192.0.2.33:32853").value()});
  const Frame frame = world_->Receive(w);
  ASSERT_EQ(frame.size(), kPeerPresentFrameBytes);
  EXPECT_EQ(core::HexEncode(core::Bytes(frame).subspan(37)),
            "00000000000000000000ffffc0000221"
            "8055"
            "0c");
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.not_ideal_connections.Value(); }), 1u);
}

TEST_P(RelayShardTest, ManyClientsAreReplayedToAWatcher) {
  Start();
  std::multiset<core::NodePublic> keys;
  for (int i = 0; i < 300; ++i) keys.insert(Connect().key());
  SimClient& w = Mesh();
  keys.insert(w.key());
  Send(w, FrameType::kWatchConns, {});
  EXPECT_EQ(Keys(ReceiveAll(*world_, w), FrameType::kPeerPresent), keys);
}

TEST_P(RelayShardTest, WatchingOneselfIsIgnored) {
  WorldOptions options;
  options.server_key.raw.fill(0x42);
  Start(options);
  SimClient& self = ConnectAs(options.server_key, {.can_mesh = true});
  Send(self, FrameType::kWatchConns, {});
  EXPECT_TRUE(world_->Silent(self));
  EXPECT_FALSE(self.closed());
}

TEST_P(RelayShardTest, ClosePeerClosesAllConnectionsOfTheKey) {
  Start();
  SimClient& w = Mesh();
  SimClient& a1 = Connect();
  SimClient& a2 = ConnectAs(a1.key());
  SimClient& b = Connect();
  core::NodePublic nobody;
  nobody.raw.fill(1);
  Send(w, FrameType::kClosePeer, nobody.raw);
  Send(w, FrameType::kClosePeer, a1.key().raw);
  EXPECT_TRUE(world_->RunUntilClosed(a1, core::Millis(100)));
  EXPECT_TRUE(world_->RunUntilClosed(a2, core::Millis(100)));
  EXPECT_FALSE(b.closed());
  EXPECT_FALSE(w.closed());
  EXPECT_EQ(world_->Closed(CloseReason::kClosedByPeer), 2u);
}

TEST_P(RelayShardTest, ForwardedPacketsAreDeliveredHereOrNotAtAll) {
  Start();
  SimClient& w = Mesh();
  SimClient& b = Connect();
  core::NodePublic far;
  far.raw.fill(0x33);
  const auto forward = [&](const core::NodePublic& to, core::Bytes packet) {
    Frame payload(far.raw.begin(), far.raw.end());
    payload.insert(payload.end(), to.raw.begin(), to.raw.end());
    payload.insert(payload.end(), packet.begin(), packet.end());
    Send(w, FrameType::kForwardPacket, payload);
  };
  forward(b.key(), Text("from afar"));
  EXPECT_EQ(world_->Receive(b), RecvPacket(far, Text("from afar")));
  core::NodePublic nobody;
  nobody.raw.fill(1);
  forward(nobody, Text("x"));
  EXPECT_TRUE(world_->Silent(w));
  forward(nobody, Disco());
  EXPECT_EQ(world_->Receive(w), PeerGone(nobody, PeerGoneReason::kNotHere));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDestOnFwd), 2u);
}

// --- slow and silent clients ---

TEST_P(RelayShardTest, ABlockedReceiverDelaysNobodyElse) {
  Start();
  SimClient& alice = Connect();
  SimClient& bob = Connect();
  SimClient& cathy = Connect();
  cathy.socket().window = 0;
  for (int i = 0; i < 100; ++i) SendPacket(alice, cathy, Frame(1400, 1));
  SendPacket(alice, bob, Text("hi"));
  EXPECT_EQ(world_->Receive(bob, core::Millis(20)), RecvPacket(alice.key(), Text("hi")));
}

TEST_P(RelayShardTest, AReceiverThatTakesNothingIsClosedAfterTheWriteTimeout) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  SendPacket(a, b, Text("x"));
  world_->Skip(core::Millis(1900));
  EXPECT_FALSE(b.closed());
  world_->Skip(core::Millis(200));
  EXPECT_TRUE(b.closed());
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 1u);
  EXPECT_EQ(world_->Dropped(DropReason::kWriteError), 1u);
}

TEST_P(RelayShardTest, AMeshPeerHasThirtySeconds) {
  Start();
  SimClient& a = Connect();
  SimClient& m = Mesh();
  m.socket().window = 0;
  SendPacket(a, m, Text("x"));
  world_->Skip(core::Seconds(29));
  EXPECT_FALSE(m.closed());
  world_->Skip(core::Seconds(2));
  EXPECT_TRUE(m.closed());
}

TEST_P(RelayShardTest, ASlowReceiverThatMakesProgressIsKept) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 1000;
  for (int i = 0; i < 100; ++i) SendPacket(a, b, Frame(1400, 1));
  for (int i = 0; i < 100; ++i) {
    world_->Skip(core::Millis(300));
    b.Read(500, world_->aead());
    ASSERT_FALSE(b.closed());
  }
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 0u);
  EXPECT_EQ(b.complaint(), "");
}

TEST_P(RelayShardTest, OldPacketsAreDroppedFreshOnesArrive) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  SendPacket(a, b, Text("in flight"));
  world_->Skip(core::Millis(10));
  SendPacket(a, b, Text("old"));
  world_->Skip(core::Millis(1200));
  SendPacket(a, b, Text("fresh"));
  world_->Skip(core::Millis(10));
  b.socket().window = 1 << 20;
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("in flight")));
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("fresh")));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 1u);
}

TEST_P(RelayShardTest, TheTimeInQueuesIsAnAverageThatForgets) {
  WorldOptions options;
  options.limits.queue.max_age_ms = 1000;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  const auto age_ms = [&] {
    return static_cast<double>(
               world_->Sum([](const ShardMetrics& m) { return m.queue_age_us.Value(); })) /
           1000;
  };
  for (int i = 0; i < 20; ++i) {
    SendPacket(a, b, Text("at once"));
    world_->Run(core::Millis(1));
  }
  EXPECT_LT(age_ms(), 2);
  b.socket().window = 0;
  SendPacket(a, b, Text("in flight"));
  world_->Skip(core::Millis(10));
  SendPacket(a, b, Text("waits"));
  world_->Skip(core::Millis(500));
  b.socket().window = 1 << 20;
  world_->Receive(b);
  world_->Run(core::Millis(20));
  // A tenth of the half second that one send has waited.
  EXPECT_GT(age_ms(), 45);
  EXPECT_LT(age_ms(), 60);
  for (int i = 0; i < 60; ++i) {
    SendPacket(a, b, Text("at once"));
    world_->Run(core::Millis(1));
  }
  EXPECT_LT(age_ms(), 3);
}

TEST_P(RelayShardTest, SendsAreCountedByWhatTheyCarry) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  SendPacket(a, b, Text("in flight"));
  world_->Run(core::Millis(5));
  for (int i = 0; i < 12; ++i) SendPacket(a, b, Text("behind it"));
  world_->Run(core::Millis(5));
  b.socket().window = 1 << 20;
  ReceiveAll(*world_, b);
  core::HistogramValues values;
  world_->Sum([&](const ShardMetrics& m) {
    m.packets_per_send.AddTo(values);
    return 0;
  });
  EXPECT_EQ(values.sum, 13u);
  EXPECT_EQ(values.counts[1], 1u);   // one packet
  EXPECT_EQ(values.counts[11], 1u);  // eleven to fifteen
}

// A receiver that has stopped keeps no more than what came in the last moment.
TEST_P(RelayShardTest, OldPacketsMakeRoomWhileNothingCanBeSent) {
  WorldOptions options;
  options.limits.queue.max_age_ms = 200;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  SendPacket(a, b, Text("in flight"));
  world_->Run(core::Millis(3));
  for (int i = 0; i < 50; ++i) SendPacket(a, b, Frame(1000, 1));
  world_->Skip(core::Millis(300));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 0u);
  SendPacket(a, b, Text("fresh"));
  world_->Run(core::Millis(3));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 50u);
}

TEST_P(RelayShardTest, DiscoOvertakesAQueueOfData) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  for (int i = 0; i < 20; ++i) {
    SendPacket(a, b, Frame(1400, 1));
    world_->Run(core::Millis(1));
  }
  SendPacket(a, b, Disco());
  world_->Run(core::Millis(5));
  b.socket().window = 1 << 20;
  const auto frames = ReceiveAll(*world_, b);
  ASSERT_EQ(frames.size(), 21u);
  const auto disco = std::find_if(frames.begin(), frames.end(), [](const Frame& frame) {
    return frame.size() == kPacketFrameOverhead + Disco().size();
  });
  EXPECT_LT(disco - frames.begin(), 5) << "only what was in flight is ahead of it";
}

TEST_P(RelayShardTest, ASendCarriesWhatTheReceiverTakesInItsTime) {
  WorldOptions options;
  options.limits.batch = {.bytes = 64'000, .pieces = 512, .time_ms = 20, .least_bytes = 4'000};
  options.limits.queue.max_age_ms = 100'000;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  // The size of the first send of a queue of 100 kB, which stays in flight.
  const auto first_send = [&] {
    b.socket().window = 0;
    SendPacket(a, b, Text("x"));
    world_->Run(core::Millis(3));
    for (int i = 0; i < 100; ++i) SendPacket(a, b, Frame(1000, 1));
    world_->Run(core::Millis(3));
    b.socket().window = 2000;
    world_->Run(core::Millis(3));
    return b.socket().send ? b.socket().send->total : 0;
  };
  EXPECT_LT(first_send(), 6'000u) << "of a receiver that nothing is known of";
  b.socket().window = 1 << 20;
  EXPECT_EQ(ReceiveAll(*world_, b).size(), 101u);
  EXPECT_GE(first_send(), 64'000u) << "of one that has taken everything at once";
  for (int i = 0; i < 80; ++i) {
    world_->Run(core::Millis(40));
    b.Read(1000, world_->aead());
  }
  ASSERT_TRUE(b.socket().send);
  EXPECT_LT(b.socket().send->total, 6'000u) << "of one that takes 500 bytes in 20 ms";
  b.socket().window = 1 << 20;
  EXPECT_GT(ReceiveAll(*world_, b).size(), 10u);
  EXPECT_EQ(b.complaint(), "");
}

TEST_P(RelayShardTest, SlowReceiversPinNoReceiveBuffers) {
  WorldOptions options;
  options.ring = {.buffer_count = 16, .buffer_size = 4096};
  Start(options);
  SimClient& a = Connect();
  SimClient& z = Connect();
  std::vector<SimClient*> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(&Connect());
    slow.back()->socket().window = 0;
  }
  for (int round = 0; round < 3; ++round) {
    for (SimClient* s : slow) {
      SendPacket(a, *s, Frame(1000, 1));
      world_->Run(core::Millis(1));
    }
  }
  SendPacket(a, z, Text("still here"));
  EXPECT_EQ(world_->Receive(z), RecvPacket(a.key(), Text("still here")));
  for (std::size_t i = 0; i < world_->shard_count(); ++i) {
    EXPECT_GE(world_->shard(i).core().pool().receive_free(), 4u);
  }
  EXPECT_GT(world_->Sum([](const ShardMetrics& m) {
    return m.bytes_settled.Value() + m.bytes_lent_by_copy.Value();
  }),
            0u);
}

TEST_P(RelayShardTest, TheLaneBoundDropsTheOldestOfASlowReceiver) {
  WorldOptions options;
  options.limits.queue.bytes[static_cast<std::size_t>(Lane::kData)] = 20'000;
  options.times.write_timeout = core::Seconds(0);
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 0;
  for (std::uint32_t i = 0; i < 100; ++i) {
    Frame packet(1000);
    core::StoreBe32(packet.data(), i);
    SendPacket(a, b, packet);
    world_->Run(core::Millis(1));
  }
  EXPECT_GT(world_->Dropped(DropReason::kQueueHead), 50u);
  b.socket().window = 1 << 20;
  const auto frames = ReceiveAll(*world_, b);
  EXPECT_EQ(core::LoadBe32(frames.back().data() + kPacketFrameOverhead), 99u);
  EXPECT_EQ(frames.size() + world_->Dropped(DropReason::kQueueHead), 100u);
}

// --- limits, revocation, the end ---

TEST_P(RelayShardTest, BeyondTheConnectionLimitClientsAreRefused) {
  WorldOptions options;
  options.limits.connections = 3;
  Start(options);
  std::vector<SimClient*> clients;
  for (int i = 0; i < 4 * GetParam().shards; ++i) clients.push_back(&Connect());
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.connections.Value(); }),
            3u * GetParam().shards);
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.refused.Value(); }),
            GetParam().shards);
  clients[0]->Close();
  world_->Run(core::Millis(5));
  EXPECT_FALSE(Connect().closed());
}

TEST_P(RelayShardTest, ARevokedKeyIsClosed) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  world_->CloseKey(a.key());
  EXPECT_TRUE(world_->RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(a.got_close_notify(), GetParam().tls);
  EXPECT_EQ(world_->Closed(CloseReason::kRevoked), 1u);
  EXPECT_FALSE(b.closed());
}

TEST_P(RelayShardTest, StoppingSendsWhatIsQueuedAndClosesEverybody) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 600;
  for (int i = 0; i < 20; ++i) SendPacket(a, b, Frame(500, 1));
  world_->Run(core::Millis(3));
  world_->Stop(core::Seconds(1));
  std::size_t frames = 0;
  for (int i = 0; i < 5000 && !world_->stopped(); ++i) {
    world_->Step();
    b.Read(1 << 20, world_->aead());
    for (const Frame& frame : b.frames()) frames += TypeOf(frame) == FrameType::kRecvPacket ? 1 : 0;
    b.frames().clear();
  }
  EXPECT_TRUE(world_->stopped());
  EXPECT_EQ(frames, 20u);
  a.Read(1000, world_->aead());
  EXPECT_TRUE(a.closed());
  EXPECT_TRUE(b.closed());
  EXPECT_EQ(a.got_close_notify(), GetParam().tls);
  EXPECT_EQ(b.complaint(), "");
}

TEST_P(RelayShardTest, AnIdleConnectionOwnsNothingBesideItself) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  SendPacket(a, b, Frame(3000, 1));
  world_->Receive(b);
  Send(a, FrameType::kPing, Frame(8, 1));
  world_->Receive(a);
  world_->Run(core::Millis(5));
  for (std::size_t i = 0; i < world_->shard_count(); ++i) {
    ShardCore& core = world_->shard(i).core();
    EXPECT_EQ(core.pool().cells_in_use(), 0u);
    EXPECT_EQ(core.pool().receive_free(), core.pool().receive_count());
    EXPECT_EQ(core.loans_outstanding(), 0u);
  }
  EXPECT_LE(sizeof(Connection), 448u);
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

// --- TLS records ---

class RelayTlsTest : public testing::Test {
 protected:
  RelayWorld world_{WorldOptions{}};
};

TEST_F(RelayTlsTest, RecordsCutAtEveryByteAreOpened) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  for (std::size_t cut = 1; cut < 60; ++cut) {
    // The client writes whole records; the network shows them in two parts.
    world_.SendPacket(a, b.key(), Text("abc"));
    auto& inbound = a.socket().inbound;
    const Frame held(inbound.begin() + static_cast<std::ptrdiff_t>(cut), inbound.end());
    inbound.resize(cut);
    world_.Run(core::Millis(1));
    a.SendRaw(held);
    ASSERT_EQ(world_.Receive(b), RecvPacket(a.key(), Text("abc"))) << cut;
  }
}

TEST_F(RelayTlsTest, ADamagedRecordEndsTheConnectionWithAnAlert) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  world_.SendPacket(a, b.key(), Text("abc"));
  a.socket().inbound.back() ^= 1;
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(a.complaint(), "TLS: alert from the peer");
  EXPECT_EQ(world_.Closed(CloseReason::kTlsError), 1u);
  EXPECT_FALSE(b.closed());
  EXPECT_TRUE(world_.Silent(b));
}

TEST_F(RelayTlsTest, PlaintextInsteadOfRecordsEndsTheConnection) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  a.SendRaw(Text("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(world_.Closed(CloseReason::kTlsError), 1u);
}

TEST_F(RelayTlsTest, KeyUpdatesAreFollowedAndAnsweredOnce) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  a.SendKeyUpdate(world_.aead(), true);
  a.SendKeyUpdate(world_.aead(), true);
  world_.Run(core::Millis(3));
  EXPECT_FALSE(a.socket().outbound.empty()) << "answered although nothing was to be sent";
  world_.SendPacket(a, b.key(), Text("new key"));
  EXPECT_EQ(world_.Receive(b), RecvPacket(a.key(), Text("new key")));
  world_.SendPacket(b, a.key(), Text("also"));
  EXPECT_EQ(world_.Receive(a), RecvPacket(b.key(), Text("also")));
  EXPECT_EQ(a.complaint(), "");
}

TEST_F(RelayTlsTest, AFloodOfKeyUpdatesIsCutOff) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  for (int i = 0; i < 100; ++i) a.SendKeyUpdate(world_.aead(), true);
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
}

TEST_F(RelayTlsTest, CloseNotifyIsAnEnd) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  a.SendCloseNotify(world_.aead());
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(world_.Closed(CloseReason::kClientClosed), 1u);
  EXPECT_TRUE(a.got_close_notify());
}

TEST_F(RelayTlsTest, LeftoverCiphertextOfTheHandshakeIsOpenedFirst) {
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  sim::TlsPair pair = sim::MakeTlsPair(world_.rng());
  // A record that arrived in part together with the login.
  const Frame frame = sim::SendPacketFrame(b.key(), Text("handover"));
  std::vector<std::uint8_t> record(core::tls::SealedSize(*pair.client, frame.size()));
  const core::Bytes pieces[] = {frame};
  ASSERT_EQ(core::tls::SealRecords(*pair.client, world_.aead(), pieces, record), record.size());

  sim::SimSocket& socket = world_.net().Open();
  LoggedInClient client;
  client.fd = core::Fd(socket.fd);
  client.key = sim::RandomKey(world_.rng());
  client.tls = std::move(pair.server);
  client.ciphertext.assign(record.begin(), record.begin() + 30);
  const core::NodePublic key = client.key;
  socket.inbound.assign(record.begin() + 30, record.end());
  world_.Add(std::move(client));
  EXPECT_EQ(world_.Receive(b), RecvPacket(key, Text("handover")));
}

}  // namespace
}  // namespace ringscale::relay

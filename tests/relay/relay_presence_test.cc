// Who is told of whom: peers that leave, several connections of one key, watchers.
#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "core/base/hex.h"
#include "tests/relay/shard_support.h"

namespace ringscale::relay {
namespace {

using RelayPresence = RelayShardTest;
INSTANTIATE_TEST_SUITE_P(All, RelayPresence, AllVariants(), NameOf);

TEST_P(RelayPresence, ThoseWhoReceivedFromALeaverAreTold) {
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

TEST_P(RelayPresence, PeerGoneWaitsForTheLastOfSeveralConnections) {
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

TEST_P(RelayPresence, TheConnectionThatSpokeLastGetsThePackets) {
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

TEST_P(RelayPresence, DuplicatesAreCounted) {
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

TEST_P(RelayPresence, WhoeverOfADuplicateKeyLeavesSomebodyStaysActive) {
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

TEST_P(RelayPresence, AWatcherHearsOfAllAndThenOfChanges) {
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

TEST_P(RelayPresence, EveryRegistrationIsNewsButOnlyTheLastLeaveIs) {
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

TEST_P(RelayPresence, PresenceCarriesAddressAndFlags) {
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

TEST_P(RelayPresence, ManyClientsAreReplayedToAWatcher) {
  Start();
  std::multiset<core::NodePublic> keys;
  for (int i = 0; i < 300; ++i) keys.insert(Connect().key());
  SimClient& w = Mesh();
  keys.insert(w.key());
  Send(w, FrameType::kWatchConns, {});
  EXPECT_EQ(Keys(ReceiveAll(*world_, w), FrameType::kPeerPresent), keys);
}

TEST_P(RelayPresence, WatchingOneselfIsIgnored) {
  WorldOptions options;
  options.server_key.raw.fill(0x42);
  Start(options);
  SimClient& self = ConnectAs(options.server_key, {.can_mesh = true});
  Send(self, FrameType::kWatchConns, {});
  EXPECT_TRUE(world_->Silent(self));
  EXPECT_FALSE(self.closed());
}

TEST_P(RelayPresence, ClosePeerClosesAllConnectionsOfTheKey) {
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

TEST_P(RelayPresence, ForwardedPacketsAreDeliveredHereOrNotAtAll) {
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

}  // namespace
}  // namespace ringscale::relay

// Links to the other relays of a region, on the simulated ring.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/relay/mesh_support.h"

namespace ringscale::relay {
namespace {

class RelayLinks : public RelayMeshTest {
 protected:
  std::uint64_t MeshKeys() {
    return world_->Sum([](const ShardMetrics& m) { return m.mesh_keys.Value(); });
  }
};
INSTANTIATE_TEST_SUITE_P(All, RelayLinks, MeshVariants(), NameOf);

TEST_P(RelayLinks, PacketsForClientsOfAnotherRelayGoOverItsLink) {
  Start();
  SimClient& link = Link(0);
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  for (int i = 0; i < 4; ++i) {  // on every shard
    SimClient& client = Connect();
    world_->SendPacket(client, far, Text("to you"));
    EXPECT_EQ(world_->Receive(link), Forward(client.key(), far, Text("to you")));
  }
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.packets_forwarded_out.Value(); }), 4u);
  EXPECT_EQ(link.complaint(), "");
}

TEST_P(RelayLinks, TheLongestPacketIsForwardedWhole) {
  Start();
  SimClient& link = Link(1);
  SimClient& client = Connect();
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  const Frame packet(kMaxPacketBytes, 0x5a);
  world_->SendPacket(client, far, packet);
  EXPECT_EQ(world_->Receive(link), Forward(client.key(), far, packet));
}

TEST_P(RelayLinks, AClientOfOursWinsOverTheMesh) {
  Start();
  SimClient& link = Link(0);
  SimClient& sender = Connect();
  SimClient& near = Connect();
  Say(link, Present(near.key()));
  world_->SendPacket(sender, near.key(), Text("1"));
  EXPECT_EQ(world_->Receive(near), RecvPacket(sender.key(), Text("1")));
  EXPECT_TRUE(world_->Silent(link));
  world_->SendPacket(near, sender.key(), Text("2"));
  EXPECT_EQ(world_->Receive(sender), RecvPacket(near.key(), Text("2")));

  // It moves to the other relay: nobody here takes it for gone.
  near.Close();
  Settle();
  world_->SendPacket(sender, near.key(), Text("3"));
  EXPECT_EQ(world_->Receive(link), Forward(sender.key(), near.key(), Text("3")));
  EXPECT_TRUE(world_->Silent(sender));
  // And back.
  SimClient& again = world_->Connect(near.key(), {.tls = GetParam().tls});
  Settle();
  world_->SendPacket(sender, near.key(), Text("4"));
  EXPECT_EQ(world_->Receive(again), RecvPacket(sender.key(), Text("4")));
}

TEST_P(RelayLinks, OfSeveralLinksTheFirstOneStaysPreferred) {
  Start();
  SimClient& first = Link(2);
  SimClient& second = Link(0);
  SimClient& third = Link(1);
  SimClient& client = Connect();
  const core::NodePublic far = Stranger();
  for (SimClient* link : {&first, &second, &third, &first}) Say(*link, Present(far));
  const auto goes_to = [&](SimClient& link) {
    world_->SendPacket(client, far, Text("x"));
    return world_->Receive(link) == Forward(client.key(), far, Text("x"));
  };
  EXPECT_TRUE(goes_to(first));
  Say(third, PeerGone(far, PeerGoneReason::kDisconnected));
  EXPECT_TRUE(goes_to(first));
  Say(third, Present(far));
  Say(first, PeerGone(far, PeerGoneReason::kDisconnected));
  EXPECT_TRUE(goes_to(second));
  Say(first, PeerGone(far, PeerGoneReason::kDisconnected));  // not there any more: nothing happens
  second.Close();
  Settle();
  EXPECT_TRUE(goes_to(third));
  EXPECT_EQ(MeshKeys(), 1u);
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.multiforwarder_created.Value(); }),
            3u);
}

TEST_P(RelayLinks, WhoReceivedFromAKeyHearsWhenTheLastLinkLosesIt) {
  Start();
  SimClient& a = Link(0);
  SimClient& b = Link(1);
  SimClient& incoming = Connect({.can_mesh = true});
  SimClient& receiver = Connect();
  SimClient& other = Connect();
  const core::NodePublic far = Stranger();
  Say(a, Present(far));
  Say(b, Present(far));
  world_->Send(incoming, Forward(far, receiver.key(), Text("hello")));
  EXPECT_EQ(world_->Receive(receiver), RecvPacket(far, Text("hello")));
  Say(a, PeerGone(far, PeerGoneReason::kDisconnected));
  EXPECT_TRUE(world_->Silent(receiver));
  Say(b, PeerGone(far, PeerGoneReason::kNotHere));
  EXPECT_EQ(world_->Receive(receiver), PeerGone(far, PeerGoneReason::kDisconnected));
  EXPECT_TRUE(world_->Silent(other));
  world_->SendPacket(receiver, far, Text("gone"));
  Settle();
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDest), 1u);
  EXPECT_EQ(MeshKeys(), 0u);
}

TEST_P(RelayLinks, TheEndOfALinkForgetsItsKeys) {
  Start();
  SimClient& link = Link(1);
  SimClient& incoming = Connect({.can_mesh = true});
  SimClient& receiver = Connect();
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  Say(link, Present(Stranger()));
  world_->Send(incoming, Forward(far, receiver.key(), Text("hello")));
  EXPECT_EQ(world_->Receive(receiver), RecvPacket(far, Text("hello")));
  link.Reset();
  EXPECT_EQ(world_->Receive(receiver), PeerGone(far, PeerGoneReason::kDisconnected));
  EXPECT_EQ(world_->ended_links(), std::vector<std::uint8_t>{1});
  EXPECT_EQ(MeshKeys(), 0u);
  // The number can be used again.
  SimClient& again = Link(1);
  Say(again, Present(far));
  world_->SendPacket(receiver, far, Text("back"));
  EXPECT_EQ(world_->Receive(again), Forward(receiver.key(), far, Text("back")));
}

TEST_P(RelayLinks, WhatWasForwardedIsNotForwardedAgain) {
  Start();
  SimClient& link = Link(0);
  SimClient& incoming = Connect({.can_mesh = true});
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  Say(incoming, Forward(Stranger(), far, Text("round")));
  EXPECT_TRUE(world_->Silent(link));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDestOnFwd), 1u);
}

TEST_P(RelayLinks, OurOwnKeyOverThereIsNobody) {
  Start();
  SimClient& link = Link(0);
  Say(link, Present(server_key_));
  Say(link, Present(core::NodePublic{}));
  EXPECT_EQ(MeshKeys(), 0u);
  EXPECT_FALSE(link.closed());
}

TEST_P(RelayLinks, NewsCutAtEveryByteAreUnderstood) {
  Start();
  SimClient& link = Link(0);
  const core::NodePublic far = Stranger();
  Frame bytes = sim::MakeFrame(FrameType::kKeepAlive, {});
  const Frame health = sim::MakeFrame(FrameType::kHealth, Frame(300, 'x'));
  const Frame present = Present(far);
  bytes.insert(bytes.end(), health.begin(), health.end());
  bytes.insert(bytes.end(), present.begin(), present.end());
  for (const std::uint8_t byte : bytes) Say(link, {byte});
  EXPECT_EQ(MeshKeys(), 1u);
  const Frame ping = sim::MakeFrame(FrameType::kPing, Text("12345678"));
  Say(link, ping);
  EXPECT_EQ(world_->Receive(link), sim::MakeFrame(FrameType::kPong, Text("12345678")));
}

TEST_P(RelayLinks, AFrameOfAWrongLengthEndsTheLink) {
  for (const Frame& bad : {sim::MakeFrame(FrameType::kPeerPresent, Frame(31)),
                           sim::MakeFrame(FrameType::kPeerGone, Frame(kMaxPresenceBytes + 1)),
                           Frame{0x09, 0xff, 0xff, 0xff, 0xff}}) {
    Start();
    SimClient& link = Link(0);
    world_->Send(link, bad);
    EXPECT_TRUE(world_->RunUntilClosed(link, core::Millis(100)));
    EXPECT_EQ(world_->ended_links().size(), 1u);
  }
}

TEST_P(RelayLinks, ASilentLinkIsClosed) {
  Start();
  SimClient& link = Link(0);
  world_->Skip(core::Seconds(100));
  Say(link, sim::MakeFrame(FrameType::kKeepAlive, {}));
  world_->Skip(core::Seconds(100));
  EXPECT_FALSE(link.closed());
  world_->Skip(core::Seconds(30));
  EXPECT_TRUE(world_->RunUntilClosed(link, core::Millis(100)));
  EXPECT_EQ(world_->Closed(CloseReason::kMeshSilent), 1u);
}

}  // namespace
}  // namespace ringscale::relay

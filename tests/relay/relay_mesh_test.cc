// Links to the other relays of a region, drains, receive rates and reports, on the
// simulated ring.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <latch>
#include <memory>
#include <string>
#include <vector>

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

Frame Keyed(FrameType type, std::initializer_list<core::NodePublic> keys, core::Bytes rest) {
  Frame payload;
  for (const auto& key : keys) payload.insert(payload.end(), key.raw.begin(), key.raw.end());
  payload.insert(payload.end(), rest.begin(), rest.end());
  return sim::MakeFrame(type, payload);
}

Frame Present(const core::NodePublic& key) {
  return Keyed(FrameType::kPeerPresent, {key}, Frame(19, 1));
}

Frame Gone(const core::NodePublic& key, PeerGoneReason reason = PeerGoneReason::kDisconnected) {
  return Keyed(FrameType::kPeerGone, {key}, Frame{static_cast<std::uint8_t>(reason)});
}

Frame Forward(const core::NodePublic& from, const core::NodePublic& to, core::Bytes packet) {
  return Keyed(FrameType::kForwardPacket, {from, to}, packet);
}

Frame Received(const core::NodePublic& from, core::Bytes packet) {
  return Keyed(FrameType::kRecvPacket, {from}, packet);
}

struct Variant {
  bool tls;
  std::uint16_t shards;
};

class RelayMeshTest : public testing::TestWithParam<Variant> {
 protected:
  void Start(WorldOptions options = {}) {
    options.shards = GetParam().shards;
    server_key_.raw.fill(9);
    options.server_key = server_key_;
    world_ = std::make_unique<RelayWorld>(options);
  }
  SimClient& Connect(ConnectOptions options = {}) {
    options.tls = GetParam().tls;
    SimClient& client = world_->Connect(options);
    Settle();
    return client;
  }
  // The other relay's end of a link of ours.
  SimClient& Link(std::uint8_t number) { return Connect({.mesh_link = number}); }
  void Say(SimClient& peer, const Frame& frame) {
    world_->Send(peer, frame);
    Settle();
  }
  void Settle() { world_->Run(core::Millis(3)); }
  // How many frames it has, reading all the time.
  std::size_t ReceivedAfter(SimClient& client, core::Duration duration) {
    for (core::Duration done; done < duration; done = done + core::Millis(10)) {
      world_->Skip(core::Millis(10));
      client.Read(1 << 24, world_->aead());
    }
    return client.frames().size();
  }
  core::NodePublic Stranger() { return sim::RandomKey(world_->rng()); }
  std::uint64_t Keys() {
    return world_->Sum([](const ShardMetrics& m) { return m.mesh_keys.Value(); });
  }

  core::NodePublic server_key_;
  std::unique_ptr<RelayWorld> world_;
};

INSTANTIATE_TEST_SUITE_P(All, RelayMeshTest,
                         testing::Values(Variant{false, 1}, Variant{true, 1}, Variant{false, 3},
                                         Variant{true, 3}),
                         [](const auto& test) {
                           return std::string(test.param.tls ? "Tls" : "Plain") +
                                  std::to_string(test.param.shards);
                         });

TEST_P(RelayMeshTest, PacketsForClientsOfAnotherRelayGoOverItsLink) {
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

TEST_P(RelayMeshTest, TheLongestPacketIsForwardedWhole) {
  Start();
  SimClient& link = Link(1);
  SimClient& client = Connect();
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  const Frame packet(kMaxPacketBytes, 0x5a);
  world_->SendPacket(client, far, packet);
  EXPECT_EQ(world_->Receive(link), Forward(client.key(), far, packet));
}

TEST_P(RelayMeshTest, AClientOfOursWinsOverTheMesh) {
  Start();
  SimClient& link = Link(0);
  SimClient& sender = Connect();
  SimClient& near = Connect();
  Say(link, Present(near.key()));
  world_->SendPacket(sender, near.key(), Text("1"));
  EXPECT_EQ(world_->Receive(near), Received(sender.key(), Text("1")));
  EXPECT_TRUE(world_->Silent(link));
  world_->SendPacket(near, sender.key(), Text("2"));
  EXPECT_EQ(world_->Receive(sender), Received(near.key(), Text("2")));

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
  EXPECT_EQ(world_->Receive(again), Received(sender.key(), Text("4")));
}

TEST_P(RelayMeshTest, OfSeveralLinksTheFirstOneStaysPreferred) {
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
  Say(third, Gone(far));
  EXPECT_TRUE(goes_to(first));
  Say(third, Present(far));
  Say(first, Gone(far));
  EXPECT_TRUE(goes_to(second));
  Say(first, Gone(far));  // not there any more: nothing happens
  second.Close();
  Settle();
  EXPECT_TRUE(goes_to(third));
  EXPECT_EQ(Keys(), 1u);
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.multiforwarder_created.Value(); }),
            3u);
}

TEST_P(RelayMeshTest, WhoReceivedFromAKeyHearsWhenTheLastLinkLosesIt) {
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
  EXPECT_EQ(world_->Receive(receiver), Received(far, Text("hello")));
  Say(a, Gone(far));
  EXPECT_TRUE(world_->Silent(receiver));
  Say(b, Gone(far, PeerGoneReason::kNotHere));
  EXPECT_EQ(world_->Receive(receiver), Gone(far));
  EXPECT_TRUE(world_->Silent(other));
  world_->SendPacket(receiver, far, Text("gone"));
  Settle();
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDest), 1u);
  EXPECT_EQ(Keys(), 0u);
}

TEST_P(RelayMeshTest, TheEndOfALinkForgetsItsKeys) {
  Start();
  SimClient& link = Link(1);
  SimClient& incoming = Connect({.can_mesh = true});
  SimClient& receiver = Connect();
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  Say(link, Present(Stranger()));
  world_->Send(incoming, Forward(far, receiver.key(), Text("hello")));
  EXPECT_EQ(world_->Receive(receiver), Received(far, Text("hello")));
  link.Reset();
  EXPECT_EQ(world_->Receive(receiver), Gone(far));
  EXPECT_EQ(world_->ended_links(), std::vector<std::uint8_t>{1});
  EXPECT_EQ(Keys(), 0u);
  // The number can be used again.
  SimClient& again = Link(1);
  Say(again, Present(far));
  world_->SendPacket(receiver, far, Text("back"));
  EXPECT_EQ(world_->Receive(again), Forward(receiver.key(), far, Text("back")));
}

TEST_P(RelayMeshTest, WhatWasForwardedIsNotForwardedAgain) {
  Start();
  SimClient& link = Link(0);
  SimClient& incoming = Connect({.can_mesh = true});
  const core::NodePublic far = Stranger();
  Say(link, Present(far));
  Say(incoming, Forward(Stranger(), far, Text("round")));
  EXPECT_TRUE(world_->Silent(link));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDestOnFwd), 1u);
}

TEST_P(RelayMeshTest, OurOwnKeyOverThereIsNobody) {
  Start();
  SimClient& link = Link(0);
  Say(link, Present(server_key_));
  Say(link, Present(core::NodePublic{}));
  EXPECT_EQ(Keys(), 0u);
  EXPECT_FALSE(link.closed());
}

TEST_P(RelayMeshTest, NewsCutAtEveryByteAreUnderstood) {
  Start();
  SimClient& link = Link(0);
  const core::NodePublic far = Stranger();
  Frame bytes = sim::MakeFrame(FrameType::kKeepAlive, {});
  const Frame health = sim::MakeFrame(FrameType::kHealth, Frame(300, 'x'));
  const Frame present = Present(far);
  bytes.insert(bytes.end(), health.begin(), health.end());
  bytes.insert(bytes.end(), present.begin(), present.end());
  for (const std::uint8_t byte : bytes) Say(link, {byte});
  EXPECT_EQ(Keys(), 1u);
  const Frame ping = sim::MakeFrame(FrameType::kPing, Text("12345678"));
  Say(link, ping);
  EXPECT_EQ(world_->Receive(link), sim::MakeFrame(FrameType::kPong, Text("12345678")));
}

TEST_P(RelayMeshTest, AFrameOfAWrongLengthEndsTheLink) {
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

TEST_P(RelayMeshTest, ASilentLinkIsClosed) {
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

// --- drain ---

TEST_P(RelayMeshTest, ADrainClosesOneByOneThoseAtHomeLast) {
  Start();
  std::vector<SimClient*> home;
  std::vector<SimClient*> away;
  for (int i = 0; i < 6; ++i) {
    home.push_back(&Connect());
    Say(*home.back(), sim::MakeFrame(FrameType::kNotePreferred, Frame{1}));
    away.push_back(&Connect());
  }
  const auto done = std::make_shared<std::latch>(GetParam().shards);
  for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
    world_->Command(shard, DrainCommand{core::Seconds(10), done});
  }
  const auto open = [&](const std::vector<SimClient*>& clients) {
    for (SimClient* client : clients) client->Read(1 << 20, world_->aead());
    return std::ranges::count_if(clients, [](SimClient* c) { return !c->closed(); });
  };
  world_->Skip(core::Millis(10));
  // Everybody was told.
  const Frame first = world_->Receive(*home.front());
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(first[0], static_cast<std::uint8_t>(FrameType::kRestarting));
  EXPECT_GE(open(away), 3);
  EXPECT_EQ(open(home), 6);
  world_->Skip(core::Seconds(5));
  EXPECT_LE(open(away), 3);
  EXPECT_GE(open(home), 3);
  EXPECT_FALSE(done->try_wait());
  world_->Skip(core::Seconds(6));
  EXPECT_EQ(open(away) + open(home), 0);
  EXPECT_TRUE(done->try_wait());
  EXPECT_EQ(world_->Closed(CloseReason::kShutdown), 12u);
}

TEST_P(RelayMeshTest, ADrainWithoutClientsIsOverAtOnce) {
  Start();
  const auto done = std::make_shared<std::latch>(GetParam().shards);
  for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
    world_->Command(shard, DrainCommand{core::Seconds(10), done});
  }
  world_->Run(core::Millis(10));
  EXPECT_TRUE(done->try_wait());
}

// --- receive rate ---

TEST_P(RelayMeshTest, AClientOverItsRateIsReadFromLater) {
  Start();
  SimClient& sender = Connect();
  SimClient& receiver = Connect();
  SimClient& mesh = Connect({.can_mesh = true});
  for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
    world_->Command(shard, RateCommand{{.bytes_per_second = 20'000, .burst_bytes = 70'000}});
  }
  Settle();
  const Frame packet(10'000, 1);
  // The burst is free; what follows waits for its tokens, and nothing is lost.
  for (int i = 0; i < 40; ++i) world_->SendPacket(sender, receiver.key(), packet);
  const std::size_t soon = ReceivedAfter(receiver, core::Millis(500));
  EXPECT_GE(soon, 7u);
  EXPECT_LT(soon, 40u);
  // A mesh peer does not wait.
  for (int i = 0; i < 40; ++i) {
    world_->Send(mesh, Forward(sender.key(), receiver.key(), packet));
  }
  const std::size_t both = ReceivedAfter(receiver, core::Millis(500));
  EXPECT_GE(both, soon + 40);
  EXPECT_LT(both, 80u);
  EXPECT_EQ(ReceivedAfter(receiver, core::Seconds(40)), 80u);
  // Another connection of the same key has a bucket of its own.
  SimClient& twin = world_->Connect(sender.key());
  Settle();
  for (int i = 0; i < 40; ++i) world_->SendPacket(twin, receiver.key(), packet);
  const std::size_t third = ReceivedAfter(receiver, core::Millis(500));
  EXPECT_GE(third, 87u);
  EXPECT_LT(third, 120u);
  EXPECT_GE(world_->Sum([](const ShardMetrics& m) { return m.throttled.Value(); }), 1u);
}

TEST_P(RelayMeshTest, AWaitingClientIsFreeWhenTheRateGoes) {
  Start();
  SimClient& sender = Connect();
  SimClient& receiver = Connect();
  const auto limit = [&](RateLimit rate) {
    for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
      world_->Command(shard, RateCommand{rate});
    }
    Settle();
  };
  limit({.bytes_per_second = 1, .burst_bytes = 65'568});
  const Frame packet(10'000, 1);
  for (int i = 0; i < 40; ++i) world_->SendPacket(sender, receiver.key(), packet);
  EXPECT_LT(ReceivedAfter(receiver, core::Seconds(1)), 40u);
  limit({});
  EXPECT_EQ(ReceivedAfter(receiver, core::Seconds(1)), 40u);
}

// --- reports ---

struct Reports final : ReportSink {
  void OnShardReport(ShardReport report) override {
    for (auto& talker : report.talkers) talkers.push_back(std::move(talker));
    for (auto& link : report.links) links.push_back(std::move(link));
  }
  std::vector<ClientReport> talkers;
  std::vector<MeshLinkReport> links;
};

TEST_P(RelayMeshTest, AReportNamesWhoTalksMost) {
  Start();
  SimClient& link = Link(0);
  Say(link, Present(Stranger()));
  SimClient& loud = Connect();
  SimClient& quiet = Connect();
  Connect();
  world_->SendPacket(loud, loud.key(), Frame(20'000, 1));
  world_->SendPacket(quiet, quiet.key(), Frame(100, 1));
  Settle();
  const auto report = [&](std::size_t talkers) {
    const auto sink = std::make_shared<Reports>();
    for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
      world_->Command(shard, ReportCommand{talkers, sink});
    }
    Settle();
    std::ranges::sort(sink->talkers, std::greater(), &ClientReport::recent_bytes);
    return sink;
  };
  const auto first = report(5);
  ASSERT_EQ(first->talkers.size(), 2u);
  EXPECT_EQ(first->talkers[0].key, loud.key());
  EXPECT_EQ(first->talkers[0].received_bytes, 20'000u);
  EXPECT_GE(first->talkers[0].sent_bytes, 20'000u);
  EXPECT_EQ(first->talkers[1].key, quiet.key());
  ASSERT_EQ(first->links.size(), 1u);
  EXPECT_EQ(first->links[0].clients, 1u);
  // Only what came since.
  world_->SendPacket(quiet, quiet.key(), Frame(100, 1));
  Settle();
  const auto second = report(5);
  ASSERT_EQ(second->talkers.size(), 1u);
  EXPECT_EQ(second->talkers[0].key, quiet.key());
}

}  // namespace
}  // namespace ringscale::relay

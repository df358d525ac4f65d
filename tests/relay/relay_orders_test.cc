// What a shard does when it is told to: drains, receive rates, reports.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <latch>
#include <memory>
#include <vector>

#include "tests/relay/mesh_support.h"

namespace ringscale::relay {
namespace {

class RelayOrders : public RelayMeshTest {
 protected:
  // To every shard.
  template <class Order>
  void Command(const Order& order) {
    for (std::uint16_t shard = 0; shard < GetParam().shards; ++shard) {
      world_->Command(shard, order);
    }
  }
  // How many frames it has, reading all the time.
  std::size_t ReceivedAfter(SimClient& client, core::Duration duration) {
    for (core::Duration done; done < duration; done = done + core::Millis(10)) {
      world_->Skip(core::Millis(10));
      client.Read(1 << 24, world_->aead());
    }
    return client.frames().size();
  }
};
INSTANTIATE_TEST_SUITE_P(All, RelayOrders, MeshVariants(), NameOf);

TEST_P(RelayOrders, ADrainClosesOneByOneThoseAtHomeLast) {
  Start();
  std::vector<SimClient*> home;
  std::vector<SimClient*> away;
  for (int i = 0; i < 6; ++i) {
    home.push_back(&Connect());
    Say(*home.back(), sim::MakeFrame(FrameType::kNotePreferred, Frame{1}));
    away.push_back(&Connect());
  }
  const auto done = std::make_shared<std::latch>(GetParam().shards);
  Command(DrainCommand{core::Seconds(10), done});
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

TEST_P(RelayOrders, ADrainWithoutClientsIsOverAtOnce) {
  Start();
  const auto done = std::make_shared<std::latch>(GetParam().shards);
  Command(DrainCommand{core::Seconds(10), done});
  world_->Run(core::Millis(10));
  EXPECT_TRUE(done->try_wait());
}

TEST_P(RelayOrders, AClientOverItsRateIsReadFromLater) {
  Start();
  SimClient& sender = Connect();
  SimClient& receiver = Connect();
  SimClient& mesh = Connect({.can_mesh = true});
  Command(RateCommand{{.bytes_per_second = 20'000, .burst_bytes = 70'000}});
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

TEST_P(RelayOrders, AWaitingClientIsFreeWhenTheRateGoes) {
  Start();
  SimClient& sender = Connect();
  SimClient& receiver = Connect();
  const auto limit = [&](RateLimit rate) {
    Command(RateCommand{rate});
    Settle();
  };
  limit({.bytes_per_second = 1, .burst_bytes = 65'568});
  const Frame packet(10'000, 1);
  for (int i = 0; i < 40; ++i) world_->SendPacket(sender, receiver.key(), packet);
  EXPECT_LT(ReceivedAfter(receiver, core::Seconds(1)), 40u);
  limit({});
  EXPECT_EQ(ReceivedAfter(receiver, core::Seconds(1)), 40u);
}

struct Reports final : ReportSink {
  void OnShardReport(ShardReport report) override {
    for (auto& talker : report.talkers) talkers.push_back(std::move(talker));
    for (auto& link : report.links) links.push_back(std::move(link));
  }
  std::vector<ClientReport> talkers;
  std::vector<MeshLinkReport> links;
};

TEST_P(RelayOrders, AReportNamesWhoTalksMost) {
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
    Command(ReportCommand{talkers, sink});
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

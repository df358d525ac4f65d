// Who is online, and ephemeral nodes that are not.
#include <gtest/gtest.h>

#include "tests/control/state_presence_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

using Presence = PresenceTest;

TEST_F(Presence, OnlineWithTheFirstStreamOfflineAfterTheLast) {
  const NodeId id = tailnet.AddNode(alice, 1);
  tailnet.recorder().Take();
  registry().StreamOpened(id);
  registry().StreamOpened(id);
  auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].fields, Change::kOnline);
  EXPECT_TRUE(tailnet.Get(id).online);
  EXPECT_EQ(tailnet.Get(id).live_streams, 2U);
  registry().StreamClosed(id);
  Pass(100);
  EXPECT_TRUE(tailnet.Get(id).online);
  registry().StreamClosed(id);
  const auto left = tailnet.loop().Wall();
  Pass(9);
  EXPECT_TRUE(tailnet.Get(id).online);
  Pass(1);
  EXPECT_FALSE(tailnet.Get(id).online);
  EXPECT_EQ(tailnet.Get(id).row.last_seen, left);
  changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].fields, Change::kOnline | Change::kLastSeen);
  registry().StreamClosed(id);
  registry().StreamClosed(99);
  registry().StreamOpened(99);
}

TEST_F(Presence, BackWithinTheGraceItNeverWasOffline) {
  const NodeId id = tailnet.AddNode(alice, 1);
  registry().StreamOpened(id);
  tailnet.recorder().Take();
  for (int i = 0; i < 5; ++i) {
    registry().StreamClosed(id);
    Pass(9);
    registry().StreamOpened(id);
    Pass(9);
  }
  EXPECT_TRUE(tailnet.Get(id).online);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
}

TEST_F(Presence, NobodyGoesOfflineDuringAStorm) {
  bool storm = true;
  registry().SetStormCheck([&] { return storm; });
  const NodeId id = tailnet.AddNode(alice, 1);
  registry().StreamOpened(id);
  registry().StreamClosed(id);
  Pass(60);
  EXPECT_TRUE(tailnet.Get(id).online);
  storm = false;
  Pass(1);
  EXPECT_FALSE(tailnet.Get(id).online);
}

TEST_F(Presence, OnlineStateSurvivesARestartForAMinute) {
  const NodeId stays = tailnet.AddNode(alice, 1);
  const NodeId leaves = tailnet.AddNode(alice, 2);
  const NodeId was_gone = tailnet.AddNode(alice, 3);
  const NodeId never_came = tailnet.AddNode(alice, 4);
  for (const NodeId id : {stays, leaves, was_gone}) registry().StreamOpened(id);
  registry().StreamClosed(was_gone);
  Pass(10);
  Outcome<void> flushed;
  registry().Flush(flushed.Callback());
  tailnet.Settle();
  EXPECT_EQ(flushed.Error(), "");
  const auto before = tailnet.Get(was_gone).row.last_seen;

  tailnet.Restart();
  EXPECT_TRUE(tailnet.Get(stays).online);
  EXPECT_TRUE(tailnet.Get(leaves).online);
  EXPECT_FALSE(tailnet.Get(was_gone).online);
  EXPECT_FALSE(tailnet.Get(never_came).online);
  EXPECT_EQ(tailnet.Get(was_gone).row.last_seen, before);
  EXPECT_TRUE(tailnet.Get(stays).row.last_seen.has_value());
  Pass(30);
  registry().StreamOpened(stays);
  Pass(29);
  EXPECT_TRUE(tailnet.Get(leaves).online);
  EXPECT_TRUE(tailnet.recorder().Take().empty()) << "nobody was seen offline";
  Pass(1);
  EXPECT_FALSE(tailnet.Get(leaves).online);
  EXPECT_TRUE(tailnet.Get(stays).online);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].id, leaves);
}

TEST_F(Presence, PresenceIsWrittenInOneBatch) {
  std::vector<NodeId> ids;
  for (std::uint64_t i = 1; i <= 50; ++i) ids.push_back(tailnet.AddNode(alice, i));
  const auto commits = tailnet.store().commits();
  for (const NodeId id : ids) registry().StreamOpened(id);
  EXPECT_EQ(tailnet.store().commits(), commits);
  Pass(5);
  EXPECT_EQ(tailnet.store().commits(), commits + 1);
}

TEST_F(Presence, PresenceThatCouldNotBeWrittenIsTriedAgain) {
  const NodeId id = tailnet.AddNode(alice, 1);
  registry().StreamOpened(id);
  tailnet.store().FailCommits(1, {core::ErrorCode::kIo, "disk full"});
  Pass(5);
  EXPECT_TRUE(tailnet.Get(id).online);
  Pass(5);
  tailnet.Restart();
  EXPECT_TRUE(tailnet.Get(id).online);
}

TEST_F(Presence, RelayConnection) {
  const NodeId id = tailnet.AddNode(alice, 1);
  tailnet.recorder().Take();
  registry().SetRelayConnected(NodeKey(1), true);
  registry().SetRelayConnected(NodeKey(9), true);
  EXPECT_TRUE(tailnet.Get(id).relay_connected);
  registry().SetRelayConnected(NodeKey(1), false);
  EXPECT_FALSE(tailnet.Get(id).relay_connected);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
}

class EphemeralNodes : public PresenceTest {
 protected:
  NodeId Ephemeral(std::uint64_t number) {
    auto request = Tailnet::Request(number, number, "ci");
    request.ephemeral = true;
    const auto joined = tailnet.JoinForUser(request, alice);
    EXPECT_TRUE(joined);
    return joined ? joined->id : 0;
  }
};

TEST_F(EphemeralNodes, GoWhenAwayTooLong) {
  const NodeId id = Ephemeral(1);
  registry().StreamOpened(id);
  Pass(10'000);
  registry().StreamClosed(id);
  Pass(1790);
  registry().StreamOpened(id);  // starts anew
  registry().StreamClosed(id);
  Pass(1799);
  EXPECT_NE(registry().FindNode(id), nullptr);
  tailnet.recorder().Take();
  Pass(1);
  EXPECT_EQ(registry().FindNode(id), nullptr);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeRemoved);
}

TEST_F(EphemeralNodes, ThoseThatNeverCameGoToo) {
  const NodeId id = Ephemeral(1);
  Pass(1799);
  EXPECT_NE(registry().FindNode(id), nullptr);
  Pass(1);
  EXPECT_EQ(registry().FindNode(id), nullptr);
}

TEST_F(EphemeralNodes, TimersStartAnewAtARestart) {
  const NodeId away = Ephemeral(1);
  const NodeId online = Ephemeral(2);
  registry().StreamOpened(online);
  Pass(1700);
  tailnet.Restart();
  Pass(1799);
  EXPECT_NE(registry().FindNode(away), nullptr);
  EXPECT_NE(registry().FindNode(online), nullptr);
  Pass(1);
  EXPECT_EQ(registry().FindNode(away), nullptr);
  EXPECT_NE(registry().FindNode(online), nullptr) << "it was online until the grace had passed";
  Pass(60);
  EXPECT_EQ(registry().FindNode(online), nullptr);
}

TEST_F(EphemeralNodes, RemovalIsTriedAgain) {
  const NodeId id = Ephemeral(1);
  tailnet.store().FailCommits(1, {core::ErrorCode::kIo, "disk full"});
  Pass(1800);
  EXPECT_NE(registry().FindNode(id), nullptr);
  Pass(60);
  EXPECT_EQ(registry().FindNode(id), nullptr);
}

}  // namespace
}  // namespace ringscale::control::testing

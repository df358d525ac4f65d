// Who serves a subnet, as nodes and restarts come and go.
#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/control/state_presence_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

class Primaries : public PresenceTest {
 protected:
  NodeId Router(std::uint64_t number, const std::string& routes) {
    const NodeId id =
        tailnet.AddNode(alice, number, "router", ",\"RoutableIPs\":[\"" + routes + "\"]");
    EXPECT_EQ(tailnet.Do([&](Completion<> done) {
      tailnet.registry().ApproveRoutes(id, {Prefix(routes)}, std::move(done));
    }),
              "");
    return id;
  }
};

TEST_F(Primaries, PrimaryStaysUntilItGoes) {
  const NodeId a = Router(1, "10.1.0.0/16");
  const NodeId b = Router(2, "10.1.0.0/16");
  const NodeId c = Router(3, "10.1.0.0/16");
  const core::IpPrefix prefix = Prefix("10.1.0.0/16");
  EXPECT_EQ(registry().PrimaryFor(prefix), 0U);
  registry().StreamOpened(b);
  EXPECT_EQ(registry().PrimaryFor(prefix), b);
  tailnet.recorder().Take();
  registry().StreamOpened(a);
  registry().StreamOpened(c);
  EXPECT_EQ(registry().PrimaryFor(prefix), b) << "no fail-back to a lower id";
  auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].kind, Kind::kNodePatched);

  registry().StreamClosed(b);
  Pass(9);
  EXPECT_EQ(registry().PrimaryFor(prefix), b);
  Pass(1);
  EXPECT_EQ(registry().PrimaryFor(prefix), a);
  EXPECT_EQ(registry().PrimaryRoutes(a), std::vector{prefix});
  EXPECT_TRUE(registry().PrimaryRoutes(b).empty());
  changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].id, b);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[0].fields & Change::kOnline);
  EXPECT_EQ(changes[1].id, a);
  EXPECT_EQ(changes[1].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[1].self_too);

  // Approval withdrawn, node deleted: the next one.
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry().ApproveRoutes(a, {}, std::move(done)); }), "");
  EXPECT_EQ(registry().PrimaryFor(prefix), c);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry().DeleteNode(c, std::move(done)); }), "");
  EXPECT_EQ(registry().PrimaryFor(prefix), 0U);
}

TEST_F(Primaries, AnnouncingFollowsTheClient) {
  const NodeId id = Router(1, "10.1.0.0/16");
  registry().StreamOpened(id);
  EXPECT_EQ(registry().PrimaryFor(Prefix("10.1.0.0/16")), id);
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"router","OS":"linux"})")), "");
  EXPECT_EQ(registry().PrimaryFor(Prefix("10.1.0.0/16")), 0U);
  // The approval survives.
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"router","OS":"linux",)"
                                        R"("RoutableIPs":["10.1.0.0/16"]})")),
            "");
  EXPECT_EQ(registry().PrimaryFor(Prefix("10.1.0.0/16")), id);
}

TEST_F(Primaries, ExitRoutesHaveNoPrimary) {
  const NodeId id = tailnet.AddNode(alice, 1, "exit", R"(,"RoutableIPs":["0.0.0.0/0","::/0"])");
  registry().StreamOpened(id);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry().ApproveRoutes(id, {Prefix("0.0.0.0/0")}, std::move(done));
  }),
            "");
  EXPECT_TRUE(registry().PrimaryRoutes(id).empty());
  EXPECT_EQ(registry().PrimaryFor(Prefix("0.0.0.0/0")), 0U);
}

TEST_F(Primaries, APrimaryIsOneOfThoseOnlineBeforeTheRestart) {
  const NodeId a = Router(1, "10.1.0.0/16");
  const NodeId b = Router(2, "10.1.0.0/16");
  registry().StreamOpened(b);
  Pass(5);
  tailnet.Restart();
  EXPECT_EQ(registry().PrimaryFor(Prefix("10.1.0.0/16")), b);
  registry().StreamOpened(a);
  registry().StreamOpened(b);
  EXPECT_EQ(registry().PrimaryFor(Prefix("10.1.0.0/16")), b);
}

TEST_F(Primaries, APrimarySurvivesARestartForAMinute) {
  const core::IpPrefix shared = Prefix("10.1.0.0/16");
  const NodeId a = Router(1, "10.1.0.0/16");
  const NodeId b = Router(2, "10.1.0.0/16");
  for (const NodeId id : {b, a}) registry().StreamOpened(id);
  ASSERT_EQ(registry().PrimaryFor(shared), b);
  Pass(1);
  tailnet.Restart();
  EXPECT_EQ(registry().PrimaryFor(shared), b) << "the lowest id is not the one that served";
  registry().StreamOpened(a);
  Pass(59);
  EXPECT_EQ(registry().PrimaryFor(shared), b);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  Pass(1);
  EXPECT_EQ(registry().PrimaryFor(shared), a);
  EXPECT_FALSE(tailnet.Get(b).online);

  // And that was written too.
  registry().StreamOpened(b);
  Pass(1);
  tailnet.Restart();
  EXPECT_EQ(registry().PrimaryFor(shared), a);
}

TEST_F(Primaries, AStoredPrimaryThatMayNotServeIsNone) {
  const core::IpPrefix shared = Prefix("10.1.0.0/16");
  const NodeId a = Router(1, "10.1.0.0/16");
  const NodeId b = Router(2, "10.1.0.0/16");
  for (const NodeId id : {b, a}) registry().StreamOpened(id);
  Pass(1);
  storage::NodeRow row = tailnet.Get(b).row;
  row.last_seen.reset();  // as written while it is online
  row.primary_routes = {shared};
  row.approved_routes.clear();
  storage::WriteBatch batch;
  batch.Put(storage::Table::kNodes, storage::IdKey(b), storage::Encode(row));
  tailnet.store().Commit(std::move(batch), [](const core::Result<>&) {});
  tailnet.Restart();
  EXPECT_TRUE(tailnet.Get(b).online);
  EXPECT_EQ(registry().PrimaryFor(shared), a);
}

}  // namespace
}  // namespace ringscale::control::testing

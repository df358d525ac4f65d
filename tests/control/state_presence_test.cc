// Map requests, streams, online state, ephemeral nodes, routes.
#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

NodeReport Reported(std::string_view hostinfo) {
  NodeReport report;
  report.capability_version = 140;
  report.hostinfo = hostinfo;
  return report;
}

class Presence : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    tailnet.recorder().Take();
  }
  NodeId Router(std::uint64_t number, const std::string& routes) {
    const NodeId id =
        tailnet.AddNode(alice, number, "router", ",\"RoutableIPs\":[\"" + routes + "\"]");
    EXPECT_EQ(tailnet.Do([&](Completion<> done) {
      tailnet.registry().ApproveRoutes(id, {Prefix(routes)}, std::move(done));
    }),
              "");
    return id;
  }
  NodeId Ephemeral(std::uint64_t number) {
    auto request = Tailnet::Request(number, number, "ci");
    request.ephemeral = true;
    const auto joined = tailnet.JoinForUser(request, alice);
    EXPECT_TRUE(joined);
    return joined ? joined->id : 0;
  }
  void Pass(int seconds) { tailnet.loop().Advance(core::Seconds(seconds)); }
  Registry& registry() { return tailnet.registry(); }

  Tailnet tailnet;
  UserId alice = 0;
};

// --- map requests ---

TEST_F(Presence, UnknownNode) {
  EXPECT_EQ(tailnet.Report(7, Reported("{}")), "node not found");
}

TEST_F(Presence, AnIdenticalReportWritesAndTellsNothing) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  const std::string hostinfo = R"({"Hostname":"host","OS":"linux"})";
  EXPECT_EQ(tailnet.Report(id, Reported(hostinfo)), "");
  tailnet.recorder().Take();
  const auto commits = tailnet.store().commits();
  const auto version = tailnet.Get(id).version;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tailnet.Report(id, Reported(hostinfo)), "");
  EXPECT_EQ(tailnet.Report(id, Reported("")), "");
  EXPECT_EQ(tailnet.store().commits(), commits);
  EXPECT_EQ(tailnet.Get(id).version, version);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
}

TEST_F(Presence, HostinfoThatPeersDoNotUseReachesNoPeer) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  tailnet.recorder().Take();
  const auto version = tailnet.Get(id).version;
  EXPECT_EQ(
      tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux","IPNVersion":"1.90.0"})")),
      "");
  EXPECT_EQ(tailnet.Get(id).client_version, "1.90.0");
  EXPECT_EQ(tailnet.Get(id).version, version);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U) << "for policies that ask for versions";
  EXPECT_EQ(changes[0].kind, Change::Kind::kNodeRefreshed);
  EXPECT_EQ(changes[0].fields, 0);
  tailnet.Restart();
  EXPECT_EQ(tailnet.Get(id).client_version, "1.90.0");
}

TEST_F(Presence, HostinfoThatPeersUseReplacesTheNode) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  tailnet.recorder().Take();
  const auto version = tailnet.Get(id).version;
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux",)"
                                        R"("Services":[{"Proto":"peerapi4","Port":5}]})")),
            "");
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_FALSE(changes[0].self_too);
  EXPECT_GT(tailnet.Get(id).version, version);
}

TEST_F(Presence, HomeRegionIsAPatchAndWrittenLater) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  tailnet.recorder().Take();
  const auto commits = tailnet.store().commits();
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux",)"
                                        R"("NetInfo":{"PreferredDERP":5}})")),
            "");
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodePatched);
  EXPECT_EQ(changes[0].fields, Change::kHomeDerp);
  EXPECT_EQ(tailnet.store().commits(), commits);
  // Absent: kept. Zero: the client sees none now, the last one is the best guess.
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux"})")), "");
  EXPECT_EQ(tailnet.Get(id).home_derp, 5);
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux",)"
                                        R"("NetInfo":{"PreferredDERP":0,"UPnP":"true"}})")),
            "");
  EXPECT_EQ(tailnet.Get(id).home_derp, 5);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  EXPECT_EQ(tailnet.Report(id, Reported(R"({"Hostname":"host","OS":"linux",)"
                                        R"("NetInfo":{"PreferredDERP":6}})")),
            "");
  Pass(5);
  EXPECT_EQ(tailnet.store().commits(), commits + 1);
  tailnet.Restart();
  EXPECT_EQ(tailnet.Get(id).home_derp, 6);
}

TEST_F(Presence, AnUnchangedReportAfterARestartWritesNothing) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  const std::string hostinfo =
      R"({"OS":"linux","Hostname":"host","NetInfo":{"PreferredDERP":5},"Zone":"x"})";
  EXPECT_EQ(tailnet.Report(id, Reported(hostinfo)), "");
  tailnet.Restart();
  EXPECT_EQ(tailnet.Report(id, Reported(hostinfo)), "");
  Pass(60);
  EXPECT_EQ(tailnet.store().commits(), 0U);
  EXPECT_TRUE(tailnet.recorder().Take().empty());
}

TEST_F(Presence, DiscoKeyAndCapabilityVersion) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  tailnet.recorder().Take();
  NodeReport report = Reported("");
  report.disco_key = Disco(3);
  report.capability_version = 141;
  EXPECT_EQ(tailnet.Report(id, report), "");
  auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodePatched);
  EXPECT_EQ(changes[0].fields, Change::kDiscoKey | Change::kCapVersion);
  // A request that does not tell does not take away.
  report.disco_key = {};
  report.capability_version = 0;
  EXPECT_EQ(tailnet.Report(id, report), "");
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  tailnet.Restart();
  EXPECT_EQ(tailnet.Get(id).row.disco_key, Disco(3));
  EXPECT_EQ(tailnet.Get(id).row.capability_version, 141U);
}

TEST_F(Presence, Endpoints) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  tailnet.recorder().Take();
  const auto commits = tailnet.store().commits();
  const auto report = [&](std::vector<Endpoint> endpoints, bool streaming = false) {
    NodeReport r = Reported("");
    r.endpoints = std::move(endpoints);
    r.streaming = streaming;
    EXPECT_EQ(tailnet.Report(id, r), "");
    std::vector<std::uint16_t> told;
    for (const auto& change : tailnet.recorder().Take()) {
      EXPECT_EQ(change.fields, Change::kEndpoints);
      if (change.kind == Change::Kind::kNodePatched) told.push_back(change.fields);
    }
    return told;
  };
  const std::vector<std::uint16_t> kTold = {Change::kEndpoints};
  const std::vector<std::uint16_t> kQuiet;
  const Endpoint local = At("10.0.0.1:41641", 1);
  const Endpoint stun = At("203.0.113.1:1234", 2);
  const Endpoint stun_local = At("203.0.113.1:41641", 4);
  const Endpoint portmapped = At("203.0.113.1:5000", 3);
  const Endpoint unknown = At("203.0.113.9:1", 0);
  const auto version = [&] { return tailnet.Get(id).version; };

  EXPECT_EQ(report({local}), kTold);
  EXPECT_EQ(report({local}), kQuiet);
  const auto before = version();
  EXPECT_EQ(report({local, stun, stun_local}), kTold) << "behind a NAT there may be nothing else";
  EXPECT_GT(version(), before) << "a whole node rendered from now on has it";
  EXPECT_EQ(tailnet.Get(id).endpoints.size(), 3U);
  EXPECT_EQ(report({local, stun, portmapped}), kTold);
  EXPECT_EQ(report({local}), kQuiet) << "only removals";
  EXPECT_EQ(report({local, unknown}), kTold);
  EXPECT_EQ(report({}, true), kQuiet) << "a streaming request takes none away";
  EXPECT_EQ(tailnet.Get(id).endpoints.size(), 2U);
  EXPECT_EQ(report({portmapped}, true), kTold);
  EXPECT_EQ(report({}), kQuiet);
  EXPECT_TRUE(tailnet.Get(id).endpoints.empty());
  EXPECT_EQ(tailnet.store().commits(), commits) << "endpoints are not stored";
}

TEST_F(Presence, HostnameChangesRenameAutomaticNames) {
  const NodeId a = tailnet.AddNode(alice, 1, "a");
  tailnet.AddNode(alice, 2, "b");
  tailnet.recorder().Take();
  const auto rename = [&](const char* hostname) {
    const std::string hostinfo =
        "{\"Hostname\":\"" + std::string(hostname) + "\",\"OS\":\"linux\"}";
    EXPECT_EQ(tailnet.Report(a, Reported(hostinfo)), "");
    return tailnet.Get(a).row.given_name;
  };
  EXPECT_EQ(rename("B"), "b-1");
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[0].self_too);
  EXPECT_EQ(rename("b"), "b-1") << "the same name in other letters";
  EXPECT_EQ(rename("c"), "c");
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry().RenameNode(a, "chosen", std::move(done)); }),
      "");
  EXPECT_EQ(rename("d"), "chosen");
  EXPECT_EQ(tailnet.Get(a).row.hostname, "d");
}

TEST_F(Presence, BadHostinfoChangesNothing) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  NodeReport report = Reported("[1");
  report.disco_key = Disco(1);
  EXPECT_NE(tailnet.Report(id, report), "");
  EXPECT_TRUE(tailnet.Get(id).row.disco_key.zero());
  const std::string big = "{\"x\":\"" + std::string(kMaxHostinfo, 'x') + "\"}";
  EXPECT_NE(tailnet.Report(id, Reported(big)).find("16 KiB"), std::string::npos);
}

// --- online ---

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

// --- ephemeral ---

TEST_F(Presence, EphemeralNodesGoWhenAwayTooLong) {
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

TEST_F(Presence, EphemeralNodesThatNeverCameGoToo) {
  const NodeId id = Ephemeral(1);
  Pass(1799);
  EXPECT_NE(registry().FindNode(id), nullptr);
  Pass(1);
  EXPECT_EQ(registry().FindNode(id), nullptr);
}

TEST_F(Presence, EphemeralTimersStartAnewAtARestart) {
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

TEST_F(Presence, EphemeralRemovalIsTriedAgain) {
  const NodeId id = Ephemeral(1);
  tailnet.store().FailCommits(1, {core::ErrorCode::kIo, "disk full"});
  Pass(1800);
  EXPECT_NE(registry().FindNode(id), nullptr);
  Pass(60);
  EXPECT_EQ(registry().FindNode(id), nullptr);
}

// --- primary routes ---

TEST_F(Presence, PrimaryStaysUntilItGoes) {
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

TEST_F(Presence, AnnouncingFollowsTheClient) {
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

TEST_F(Presence, ExitRoutesHaveNoPrimary) {
  const NodeId id = tailnet.AddNode(alice, 1, "exit", R"(,"RoutableIPs":["0.0.0.0/0","::/0"])");
  registry().StreamOpened(id);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry().ApproveRoutes(id, {Prefix("0.0.0.0/0")}, std::move(done));
  }),
            "");
  EXPECT_TRUE(registry().PrimaryRoutes(id).empty());
  EXPECT_EQ(registry().PrimaryFor(Prefix("0.0.0.0/0")), 0U);
}

TEST_F(Presence, APrimaryIsOneOfThoseOnlineBeforeTheRestart) {
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

TEST_F(Presence, APrimarySurvivesARestartForAMinute) {
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

TEST_F(Presence, AStoredPrimaryThatMayNotServeIsNone) {
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

// What the map requests of clients change.
#include <gtest/gtest.h>

#include "tests/control/state_presence_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

using Reports = PresenceTest;

TEST_F(Reports, UnknownNode) {
  EXPECT_EQ(tailnet.Report(7, Reported("{}")), "node not found");
}

TEST_F(Reports, AnIdenticalReportWritesAndTellsNothing) {
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

TEST_F(Reports, HostinfoThatPeersDoNotUseReachesNoPeer) {
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

TEST_F(Reports, HostinfoThatPeersUseReplacesTheNode) {
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

TEST_F(Reports, HomeRegionIsAPatchAndWrittenLater) {
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

TEST_F(Reports, AnUnchangedReportAfterARestartWritesNothing) {
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

TEST_F(Reports, DiscoKeyAndCapabilityVersion) {
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

TEST_F(Reports, Endpoints) {
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

TEST_F(Reports, HostnameChangesRenameAutomaticNames) {
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

TEST_F(Reports, BadHostinfoChangesNothing) {
  const NodeId id = tailnet.AddNode(alice, 1, "host");
  NodeReport report = Reported("[1");
  report.disco_key = Disco(1);
  EXPECT_NE(tailnet.Report(id, report), "");
  EXPECT_TRUE(tailnet.Get(id).row.disco_key.zero());
  const std::string big = "{\"x\":\"" + std::string(kMaxHostinfo, 'x') + "\"}";
  EXPECT_NE(tailnet.Report(id, Reported(big)).find("16 KiB"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::control::testing

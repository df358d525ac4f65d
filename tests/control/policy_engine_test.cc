// What nodes are told, feature by feature.
#include <gtest/gtest.h>

#include <string>

#include "tests/control/policy_support.h"

namespace ringscale::control::policy {
namespace {

#define LOAD(sections)                              \
  const Loaded loaded = Load(TestPolicy(sections)); \
  ASSERT_TRUE(loaded.engine) << loaded.error;       \
  const Engine& engine = *loaded.engine

constexpr char kEverything[] =
    R"({"SrcIPs":["100.64.0.0-100.115.91.255","100.115.94.0-100.127.255.255",)"
    R"("fd7a:115c:a1e0::/48","10.1.0.0/16"],"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}]})";

TEST(PolicyEngine, WithoutRulesEverybodyReachesEverybody) {
  LOAD(R"("ssh":[])");
  for (const auto& [id, node] : engine.nodes()) EXPECT_EQ(FilterText(engine, id), kEverything);
  EXPECT_EQ(SeenBy(engine, 1), "2 3 4 5 6 7");
}

TEST(PolicyEngine, EmptyRulesLetNobodyIn) {
  LOAD(R"("grants":[])");
  for (const auto& [id, node] : engine.nodes()) {
    EXPECT_EQ(FilterText(engine, id), "");
    EXPECT_EQ(SeenBy(engine, id), "");
  }
}

TEST(PolicyEngine, ARuleReachesItsDestinationsOnly) {
  LOAD(R"("acls":[{"action":"accept","proto":"tcp","src":["bob@"],"dst":["tag:db:5432"]}])");
  EXPECT_EQ(FilterText(engine, 4),
            R"({"SrcIPs":["100.64.0.30","fd7a:115c:a1e0::30"],"IPProto":[6],"DstPorts":[)"
            R"({"IP":"100.64.0.40","Ports":{"First":5432,"Last":5432}},)"
            R"({"IP":"fd7a:115c:a1e0::40","Ports":{"First":5432,"Last":5432}}]})");
  EXPECT_EQ(FilterText(engine, 3), "");
  EXPECT_EQ(SeenBy(engine, 3), "4");
  EXPECT_EQ(SeenBy(engine, 4), "3");
  EXPECT_EQ(SeenBy(engine, 1), "");
}

TEST(PolicyEngine, RulesOfOneSourceAreMerged) {
  LOAD(
      R"("acls":[{"src":["bob@"],"dst":["tag:db:1"]},{"src":["bob@example.com"],"dst":["tag:db:2"]},
{"src":["bob@"],"proto":"udp","dst":["tag:db:3"]}])");
  EXPECT_EQ(engine.PacketFilter(4).size(), 2u);
  EXPECT_EQ(engine.PacketFilter(4)[0].dst_ports.size(), 4u);
}

TEST(PolicyEngine, SelfIsForDevicesOfOneUser) {
  LOAD(R"("grants":[{"src":["autogroup:member"],"dst":["autogroup:self"],"ip":["22"]}])");
  EXPECT_EQ(FilterText(engine, 1),
            R"({"SrcIPs":["100.64.0.10","100.64.0.20","fd7a:115c:a1e0::10","fd7a:115c:a1e0::20"],)"
            R"("DstPorts":[{"IP":"100.64.0.10","Ports":{"First":22,"Last":22}},)"
            R"({"IP":"fd7a:115c:a1e0::10","Ports":{"First":22,"Last":22}}]})");
  EXPECT_EQ(SeenBy(engine, 1), "2");
  EXPECT_EQ(SeenBy(engine, 3), "");
  EXPECT_EQ(FilterText(engine, 4), "");
}

TEST(PolicyEngine, ADeviceOfItsClassMayBeGivenToAnother) {
  const Loaded loaded = Load(TestPolicy(R"("acls":[{"src":["*"],"dst":["*:*"]}])"));
  ASSERT_TRUE(loaded.engine) << loaded.error;
  Engine& engine = *loaded.engine;
  PolicyNode node = *engine.Find(1);
  const ClassId before = engine.ClassOf(1);
  node.user = 2;
  engine.Put(node);
  EXPECT_EQ(engine.ClassOf(1), before);
  EXPECT_EQ(engine.DevicesOf(1), std::set<NodeId>{2});
  EXPECT_EQ(engine.DevicesOf(2), (std::set<NodeId>{1, 3}));
  engine.Remove(1);
  EXPECT_EQ(engine.DevicesOf(2), std::set<NodeId>{3});
}

TEST(PolicyEngine, RoutersGetWhatLiesBehindThem) {
  LOAD(R"("grants":[{"src":["bob@"],"dst":["office"],"ip":["443"]}])");
  EXPECT_EQ(FilterText(engine, 5),
            R"({"SrcIPs":["100.64.0.30","fd7a:115c:a1e0::30"],)"
            R"("DstPorts":[{"IP":"10.1.2.0/24","Ports":{"First":443,"Last":443}}]})");
  EXPECT_EQ(SeenBy(engine, 3), "5");
  const auto routes = engine.RoutesOf(3, 5);
  ASSERT_EQ(routes.allowed.size(), 1u);
  EXPECT_EQ(routes.allowed[0].text(), "10.1.0.0/16");
  EXPECT_EQ(routes.primary, routes.allowed);
}

TEST(PolicyEngine, ExitNodesAreForThoseWhoMayReachTheInternet) {
  LOAD(
      R"("acls":[{"src":["alice@"],"dst":["autogroup:internet:*"]},{"src":["bob@"],"dst":["tag:exit:22"]}])");
  EXPECT_NE(FilterText(engine, 6).find("0.0.0.0-9.255.255.255"), std::string::npos);
  EXPECT_EQ(FilterText(engine, 5), "");
  EXPECT_EQ(SeenBy(engine, 1), "6");
  EXPECT_EQ(engine.RoutesOf(1, 6).allowed.size(), 2u);
  EXPECT_TRUE(engine.RoutesOf(1, 6).primary.empty());
  EXPECT_EQ(SeenBy(engine, 3), "6");
  EXPECT_TRUE(engine.RoutesOf(3, 6).allowed.empty());
}

TEST(PolicyEngine, ViaChoosesTheRouter) {
  Loaded loaded = Load(TestPolicy(
      R"("grants":[{"src":["bob@"],"dst":["10.1.2.0/24"],"ip":["443"],"via":["tag:db"]}])"));
  ASSERT_TRUE(loaded.engine) << loaded.error;
  Engine& engine = *loaded.engine;
  EXPECT_EQ(SeenBy(engine, 3), "");
  PolicyNode second = *engine.Find(4);
  second.routes.push_back(*core::IpPrefix::Parse("10.1.0.0/16"));
  engine.Put(second);
  EXPECT_EQ(SeenBy(engine, 3), "4");
  EXPECT_EQ(engine.RoutesOf(3, 4).allowed.size(), 1u) << "although 5 is primary for the others";
  EXPECT_EQ(FilterText(engine, 5), "");
  EXPECT_NE(FilterText(engine, 4).find("10.1.2.0/24"), std::string::npos);
  // The next of the same tag takes over when it is out of reach.
  PolicyNode third = second;
  third.id = 9;
  third.v4 = *core::IpAddress::Parse("100.64.0.90");
  third.v6 = *core::IpAddress::Parse("fd7a:115c:a1e0::90");
  engine.Put(third);
  EXPECT_TRUE(engine.RoutesOf(3, 9).allowed.empty());
  engine.SetReachable(4, false);
  EXPECT_EQ(engine.RoutesOf(3, 9).allowed.size(), 1u);
  EXPECT_TRUE(engine.RoutesOf(3, 4).allowed.empty());
}

TEST(PolicyEngine, CapabilitiesComeWithTheirCompanion) {
  LOAD(
      R"("grants":[{"src":["bob@"],"dst":["tag:db"],"app":{"tailscale.com/cap/drive":[{"shares":["*"]}]}}])");
  EXPECT_EQ(
      FilterText(engine, 4),
      R"({"SrcIPs":["100.64.0.30","fd7a:115c:a1e0::30"],"CapGrant":[{"Dsts":["100.64.0.40/32",)"
      R"("fd7a:115c:a1e0::40/128"],"CapMap":{"tailscale.com/cap/drive":[{"shares":["*"]}]}}]})");
  EXPECT_EQ(
      FilterText(engine, 3),
      R"({"SrcIPs":["100.64.0.40","fd7a:115c:a1e0::40"],"CapGrant":[{"Dsts":["100.64.0.30/32",)"
      R"("fd7a:115c:a1e0::30/128"],"CapMap":{"tailscale.com/cap/drive-sharer":null}}]})");
}

TEST(PolicyEngine, PosturesNarrowTheSources) {
  LOAD(R"("postures":{"posture:new":["node:os == 'linux'","node:tsVersion >= '1.50'"]},
"grants":[{"src":["alice@"],"dst":["tag:db"],"ip":["22"],"srcPosture":["posture:new"]}])");
  EXPECT_EQ(SeenBy(engine, 4), "1") << "1.9 is older than 1.50, and 2 runs something else";
  EXPECT_NE(FilterText(engine, 4).find(R"("SrcIPs":["100.64.0.10","fd7a:115c:a1e0::10"])"),
            std::string::npos);
}

TEST(PolicyEngine, AttributesOfNodes) {
  LOAD(
      R"("nodeAttrs":[{"target":["tag:db"],"attr":["funnel","x:y"]},{"target":["dbhost"],"app":{"example.com/a":[{"b":1}]}},
{"target":["bob@"],"attr":["disable-ipv4"]}])");
  const auto caps = engine.Capabilities(4);
  EXPECT_EQ(caps.size(), 5u);
  EXPECT_EQ(caps.at("x:y"), "null");
  EXPECT_EQ(caps.at("example.com/a"), R"([{"b":1}])");
  EXPECT_TRUE(caps.contains("https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"));
  EXPECT_EQ(engine.AddressesShown(1, 3).size(), 1u);
  EXPECT_TRUE(engine.AddressesShown(1, 3)[0].is_v6());
  EXPECT_EQ(engine.AddressesShown(3, 1).size(), 1u);
  EXPECT_EQ(engine.AddressesShown(1, 2).size(), 2u);
}

TEST(PolicyEngine, SshChecksComeFirst) {
  LOAD(
      R"("ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],"users":["root","autogroup:nonroot"]},
{"action":"check","checkPeriod":"20h","src":["bob@"],"dst":["tag:db"],"users":["ubuntu"],"acceptEnv":["A_*"]}])");
  EXPECT_EQ(
      engine.SshPolicy(4),
      R"({"rules":[{"principals":[{"nodeIP":"100.64.0.30"},{"nodeIP":"fd7a:115c:a1e0::30"}],)"
      R"("sshUsers":{"root":"","ubuntu":"ubuntu"},"action":{"holdAndDelegate":)"
      R"("https://hs.example/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER"},)"
      R"("acceptEnv":["A_*"]},{"principals":[{"nodeIP":"100.64.0.30"},)"
      R"({"nodeIP":"fd7a:115c:a1e0::30"}],"sshUsers":{"*":"=","root":"root"},"action":)"
      R"({"accept":true,"allowAgentForwarding":true,"allowLocalPortForwarding":true,)"
      R"("allowRemotePortForwarding":true}}]})");
  EXPECT_EQ(engine.SshPolicy(1), R"({"rules":[]})");
  const auto check = engine.SshCheckFor(3, 4, "ubuntu");
  ASSERT_TRUE(check);
  EXPECT_EQ(check->period, core::Seconds(20 * 3600));
  EXPECT_EQ(check->approved_action,
            R"({"accept":true,"allowAgentForwarding":true,"allowLocalPortForwarding":true,)"
            R"("allowRemotePortForwarding":true})");
  EXPECT_FALSE(engine.SshCheckFor(3, 4, "root")) << "accepted without a check";
  EXPECT_FALSE(engine.SshCheckFor(1, 4, "ubuntu"));
}

TEST(PolicyEngine, TestsOfThePolicy) {
  LOAD(R"("acls":[{"src":["group:dev"],"dst":["tag:db:22"]}],
"ssh":[{"action":"check","src":["bob@"],"dst":["tag:db"],"users":["root"]}],
"tests":[{"src":"bob@","accept":["tag:db:22","dbhost:22"],"deny":["tag:db:23","tag:exit:22"]},
{"src":"carol@example.org","accept":["tag:db:22"]},
{"src":"bob@","proto":"udp","deny":["tag:db:22"]}],
"sshTests":[{"src":"bob@","dst":["tag:db"],"check":["root"],"deny":["x"]},
{"src":"bob@","dst":["tag:db"],"accept":["x"]}])");
  const auto failed = RunPolicyTests(*loaded.engine);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->message, "test(s) failed");
  EXPECT_EQ(engine.nodes().size(), 7U);
  EXPECT_EQ(failed->details, (std::vector<std::string>{
                                 "carol@example.org -> tag:db:22: expected ALLOWED, got DENIED",
                                 "bob@ -> tag:db:22 (udp): expected DENIED, got ALLOWED",
                                 "bob@/x -> n4: expected ALLOWED, got DENIED"}));
}

TEST(PolicyEngine, TagsAndRoutesByOwnership) {
  LOAD(R"("autoApprovers":{"routes":{"10.0.0.0/8":["group:dev"]},"exitNode":["tag:exit"]})");
  const Program& program = engine.program();
  EXPECT_TRUE(program.MayOwnTag("tag:db", 1, {}));
  EXPECT_FALSE(program.MayOwnTag("tag:db", 2, {}));
  EXPECT_TRUE(program.MayOwnTag("tag:exit", 1, {})) << "through tag:db";
  const std::vector<std::string> db = {"tag:db"};
  EXPECT_TRUE(program.MayOwnTag("tag:exit", 0, db));
  EXPECT_FALSE(program.MayOwnTag("tag:none", 1, {}));
  const std::vector<core::IpPrefix> offered = {*core::IpPrefix::Parse("10.2.0.0/16"),
                                               *core::IpPrefix::Parse("192.168.0.0/16"),
                                               *core::IpPrefix::Parse("0.0.0.0/0")};
  EXPECT_EQ(program.AutoApproved(*engine.Find(3), offered).size(), 1u);
  EXPECT_EQ(program.AutoApproved(*engine.Find(6), offered).size(), 1u);
  EXPECT_EQ(program.AutoApproved(*engine.Find(7), offered).size(), 0u);
}

}  // namespace
}  // namespace ringscale::control::policy

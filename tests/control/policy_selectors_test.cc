// Whom and what the words of the language stand for, word by word.
#include <gtest/gtest.h>

#include <string>

#include "tests/control/policy_support.h"

namespace ringscale::control::policy {
namespace {

#define LOAD(text)                              \
  const Loaded loaded = Load(TestPolicy(text)); \
  ASSERT_TRUE(loaded.engine) << loaded.error;   \
  const Engine& engine = *loaded.engine

std::string Failures(Engine& engine) {
  const auto failed = RunPolicyTests(engine);
  return failed ? failed->text() : "";
}

// Who sees the node when only the source is written.
std::string Sources(const std::string& source) {
  const Loaded loaded =
      Load(TestPolicy(R"("acls":[{"src":[)" + source + R"(],"dst":["tag:db:22"]}])"));
  EXPECT_TRUE(loaded.engine) << source << loaded.error;
  return loaded.engine ? SeenBy(*loaded.engine, 4) : "";
}

TEST(PolicySelectors, UsersByAllTheirNames) {
  for (const char* name : {"alice@example.com", "alice@", "ALICE@EXAMPLE.COM"}) {
    EXPECT_EQ(Sources("\"" + std::string(name) + "\""), "1 2") << name;
  }
  EXPECT_EQ(Sources(R"("nobody@example.com")"), "");
  EXPECT_EQ(Sources(R"("user:*@example.com")"), "1 2 3");
  EXPECT_EQ(Sources(R"("group:dev")"), "1 2 3");
  EXPECT_EQ(Sources(R"("group:none")"), "");
}

TEST(PolicySelectors, Autogroups) {
  EXPECT_EQ(Sources(R"("autogroup:member")"), "1 2 3 7");
  EXPECT_EQ(Sources(R"("autogroup:members")"), "1 2 3 7");
  EXPECT_EQ(Sources(R"("autogroup:tagged")"), "5 6");
  EXPECT_EQ(Sources(R"("autogroup:owner")"), "1 2");
  EXPECT_EQ(Sources(R"("autogroup:admin")"), "7");
  EXPECT_EQ(Sources(R"("autogroup:danger-all")"), "1 2 3 5 6 7");
  for (const char* nobody : {"it-admin", "network-admin", "billing-admin", "auditor", "shared"}) {
    EXPECT_EQ(Sources("\"autogroup:" + std::string(nobody) + "\""), "") << nobody;
  }
}

TEST(PolicySelectors, AddressesInAllForms) {
  EXPECT_EQ(Sources(R"("100.64.0.30")"), "3");
  EXPECT_EQ(Sources(R"("100.64.0.0/27")"), "1 2 3");
  EXPECT_EQ(Sources(R"("100.64.0.15-100.64.0.35")"), "2 3");
  EXPECT_EQ(Sources(R"("fd7a:115c:a1e0::30")"), "3");
  EXPECT_EQ(Sources(R"("office")"), "5") << "behind its router";
}

TEST(PolicySelectors, Protocols) {
  const struct {
    const char* text;
    const char* number;
  } kCases[] = {{"icmp", "1"},  {"igmp", "2"},       {"ipv4", "4"},    {"ip-in-ip", "4"},
                {"tcp", "6"},   {"egp", "8"},        {"igp", "9"},     {"udp", "17"},
                {"gre", "47"},  {"esp", "50"},       {"ah", "51"},     {"sctp", "132"},
                {"fc", "133"},  {"ipv6-icmp", "58"}, {"icmpv6", "58"}, {"icmpv4", "1"},
                {"dccp", "33"}, {"tsmp", "99"},      {"TCP", "6"},     {"99", "99"},
                {"255", "255"}};
  for (const auto& [text, number] : kCases) {
    const std::string proto = text;
    const Loaded loaded = Load(
        TestPolicy(R"("acls":[{"src":["bob@"],"dst":["tag:db:*"],"proto":")" + proto + R"("}])"));
    ASSERT_TRUE(loaded.engine) << loaded.error;
    EXPECT_TRUE(FilterText(*loaded.engine, 4).contains("\"IPProto\":[" + std::string(number) + "]"))
        << text;
  }
  LOAD(R"("acls":[{"src":["bob@"],"dst":["tag:db:22,80-90,443"]}])");
  for (const char* ports :
       {R"({"First":22,"Last":22})", R"({"First":80,"Last":90})", R"({"First":443,"Last":443})"}) {
    EXPECT_TRUE(FilterText(engine, 4).contains(ports)) << ports;
  }
  EXPECT_FALSE(FilterText(engine, 4).contains("IPProto"));
}

TEST(PolicySelectors, SetsAddAndRemoveInOrder) {
  LOAD(R"("ipsets":{
"ipset:all":["10.1.0.0/16"],
"ipset:most":["add ipset:all","remove office","remove 10.1.9.9","add 10.1.2.128/25"],
"ipset:world":["add autogroup:internet","remove 8.8.8.8"],
"ipset:empty":["add office","remove ipset:all"]},
"grants":[{"src":["bob@"],"dst":["ipset:most"],"ip":["22"]},
{"src":["bob@"],"dst":["ipset:world"],"ip":["443"]},
{"src":["ipset:empty"],"dst":["tag:db"],"ip":["*"]}])");
  const std::string filter = FilterText(engine, 5);
  EXPECT_TRUE(filter.contains(R"("IP":"10.1.0.0/23")")) << filter;
  EXPECT_TRUE(filter.contains(R"("IP":"10.1.2.128-10.1.9.8")")) << filter;
  EXPECT_TRUE(filter.contains(R"("IP":"10.1.9.10-10.1.255.255")")) << filter;
  EXPECT_FALSE(filter.contains("10.1.2.0")) << filter;
  EXPECT_TRUE(FilterText(engine, 6).contains("8.8.8.9")) << "an exit node for all but one";
  EXPECT_EQ(FilterText(engine, 4), "");
}

TEST(PolicySelectors, ASetNeedNotBePrefixesForCapabilities) {
  LOAD(R"("ipsets":{"ipset:some":["10.1.0.0/30","remove 10.1.0.0"]},
"grants":[{"src":["bob@"],"dst":["ipset:some"],"app":{"example.com/x":[{}]}}])");
  EXPECT_TRUE(FilterText(engine, 5).contains(R"("Dsts":["10.1.0.1/32","10.1.0.2/31"])"))
      << FilterText(engine, 5);
}

TEST(PolicySelectors, ServicesAreTakenAndNobodyServesThem) {
  LOAD(R"("autoApprovers":{"services":{"svc:web":["tag:db"],"tag:db":["alice@"]}},
"acls":[{"src":["alice@"],"dst":["svc:web:443","tag:db:22"]}],
"grants":[{"src":["alice@"],"dst":["svc:web"],"ip":["443"]}])");
  EXPECT_FALSE(FilterText(engine, 4).contains("443"));
  EXPECT_TRUE(FilterText(engine, 4).contains("22"));
  EXPECT_FALSE(Load(TestPolicy(R"("acls":[{"src":["svc:web"],"dst":["*:*"]}])")).engine);
  EXPECT_TRUE(Load(TestPolicy(R"("autoApprovers":{"services":{"web":["tag:db"]}})"))
                  .error.contains("invalid service: \"web\""));
  EXPECT_TRUE(Load(TestPolicy(R"("autoApprovers":{"services":{"svc:web":["tag:none"]}})"))
                  .error.contains("tag not found: \"tag:none\""));
}

TEST(PolicySelectors, PosturesOnWhatAServerKnows) {
  const auto sources = [](const std::string& condition) {
    const Loaded loaded = Load(
        TestPolicy(R"("postures":{"posture:p":[")" + condition +
                   R"("]},"acls":[{"src":["*"],"srcPosture":["posture:p"],"dst":["tag:db:22"]}])"));
    EXPECT_TRUE(loaded.engine) << condition << loaded.error;
    return loaded.engine ? SeenBy(*loaded.engine, 4) : "";
  };
  EXPECT_EQ(sources("node:os == 'linux'"), "1");
  EXPECT_EQ(sources("node:os != 'linux'"), "2");
  EXPECT_EQ(sources("node:os IN ['macos', 'windows']"), "2");
  EXPECT_EQ(sources("node:os NOT IN ['macos', 'windows']"), "1");
  EXPECT_EQ(sources("node:os IS SET"), "1 2");
  EXPECT_EQ(sources("node:os NOT SET"), "3 5 6 7");
  EXPECT_EQ(sources("node:tsVersion >= '1.10'"), "1") << "1.9 comes before 1.10";
  EXPECT_EQ(sources("node:tsVersion < '1.80.1'"), "1 2");
  EXPECT_EQ(sources("node:tsReleaseTrack == 'unstable'"), "2");
  EXPECT_EQ(sources("custom:tier == 'gold'"), "") << "what nobody told is not met";
  EXPECT_EQ(sources("custom:tier NOT SET"), "1 2 3 5 6 7");
}

TEST(PolicySelectors, PosturesOfRulesWithoutOwn) {
  LOAD(R"("postures":{"posture:mac":["node:os == 'macos'"],"posture:linux":["node:os == 'linux'"]},
"defaultSrcPosture":["posture:mac"],
"acls":[{"src":["autogroup:member"],"dst":["tag:db:22"]}],
"grants":[{"src":["autogroup:member"],"dst":["tag:exit"],"ip":["*"],
"srcPosture":["posture:linux","posture:mac"]}])");
  EXPECT_EQ(SeenBy(engine, 4), "2");
  EXPECT_EQ(SeenBy(engine, 6), "1 2") << "one of those named is enough";
}

TEST(PolicySelectors, TestsSayWhatTheirDeviceIs) {
  constexpr char kRules[] =
      R"("postures":{"posture:new":["node:os == 'macos'","node:tsVersion >= '1.40'"]},
"acls":[{"src":["bob@"],"dst":["tag:db:22"],"srcPosture":["posture:new"]}],
"ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],"users":["root"],
"srcPosture":["posture:new"]}],)";
  const std::string attributes =
      R"("srcPostureAttrs":{"node:os":"macOS","node:tsVersion":"1.80.0","custom:n":5,"custom:b":true})";
  const auto failures = [&](const std::string& tests) {
    const Loaded loaded = Load(TestPolicy(kRules + tests));
    EXPECT_TRUE(loaded.engine) << loaded.error;
    return loaded.engine ? Failures(*loaded.engine) : loaded.error;
  };
  EXPECT_EQ(failures(R"("tests":[{"src":"bob@",)" + attributes + R"(,"accept":["tag:db:22"]}])"),
            "");
  EXPECT_EQ(failures(R"("tests":[{"src":"bob@","deny":["tag:db:22"]}])"), "")
      << "a device of which nothing is said meets no posture";
  EXPECT_TRUE(failures(R"("tests":[{"src":"bob@","srcPostureAttrs":{"node:os":"linux"},
"accept":["tag:db:22"]}])")
                  .contains("expected ALLOWED, got DENIED"));
  EXPECT_EQ(failures(R"("sshTests":[{"src":"bob@","dst":["tag:db"],)" + attributes +
                     R"(,"accept":["root"]},{"src":"bob@","dst":["tag:db"],"deny":["root"]}])"),
            "");
  EXPECT_TRUE(Load(TestPolicy(R"("tests":[{"src":"bob@","srcPostureAttrs":{"os":"x"}}])"))
                  .error.contains("invalid posture attribute \"os\""));
  EXPECT_TRUE(Load(TestPolicy(R"("tests":[{"src":"bob@","srcPostureAttrs":{"node:os":[]}}])"))
                  .error.contains("must be a string, a number"));
}

TEST(PolicySelectors, TestsNeedNoNodes) {
  constexpr char kRules[] =
      R"({"tagOwners":{"tag:web":[],"tag:db":[]},"groups":{"group:dev":["alice@","bob@"]},
"acls":[{"src":["group:dev"],"dst":["tag:web:443"]},{"src":["tag:web"],"dst":["tag:db:5432"]}],
"ssh":[{"action":"accept","src":["group:dev"],"dst":["tag:web"],"users":["root"]}],)";
  const auto failures = [&](const std::string& tests) {
    auto document = ParseDocument(kRules + tests + "}");
    EXPECT_TRUE(document) << document.error().text();
    auto program =
        Program::Compile(std::make_shared<const Document>(std::move(*document)), TestUsers());
    EXPECT_TRUE(program);
    Engine engine(*program, EngineSettings{});
    const std::string out = Failures(engine);
    EXPECT_TRUE(engine.nodes().empty()) << "those made up are gone";
    return out;
  };
  EXPECT_EQ(
      failures(R"("tests":[{"src":"group:dev","accept":["tag:web:443"],"deny":["tag:db:5432"]},
{"src":"alice@","accept":["tag:web:443"]},{"src":"tag:web","accept":["tag:db:5432"],"deny":["bob@:22"]},
{"src":"carol@example.org","deny":["tag:web:443"]}],
"sshTests":[{"src":"bob@","dst":["tag:web"],"accept":["root"],"deny":["ubuntu"]}])"),
      "");
  EXPECT_TRUE(failures(R"("tests":[{"src":"carol@example.org","accept":["tag:web:443"]}])")
                  .contains("expected ALLOWED, got DENIED"));
  EXPECT_TRUE(failures(R"("tests":[{"src":"nobody@example.org","deny":["tag:web:443"]}])")
                  .contains("resolved to no IP addresses"));
}

TEST(PolicySelectors, TestsAskForTcpOrUdp) {
  LOAD(R"("acls":[{"src":["bob@"],"dst":["tag:db:*"],"proto":"icmp"},
{"src":["bob@"],"dst":["tag:router:*"],"proto":"udp"}],
"tests":[{"src":"bob@","deny":["tag:db:22"],"accept":["tag:router:53"]},
{"src":"bob@","proto":"tcp","deny":["tag:router:53"]}])");
  EXPECT_EQ(Failures(*loaded.engine), "");
  EXPECT_EQ(SeenBy(engine, 3), "4 5");
}

TEST(PolicySelectors, TestsHoldForEveryNodeOfTheSource) {
  // 100.64.0.20 and .21 are neighbours, one of which may.
  LOAD(R"("acls":[{"src":["100.64.0.20"],"dst":["tag:db:22"]}],
"tests":[{"src":"carol@example.org","accept":["tag:db:22"]}])");
  loaded.engine->Remove(7);
  for (const NodeId id : {1, 2}) {
    PolicyNode node = *engine.Find(id);
    node.user = 3;
    node.v4 = *core::IpAddress::Parse("100.64.0.2" + std::to_string(id - 1));
    node.v6 = {};
    loaded.engine->Put(node);
  }
  EXPECT_TRUE(Failures(*loaded.engine).contains("expected ALLOWED, got DENIED"));
}

TEST(PolicySelectors, GroupsOfIdentityProviders) {
  const Loaded loaded = Load(R"({"groups":{"group:sre@example.com":["alice@"]},
"acls":[{"src":["group:sre@example.com"],"dst":["bob@:22"]}]})");
  ASSERT_TRUE(loaded.engine) << loaded.error;
  EXPECT_EQ(SeenBy(*loaded.engine, 3), "1 2");
  EXPECT_TRUE(Load(R"({"acls":[{"src":["group:sre@example.com"],"dst":["*:*"]}]})")
                  .error.contains("group not defined in policy"));
}

TEST(PolicySelectors, SubnetsBehindFourViaSix) {
  // Site 7's 10.1.0.0/16 (RFC 4291 form of what `tailscale debug via 7 10.1.0.0/16` prints).
  constexpr char kSite[] = "fd7a:115c:a1e0:b1a:0:7:a01:0/112";
  const Loaded loaded = Load(TestPolicy(R"("autoApprovers":{"routes":{")" + std::string(kSite) +
                                        R"(":["tag:router"]}},
"acls":[{"src":["bob@"],"dst":[")" + kSite +
                                        R"(:443"]}])"));
  ASSERT_TRUE(loaded.engine) << loaded.error;
  Engine& engine = *loaded.engine;
  const core::IpPrefix site = *core::IpPrefix::Parse(kSite);
  PolicyNode router = *engine.Find(5);
  EXPECT_EQ(engine.program().AutoApproved(router, {{site}}).size(), 1U);
  router.routes = {site};
  engine.Put(router);
  engine.SetPrimary(site, 5);
  EXPECT_TRUE(FilterText(engine, 5).contains(kSite)) << FilterText(engine, 5);
  EXPECT_EQ(engine.RoutesOf(3, 5).primary, std::vector<core::IpPrefix>{site});
  EXPECT_EQ(SeenBy(engine, 5), "3");
}

TEST(PolicySelectors, AppConnectors) {
  LOAD(R"("nodeAttrs":[{"target":["*"],"app":{"tailscale.com/app-connectors":[
{"name":"github","connectors":["tag:router"],"domains":["github.com","*.github.com"]}]}}],
"autoApprovers":{"routes":{"0.0.0.0/0":["tag:router"],"::/0":["tag:router"]}})");
  for (const NodeId id : {1, 4, 5}) {
    EXPECT_EQ(engine.Capabilities(id).at("tailscale.com/app-connectors"),
              R"([{"name":"github","connectors":["tag:router"],)"
              R"("domains":["github.com","*.github.com"]}])");
  }
  // What the connector learns of the domains it may carry at once; it is no exit node.
  const std::vector<core::IpPrefix> learnt = {*core::IpPrefix::Parse("140.82.121.4/32"),
                                              *core::IpPrefix::Parse("0.0.0.0/0")};
  EXPECT_EQ(engine.program().AutoApproved(*engine.Find(5), learnt),
            std::vector<core::IpPrefix>{learnt[0]});
}

TEST(PolicySelectors, FunnelWithItsPorts) {
  LOAD(R"("nodeAttrs":[{"target":["tag:db"],"attr":["funnel"]},
{"target":["bob@"],"attr":["funnel","https://tailscale.com/cap/funnel-ports?ports=443,9000-9100"]}])");
  const auto db = engine.Capabilities(4);
  EXPECT_TRUE(db.contains("funnel"));
  EXPECT_TRUE(db.contains("https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"));
  EXPECT_TRUE(db.contains("https://tailscale.com/cap/warn-funnel-no-https"));
  EXPECT_TRUE(engine.Capabilities(3).contains(
      "https://tailscale.com/cap/funnel-ports?ports=443,9000-9100"));
  EXPECT_FALSE(engine.Capabilities(1).contains("funnel"));
  EXPECT_FALSE(engine.Capabilities(1).contains("https"));
}

TEST(PolicySelectors, FunnelWhereTheTailnetHasCertificates) {
  auto document =
      ParseDocument(TestPolicy(R"("nodeAttrs":[{"target":["tag:db"],"attr":["funnel"]}])"));
  ASSERT_TRUE(document) << document.error().text();
  auto program =
      Program::Compile(std::make_shared<const Document>(std::move(*document)), TestUsers());
  ASSERT_TRUE(program) << program.error().text();
  Engine engine(*program, {.server_url = "https://hs.example", .https_certificates = true});
  for (const auto& node : TestNodes()) engine.Put(node);
  const auto db = engine.Capabilities(4);
  EXPECT_TRUE(db.contains("funnel"));
  EXPECT_TRUE(db.contains("https"));
  EXPECT_FALSE(db.contains("https://tailscale.com/cap/warn-funnel-no-https"));
  EXPECT_TRUE(engine.Capabilities(1).contains("https"));
}

TEST(PolicySelectors, Taildrive) {
  LOAD(R"("nodeAttrs":[{"target":["tag:db"],"attr":["drive:share"]},
{"target":["bob@"],"attr":["drive:access"]}],
"grants":[{"src":["bob@"],"dst":["tag:db"],
"app":{"tailscale.com/cap/drive":[{"shares":["docs"],"access":"ro"}]}}])");
  EXPECT_TRUE(engine.Capabilities(4).contains("drive:share"));
  EXPECT_TRUE(engine.Capabilities(3).contains("drive:access"));
  EXPECT_TRUE(FilterText(engine, 4).contains(
      R"("CapMap":{"tailscale.com/cap/drive":[{"shares":["docs"],"access":"ro"}]})"));
  EXPECT_TRUE(FilterText(engine, 3).contains(R"("tailscale.com/cap/drive-sharer":null)"));
  EXPECT_EQ(SeenBy(engine, 3), "4");
}

TEST(PolicySelectors, PeerRelays) {
  LOAD(R"("grants":[{"src":["bob@"],"dst":["tag:exit"],"app":{"tailscale.com/cap/relay":[]}}],
"nodeAttrs":[{"target":["alice@"],"attr":["disable-relay-client"]}])");
  EXPECT_TRUE(FilterText(engine, 6).contains(R"("tailscale.com/cap/relay":[])"));
  EXPECT_TRUE(FilterText(engine, 3).contains(R"("tailscale.com/cap/relay-target":null)"));
  EXPECT_TRUE(engine.Capabilities(1).contains("disable-relay-client"));
}

TEST(PolicySelectors, SshUsersByTheirOwnName) {
  LOAD(R"("ssh":[{"action":"accept","src":["autogroup:member"],"dst":["tag:db"],
"users":["localpart:*@example.com"]}])");
  using Answer = Engine::SshAnswer;
  EXPECT_EQ(engine.SshAllows(1, 4, "alice"), Answer::kAccept);
  EXPECT_EQ(engine.SshAllows(3, 4, "bob"), Answer::kAccept);
  EXPECT_EQ(engine.SshAllows(3, 4, "alice"), Answer::kNo);
  EXPECT_EQ(engine.SshAllows(7, 4, "carol"), Answer::kNo) << "of another domain";
  EXPECT_TRUE(engine.SshPolicy(4).contains(R"("sshUsers":{"bob":"bob"})"));
}

TEST(PolicySelectors, SshSessionsAreRecorded) {
  LOAD(R"("ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],"users":["root"],
"recorder":["tag:exit"],"enforceRecorder":true},
{"action":"accept","src":["alice@"],"dst":["tag:db"],"users":["root"],"recorder":["tag:exit"]}])");
  const std::string policy = engine.SshPolicy(4);
  EXPECT_TRUE(policy.contains(R"("recorders":["100.64.0.60:80"])")) << policy;
  EXPECT_TRUE(policy.contains("RejectSessionWithMessage")) << policy;
  EXPECT_EQ(policy.find("RejectSessionWithMessage"), policy.rfind("RejectSessionWithMessage"))
      << "only where recording is enforced";
  EXPECT_TRUE(Load(TestPolicy(R"("ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],
"users":["root"],"recorder":["tag:none"]}])"))
                  .error.contains("tag not found: \"tag:none\""));
  EXPECT_TRUE(Load(TestPolicy(R"("ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],
"users":["root"],"recorder":["bob@"]}])"))
                  .error.contains("recorder can only be a tag"));
}

}  // namespace
}  // namespace ringscale::control::policy

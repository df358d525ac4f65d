// Which policy is in force, and what operators can do with it.
#include "control/policy/policy_keeper.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/control/api_support.h"
#include "tests/support/temp_folder.h"

namespace ringscale::control::testing {
namespace {

constexpr char kGood[] = R"({"tagOwners":{"tag:db":["alice@"]},
"autoApprovers":{"routes":{"10.0.0.0/8":["alice@"]}},
"acls":[{"src":["alice@"],"dst":["tag:db:5432"]}]})";

class PolicyKeeperTest : public ::testing::Test {
 protected:
  PolicyKeeperTest() { alice = tailnet.AddUser("alice"); }
  ~PolicyKeeperTest() override {
    if (keeper) tailnet.registry().RemoveListener(listener);
    keeper.reset();
  }

  void Write(const std::string& text) { std::ofstream(path, std::ios::trunc) << text; }

  core::Result<> Start(PolicyOptions options) {
    keeper = std::make_unique<PolicyKeeper>(tailnet.loop(), tailnet.registry(), options);
    listener.keeper = keeper.get();
    tailnet.registry().AddListener(listener);
    return keeper->Start({.changed = [this] { ++changes; },
                          .problem = [this](std::string text) { problem = text; }});
  }
  core::Result<std::uint64_t> Set(const std::string& text, const std::string& author = "somebody") {
    Outcome<std::uint64_t> outcome;
    keeper->Set(text, author, outcome.Callback());
    tailnet.Settle();
    return outcome.Get();
  }
  NodeId Join(std::uint64_t number, const std::string& hostname, const std::string& more = "") {
    const auto key = tailnet.AddKey({.user = alice, .reusable = true});
    const auto joined =
        tailnet.JoinWithKey(Tailnet::Request(number, number, hostname, more), key.text);
    EXPECT_TRUE(joined) << joined.error().message;
    tailnet.Settle();
    return joined ? joined->id : 0;
  }

  struct Listener final : ChangeListener {
    void OnChange(const Change& change) override {
      keeper->OnChange(change);
      static_cast<void>(keeper->index().OnChange(change));
    }
    PolicyKeeper* keeper = nullptr;
  };

  Tailnet tailnet;
  const tests::TempFolder folder;
  const std::string path = folder / "policy.hujson";
  std::unique_ptr<PolicyKeeper> keeper;
  Listener listener;
  UserId alice = 0;
  int changes = 0;
  std::string problem;
};

TEST_F(PolicyKeeperTest, WithoutAPathEverybodyReachesEverybody) {
  ASSERT_TRUE(Start({}));
  EXPECT_EQ(keeper->index().engine(), nullptr);
  EXPECT_EQ(keeper->text(), "");
  EXPECT_TRUE(keeper->TagExists("tag:any"));
  EXPECT_FALSE(keeper->MayOwnTag(alice, "tag:any"));
}

TEST_F(PolicyKeeperTest, ABadFileStopsTheStart) {
  Write("{ \"acls\": [ ");
  const auto started = Start({.path = path});
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("line 1, column 13"), std::string::npos)
      << started.error().message;
}

TEST_F(PolicyKeeperTest, AMissingFileStopsTheStart) {
  EXPECT_FALSE(Start({.path = folder / "none"}));
}

TEST_F(PolicyKeeperTest, ABadFileKeepsThePolicyOfBefore) {
  Write(kGood);
  ASSERT_TRUE(Start({.path = path}));
  EXPECT_EQ(changes, 1);
  for (const char* bad : {"{", "", "  \n", R"({"acls":[{"src":["tag:x"],"dst":["*:*"]}]})",
                          R"({"grants":[],"tests":[{"src":"alice@","accept":["alice@:22"]}]})"}) {
    Write(bad);
    keeper->Reload();
    EXPECT_EQ(keeper->text(), kGood);
    EXPECT_NE(problem.find("the policy of before stays in force"), std::string::npos) << problem;
    EXPECT_EQ(problem.find('\n'), std::string::npos);
  }
  EXPECT_EQ(changes, 1);
  Write(R"({"grants":[]})");
  keeper->Reload();
  EXPECT_EQ(problem, "");
  EXPECT_EQ(changes, 2);
}

TEST_F(PolicyKeeperTest, AnotherSourceIsTakenOver) {
  Write(kGood);
  ASSERT_TRUE(Start({}));
  EXPECT_FALSE(keeper->Read({.path = folder / "none"}));
  auto candidate = keeper->Read({.path = path});
  ASSERT_TRUE(candidate) << candidate.error().message;
  EXPECT_EQ(keeper->text(), "") << "nothing has changed yet";
  keeper->Use({.path = path}, std::move(*candidate));
  EXPECT_EQ(keeper->text(), kGood);
  EXPECT_EQ(changes, 1);
  // From then on that file is watched.
  Write(R"({"grants":[]})");
  keeper->Watch();
  EXPECT_EQ(changes, 2);
  // And to the store, which has none.
  candidate = keeper->Read({.database = true});
  ASSERT_TRUE(candidate);
  keeper->Use({.database = true}, std::move(*candidate));
  EXPECT_EQ(keeper->text(), "");
  EXPECT_EQ(keeper->index().engine(), nullptr);
  EXPECT_TRUE(keeper->writable());
}

TEST_F(PolicyKeeperTest, AChangedFileIsNoticed) {
  Write(kGood);
  ASSERT_TRUE(Start({.path = path}));
  keeper->Watch();
  EXPECT_EQ(changes, 1);
  // Another file in its place, as editors do.
  std::ofstream(folder / "new") << R"({"grants":[]})";
  std::filesystem::rename(folder / "new", path);
  keeper->Watch();
  EXPECT_EQ(changes, 2);
  EXPECT_EQ(keeper->text(), R"({"grants":[]})");
}

TEST_F(PolicyKeeperTest, FilesAreNotSetByCommand) {
  Write(kGood);
  ASSERT_TRUE(Start({.path = path}));
  const auto set = Set(R"({"grants":[]})");
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message, "update is disabled for modes other than 'database'");
}

TEST_F(PolicyKeeperTest, StoredPoliciesHaveVersionsAndSurviveARestart) {
  ASSERT_TRUE(Start({.database = true}));
  EXPECT_EQ(Set(kGood).value_or(0), 1U);
  EXPECT_EQ(Set(R"({"grants":[]})").value_or(0), 2U);
  const auto bad = Set(R"({"acls":[{"src":["tag:x"],"dst":["*:*"]}]})");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message, "line 1, column 18: src=tag not found: \"tag:x\"");
  EXPECT_EQ(tailnet.registry().policies().size(), 2U);
  EXPECT_EQ(tailnet.registry().policies().at(1).text, kGood);
  EXPECT_EQ(tailnet.registry().policies().at(1).author, "somebody");
  keeper.reset();
  tailnet.Restart();
  ASSERT_TRUE(Start({.database = true}));
  EXPECT_EQ(keeper->text(), R"({"grants":[]})");
}

TEST_F(PolicyKeeperTest, AnOlderVersionIsMadeCurrentAgain) {
  ASSERT_TRUE(Start({.database = true}));
  ASSERT_TRUE(Set(kGood));
  ASSERT_TRUE(Set(R"({"grants":[]})"));
  tailnet.loop().Advance(core::Seconds(60));
  const auto& versions = tailnet.registry().policies();
  EXPECT_EQ(Set(versions.at(1).text, "other").value_or(0), 3U);
  EXPECT_EQ(keeper->text(), kGood);
  // What was in force between, who went back and when stay known.
  EXPECT_EQ(versions.at(2).text, R"({"grants":[]})");
  EXPECT_EQ(versions.at(2).author, "somebody");
  EXPECT_EQ(versions.at(3).author, "other");
  EXPECT_GE((versions.at(3).created - versions.at(2).created).ns, core::Seconds(60).ns);
  keeper.reset();
  tailnet.Restart();
  ASSERT_TRUE(Start({.database = true}));
  EXPECT_EQ(keeper->text(), kGood);
}

TEST_F(PolicyKeeperTest, RoutesAreApprovedByPolicy) {
  ASSERT_TRUE(Start({.database = true}));
  const NodeId early = Join(1, "early", R"(,"RoutableIPs":["10.1.0.0/16","192.168.0.0/16"])");
  EXPECT_TRUE(tailnet.registry().FindNode(early)->row.approved_routes.empty());
  ASSERT_TRUE(Set(kGood));
  tailnet.loop().Advance(core::Millis(1));
  ASSERT_EQ(tailnet.registry().FindNode(early)->row.approved_routes.size(), 1U);
  EXPECT_EQ(tailnet.registry().FindNode(early)->row.approved_routes[0].text(), "10.1.0.0/16");
  const NodeId late = Join(2, "late", R"(,"RoutableIPs":["10.2.0.0/16"])");
  tailnet.loop().Advance(core::Millis(1));
  EXPECT_EQ(tailnet.registry().FindNode(late)->row.approved_routes.size(), 1U);
}

TEST_F(PolicyKeeperTest, AnotherClientVersionIsNoticed) {
  ASSERT_TRUE(Start({.database = true}));
  ASSERT_TRUE(Set(R"({"postures":{"posture:new":["node:tsVersion >= '1.80.0'"]},
"acls":[{"src":["alice@"],"srcPosture":["posture:new"],"dst":["alice@:22"]}]})"));
  const NodeId laptop = Join(1, "laptop", R"(,"IPNVersion":"1.70.1-t1","OS":"linux")");
  const NodeId server = Join(2, "server", R"(,"IPNVersion":"1.70.1-t1","OS":"linux")");
  const auto* engine = keeper->index().engine();
  EXPECT_FALSE(engine->Sees(laptop, server));
  EXPECT_EQ(
      tailnet.Report(
          laptop, {.capability_version = 142,
                   .hostinfo = R"({"Hostname":"laptop","IPNVersion":"1.84.0-t2","OS":"linux"})"}),
      "");
  EXPECT_TRUE(engine->Sees(laptop, server));
}

TEST_F(PolicyKeeperTest, TagsBelongToTheirOwners) {
  ASSERT_TRUE(Start({.database = true}));
  ASSERT_TRUE(Set(kGood));
  const UserId bob = tailnet.AddUser("bob");
  EXPECT_TRUE(keeper->MayOwnTag(alice, "tag:db"));
  EXPECT_FALSE(keeper->MayOwnTag(bob, "tag:db"));
  EXPECT_TRUE(keeper->TagExists("tag:db"));
  EXPECT_FALSE(keeper->TagExists("tag:other"));
}

TEST_F(PolicyKeeperTest, EffectsAndExplanations) {
  ASSERT_TRUE(Start({.database = true}));
  Join(1, "laptop");
  Join(2, "desk");
  const auto candidate = keeper->Check(R"({"grants":[]})");
  ASSERT_TRUE(candidate);
  EXPECT_EQ(keeper->Effects(*candidate),
            (std::vector<std::string>{"laptop, desk:", "  loses 2 peers: laptop, desk",
                                      "  no longer lets in everything from everybody"}));
  EXPECT_EQ(keeper->Effects(*candidate, 0).back(), "and 2 more nodes");
  ASSERT_TRUE(Set(R"({"tagOwners":{"tag:db":[]},"acls":[{"src":["alice@"],"dst":["laptop-ip:22"]},
{"src":["tag:db"],"dst":["*:80"]}],"hosts":{"laptop-ip":"100.64.0.1"}})"));
  const auto yes = keeper->Explain("desk", "laptop", 22);
  ASSERT_TRUE(yes) << yes.error().message;
  EXPECT_EQ(yes->at(0), "allowed");
  EXPECT_EQ(yes->at(1), "  allows: acls[0] (line 1): ports 22");
  const auto no = keeper->Explain("desk", "laptop", 23);
  ASSERT_TRUE(no);
  EXPECT_EQ(no->at(0), "denied");
  EXPECT_EQ(no->at(1), "  not:    acls[0] (line 1): only for ports 22");
  EXPECT_EQ(no->at(2), "  not:    acls[1] (line 2): the source is not among tag:db");
  EXPECT_EQ(no->at(3), "  ssh:    refused");
  EXPECT_FALSE(keeper->Explain("nobody", "laptop", 0));
}

TEST_F(PolicyKeeperTest, EffectsNameRulesAndSettings) {
  ASSERT_TRUE(Start({.database = true}));
  Join(1, "laptop");
  ASSERT_TRUE(Set(R"({"acls":[{"src":["alice@"],"dst":["alice@:22,80-90"]}],
"ssh":[{"action":"accept","src":["alice@"],"dst":["autogroup:self"],"users":["root"]}]})"));
  const auto effects = [&](const std::string& text) {
    const auto candidate = keeper->Check(text);
    EXPECT_TRUE(candidate) << candidate.error().text();
    std::string out;
    if (candidate) {
      for (const auto& line : keeper->Effects(*candidate)) out += line + "\n";
    }
    return out;
  };
  EXPECT_EQ(effects(keeper->text()), "");
  EXPECT_EQ(effects(R"({"acls":[{"src":["alice@"],"dst":["alice@:22"],"proto":"udp"}],
"nodeAttrs":[{"target":["*"],"attr":["a:b"]}],"disableIPv4":true,
"extraDNSRecords":[{"Name":"a.example","Value":"100.64.0.1"}],"derpMap":{"Regions":{"9":null}}})"),
            "laptop:\n"
            "  no longer lets in 22,80-90 from 100.64.0.1,fd7a:115c:a1e0::1\n"
            "  now lets in 22 (protocol 17) from 100.64.0.1,fd7a:115c:a1e0::1\n"
            "  now has a:b\n"
            "  now has disable-ipv4\n"
            "  other SSH rules\n"
            "all nodes: other relays (derpMap)\n"
            "all nodes: other DNS records (extraDNSRecords)\n");
}

TEST_F(PolicyKeeperTest, RemarksNameWhatIsDifferentHere) {
  ASSERT_TRUE(Start({.database = true}));
  const auto candidate = keeper->Check(R"({"tagOwners":{"tag:db":[]},
"postures":{"posture:p":["custom:tier == 'gold'","node:os == 'linux'"]},
"nodeAttrs":[{"target":["*"],"attr":["funnel","x:y"]},{"target":["tag:db"],"attr":["funnel","https"]}],
"acls":[{"src":["*"],"dst":["svc:web:443"]}]})");
  ASSERT_TRUE(candidate) << candidate.error().text();
  EXPECT_EQ(
      PolicyKeeper::Remarks(*candidate),
      (std::vector<std::string>{"nodeAttrs: funnel is not served here and is withheld",
                                "nodeAttrs: https is not served here and is withheld",
                                "services are not served here: svc:web leads nowhere",
                                "posture:p: custom:tier is not known here, as if it was not set"}));
}

TEST_F(PolicyKeeperTest, ExplanationsOfSshAndCapabilities) {
  ASSERT_TRUE(Start({.database = true}));
  Join(1, "laptop");
  Join(2, "desk");
  ASSERT_TRUE(Set(R"({"tagOwners":{"tag:db":[]},
"postures":{"posture:new":["node:tsVersion >= '99'"]},
"grants":[{"src":["alice@"],"dst":["alice@"],"app":{"example.com/x":[{"a":1}]}},
{"src":["alice@"],"dst":["alice@"],"ip":["22"],"srcPosture":["posture:new"]}],
"ssh":[{"action":"check","checkPeriod":"1h","src":["alice@"],"dst":["autogroup:self"],"users":["root","ubuntu"]},
{"action":"accept","src":["alice@"],"dst":["tag:db"],"users":["root"]}]})"));
  const auto lines = keeper->Explain("laptop", "desk", 22);
  ASSERT_TRUE(lines) << lines.error().message;
  EXPECT_EQ(*lines,
            (std::vector<std::string>{
                "denied", "  grants: grants[0] (line 3): capabilities example.com/x [{\"a\":1}]",
                "  not:    grants[1] (line 4): the source does not meet posture:new",
                "  ssh:    ssh[0] (line 5): held until it is approved, which counts for "
                "1h0m0s, as root, ubuntu"}));
  ASSERT_TRUE(Set(R"({"tagOwners":{"tag:db":[]},"grants":[],
"ssh":[{"action":"accept","src":["alice@"],"dst":["tag:db"],"users":["root"]}]})"));
  const auto refused = keeper->Explain("laptop", "desk", 0);
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused, (std::vector<std::string>{
                          "denied", "  ssh:    refused",
                          "  not:    ssh[0] (line 2): the destination is not among tag:db"}));
}

TEST_F(PolicyKeeperTest, OperatorsAskByTheirApi) {
  ASSERT_TRUE(Start({.database = true}));
  Registration registration(tailnet.loop(), tailnet.registry());
  AdminApi api(tailnet.loop(), tailnet.registry(), registration, tailnet.store(),
               {.policy = keeper.get()});
  const auto call = [&](std::string method, std::string target, std::string body = "") {
    const auto question = std::min(target.find('?'), target.size());
    std::string answer;
    api.Handle({method, target.substr(0, question),
                question < target.size() ? target.substr(question + 1) : "", body},
               [&](AdminResponse response) {
                 answer = std::to_string(response.status) + " " + response.body;
               });
    tailnet.Settle();
    return answer;
  };
  EXPECT_EQ(call("GET", "/api/v1/policy"),
            R"(200 {"policy":"","updatedAt":"0001-01-01T00:00:00Z"})");
  EXPECT_TRUE(call("PUT", "/api/v1/policy", R"({"policy":"{\"grants\":[]}","author":"me"})")
                  .starts_with(R"(200 {"policy":"{\"grants\":[]}","updatedAt":"20)"));
  EXPECT_TRUE(call("POST", "/api/v1/policy/check", R"({"policy":"{"})").starts_with("400 "));
  EXPECT_EQ(call("POST", "/api/v1/policy/check", R"({"policy":"{}"})"),
            R"(200 {"effects":[],"remarks":[]})");
  EXPECT_NE(call("GET", "/api/v1/policy/history").find(R"("version":"1","author":"me")"),
            std::string::npos);
  EXPECT_NE(call("GET", "/api/v1/policy/history/1").find(R"("policy":"{\"grants\":[]}")"),
            std::string::npos);
  EXPECT_TRUE(call("GET", "/api/v1/policy/history/7").starts_with("404 "));
  EXPECT_TRUE(call("GET", "/api/v1/policy/explain?src=x&dst=y&port=1").starts_with("404 "));
  EXPECT_TRUE(call("GET", "/api/v1/policy/explain?src=x&dst=y&port=70000").starts_with("400 "));
}

}  // namespace
}  // namespace ringscale::control::testing

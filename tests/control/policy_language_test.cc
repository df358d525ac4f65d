// What the policy language takes and refuses.
#include <gtest/gtest.h>

#include <string>

#include "control/policy/text_forms.h"
#include "tests/control/policy_support.h"

namespace ringscale::control::policy {
namespace {

TEST(PolicyLanguage, RefusalsSayWhatIsWrong) {
  const struct {
    std::string sections;
    std::string message;  // a part of it
  } cases[] = {
      {R"("nonsense":1)", "line 4, column 1: unknown field: \"nonsense\"\nallowed: groups, hosts"},
      {R"("acls":{})", "line 4, column 8: the section must be an array, got object"},
      {R"("acls":[{"action":"deny","src":["*"],"dst":["*:*"]}])",
       "action=\"deny\" is not supported"},
      {R"("acls":[{"src":["tag:nope"],"dst":["*:*"]}])", "src=tag not found: \"tag:nope\""},
      {R"("acls":[{"src":["group:nope"],"dst":["*:*"]}])",
       "group not defined in policy: \"group:nope\""},
      {R"("acls":[{"src":["nope"],"dst":["*:*"]}])", "host not defined in policy: \"nope\""},
      {R"("acls":[{"src":["a:b"],"dst":["*:*"]}])", "invalid alias format: \"a:b\""},
      {R"("acls":[{"src":["autogroup:what"],"dst":["*:*"]}])", "invalid autogroup: got "},
      {R"("acls":[{"src":["autogroup:internet"],"dst":["*:*"]}])",
       "autogroup:internet can only be used in ACL destinations"},
      {R"("acls":[{"src":["*"],"dst":["tag:nope:22"]}])",
       "dst=\"tag:nope\": tag not found: \"tag:nope\""},
      {R"("acls":[{"src":["*"],"dst":["dbhost"]}])", "hostport must contain a colon (\":\")"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:"]}])", "dst=\"dbhost:\": invalid port list: \"\""},
      {R"("acls":[{"src":["*"],"dst":[":22"]}])", "input cannot start with a colon character"},
      {R"("acls":[{"src":["*"],"dst":["[dbhost]:22"]}])",
       "square brackets are only valid around IPv6 addresses"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:9-8"]}])", "first port must be >= last port"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:1-2-3"]}])",
       "port range \"1-2-3\": too many dashes(-)"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:70000"]}])",
       "port range \"70000\": invalid first integer"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:-1"]}])",
       "dst=\"dbhost:-1\": port range \"-1\": invalid first integer"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:1-SSH"]}])",
       "port range \"1-ssh\": invalid last integer"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:22,"]}])", "invalid port list: \"22,\""},
      {R"("acls":[{"src":["*"],"dst":["dbhost,tag:db:22"]}])",
       "host cannot contain a comma (\",\")"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:0"]}])", "first port must be >0"},
      {R"("acls":[{"src":["*"],"dst":["dbhost:22"],"proto":"icmp"}])",
       "protocol does not support specific ports: \"icmp\""},
      {R"("acls":[{"src":["*"],"dst":["*:*"],"proto":"*"}])", "proto name \"*\" not known"},
      {R"("acls":[{"src":["*"],"dst":["*:*"],"proto":"07"}])",
       "leading 0 not permitted in protocol number \"07\""},
      {R"("acls":[{"src":["*"],"dst":["*:*"],"proto":"300"}])",
       "proto name \"300\" not known; use protocol number 0-255"},
      {R"("acls":[{"src":["*"],"dst":["*:*"],"proto":"ssh"}])", "proto name \"ssh\" not known"},
      {R"("acls":[{"src":["tag:db"],"dst":["autogroup:self:*"]}])",
       "autogroup:self can only be used with users, groups, or supported autogroups"},
      {R"("grants":[{"src":["*"],"dst":["autogroup:self"],"ip":["*"]}])",
       "autogroup:self can only be used with users, groups, or supported autogroups"},
      {R"("grants":[{"src":["*"],"dst":["*"]}])", "ip and app can not both be empty"},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":[""]}])", "empty string"},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":[":22"]}])", "empty protocol"},
      {R"("sshTests":[{"src":"autogroup:admin","dst":["tag:db"],"accept":["root"]}])",
       "SSH tests src contains disallowed element \"autogroup:admin\""},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":["a:b:c"]}])",
       "expected only one colon in Internet protocol and port type, got: [a b c](3)"},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":["*"],"via":["office"]}])",
       "via can only be a tag"},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":["*"],"via":["tag:x"]}])",
       "tag \"tag:x\" not found"},
      {R"("grants":[{"src":["*"],"dst":["*"],"app":{"http://x/y":[]}}])",
       "capability name must have the form {domain}/{path}"},
      {R"("grants":[{"src":["*"],"dst":["*"],"app":{"tailscale.com/cap/ingress":[{}]}}])",
       "capability name must not be in the tailscale.com domain"},
      {R"("grants":[{"src":["posture:x"],"dst":["*"],"ip":["*"]}])", "invalid alias format"},
      {R"("grants":[{"src":["*"],"dst":["*"],"ip":["*"],"srcPosture":["posture:x"]}])",
       "posture not defined in policy: \"posture:x\""},
      {R"("postures":{"posture:x":["node:os ~ 'a'"]})", "an operator is one of"},
      {R"("ipsets":{"ipset:a":["ipset:b"],"ipset:b":["ipset:a"]})", "contains itself"},
      {R"("ipsets":{"ipset:a":["tag:db"]})", "ipset may contain addresses"},
      {R"("ssh":[{"action":"accept","src":["tag:db"],"dst":["bob@"],"users":["root"]}])",
       "tags in SSH source cannot access user-owned devices (bob@)"},
      {R"("ssh":[{"action":"accept","src":["group:dev"],"dst":["bob@"],"users":["root"]}])",
       "user destination requires source to contain only that same user \"bob@\""},
      {R"("ssh":[{"action":"accept","src":["*"],"dst":["tag:db"],"users":["root"]}])",
       "invalid src \"*\""},
      {R"("ssh":[{"action":"accept","src":["bob@"],"dst":["*"],"users":["root"]}])",
       "wildcard (*) is not supported as SSH destination"},
      {R"("ssh":[{"action":"accept","src":["bob@"],"dst":["tag:db"],"users":["root"],"checkPeriod":"1h"}])",
       "checkPeriod is only valid with action \"check\""},
      {R"("ssh":[{"action":"check","src":["bob@"],"dst":["tag:db"],"users":["root"],"checkPeriod":"abc"}])",
       "time: invalid duration \"abc\""},
      {R"("ssh":[{"action":"check","src":["bob@"],"dst":["tag:db"],"users":["localpart:*@no.org"]}])",
       "no.org is not associated with this Tailnet"},
      {R"("nodeAttrs":[{"target":["autogroup:internet"],"attr":["x"]}])",
       "nodeAttrs target does not support this autogroup"},
      {R"("nodeAttrs":[{"target":["*"],"ipPool":["10.0.0.0/8"]}])",
       "IPPool(10.0.0.0/8): network must be within 100.64.0.0/10"},
      {R"("autoApprovers":{"routes":{"10.0.0.0":["tag:db"],"x":[]}})",
       "invalid route prefix: \"x\""},
      {R"("autoApprovers":{"exitNode":["tag:nope"]})", "tag not found: \"tag:nope\""},
      {R"("randomizeClientPort":"yes")", "randomizeclientport must be true or false, got string"},
      {R"("tests":[{"src":"bob@"}])", "test(s) failed"},
  };
  for (const auto& [sections, message] : cases) {
    const Loaded loaded = Load(TestPolicy(sections));
    std::string error = loaded.error;
    if (loaded.engine) {
      if (const auto failed = RunPolicyTests(*loaded.engine)) error = failed->text();
    }
    EXPECT_NE(error.find(message), std::string::npos) << sections << "\ngot: " << error;
    EXPECT_TRUE(error.starts_with("line ")) << error;
  }
}

TEST(PolicyLanguage, OlderAndHostedFormsAreTaken) {
  for (
      const std::string sections : {
          R"("ACLs":[{"Action":"accept","Users":["*"],"Ports":["*:*"],"#note":"x"}])",
          R"("acls":[{"src":["*"],"dst":["[fd7a:115c:a1e0::1]:22","fd7a:115c:a1e0::/48:*"]}])",
          R"("acls":[{"src":["100.64.0.1-100.64.0.9"],"dst":["*:*"]}])",
          R"("acls":[{"src":["0.0.0.0/0"],"dst":["0.0.0.0/0:*"]}])",
          R"("acls":[{"src":["autogroup:members"],"dst":["*:*"]}])",
          R"("acls":[{"src":["*"],"dst":["*:*"],"proto":6}])",
          R"("grants":[{"src":["*"],"dst":["*"],"ip":["TCP:443","0-1023"]}])",
          R"("acls":[{"src":["autogroup:owner","autogroup:it-admin"],"dst":["*:*"]}])",
          R"("acls":[{"src":["nobody@nowhere.example"],"dst":["*:*"]}])",
          R"("ipsets":{"ipset:a":["10.0.0.0/8","office"],"ipset:b":["ipset:a","add 10.9.0.1"]},
              "grants":[{"src":["ipset:b"],"dst":["ipset:a"],"ip":["*"]}])",
          R"("postures":{"posture:new":["node:tsVersion >= '1.50'"]},"defaultSrcPosture":["posture:new"])",
          R"("disableIPv4":true,"OneCGNATRoute":"mac-always","derpMap":{"Regions":{}},
              "extraDNSRecords":[],"randomizeClientPort":true)",
          R"("tagOwners2":null)",
      }) {
    const Loaded loaded = Load(TestPolicy(sections));
    if (sections.contains("tagOwners2")) {
      EXPECT_FALSE(loaded.engine);
    } else {
      EXPECT_TRUE(loaded.engine) << sections << "\n" << loaded.error;
    }
  }
}

TEST(PolicyLanguage, ASetOfSetsDoesNotGrowWithoutBound) {
  // Each set names the next one twice: 2^60 addresses if taken literally.
  std::string sets = "\"ipsets\":{\"ipset:0\":[\"10.0.0.0/8\"]";
  for (int i = 1; i <= 60; ++i) {
    const std::string inner = "\"ipset:" + std::to_string(i - 1) + "\"";
    sets += ",\"ipset:" + std::to_string(i) + "\":[" + inner + "," + inner + "]";
  }
  const Loaded loaded =
      Load(TestPolicy(sets + R"(},"grants":[{"src":["*"],"dst":["ipset:60"],"ip":["22"]}])"));
  ASSERT_TRUE(loaded.engine) << loaded.error;
  EXPECT_NE(FilterText(*loaded.engine, 5).find("10.0.0.0/8"), std::string::npos);
}

TEST(PolicyLanguage, LimitsAreNamed) {
  DocumentLimits limits;
  limits.max_rules = 1;
  const auto rules = ParseDocument(
      R"({"acls":[{"src":["*"],"dst":["*:*"]},{"src":["*"],"dst":["*:*"]}]})", limits);
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().text(), "line 1, column 38: too many rules: the limit is 1");
  limits.max_aliases = 1;
  const auto aliases = ParseDocument(R"({"acls":[{"src":["*"],"dst":["*:*"]}]})", limits);
  ASSERT_FALSE(aliases);
  EXPECT_NE(aliases.error().message.find("too many entries: the limit is 1"), std::string::npos);
}

TEST(PolicyLanguage, ATokenThatNamesTwoUsersIsRefused) {
  auto document = ParseDocument(R"({"acls":[{"src":["bob@"],"dst":["*:*"]}]})");
  ASSERT_TRUE(document);
  const auto program =
      Program::Compile(std::make_shared<const Document>(std::move(*document)),
                       {{1, "bob", "", "", Role::kMember}, {2, "x", "bob", "", Role::kMember}});
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().text(),
            "line 1, column 18: multiple users found: token \"bob@\" found: bob, x");
}

TEST(PolicyLanguage, GoDurations) {
  const struct {
    std::string_view text;
    std::string_view printed;
  } cases[] = {{"12h", "12h0m0s"}, {"1h30m", "1h30m0s"},    {"-1m", "-1m0s"}, {"1.5h", "1h30m0s"},
               {"90s", "1m30s"},   {"1500ms", "1.5s"},      {"0", "0s"},      {"1us", "1\xc2\xb5s"},
               {"7ns", "7ns"},     {"168h0m1s", "168h0m1s"}};
  for (const auto& [text, printed] : cases) {
    const auto duration = ReadGoDuration(text);
    ASSERT_TRUE(duration) << text;
    EXPECT_EQ(GoDurationText(*duration), printed);
  }
  for (const std::string_view bad : {"", "h", "1", "1x", "--1s", "1e3s", "inf", "9999999999h"}) {
    EXPECT_FALSE(ReadGoDuration(bad)) << bad;
  }
}

}  // namespace
}  // namespace ringscale::control::policy

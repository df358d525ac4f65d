// What commands print: formats, tables, prompts, errors, help.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "tests/support/temp_folder.h"
#include "tests/tools/ctl_support.h"
#include "tools/ctl/duration.h"
#include "tools/ctl/render.h"
#include "tools/ctl/table.h"

namespace ringscale::ctl::testing {
namespace {

constexpr const char* kNodes =
    R"({"nodes":[{"id":"3","machineKey":"mkey:0101010101010101010101010101010101010101010101010101010101010101",)"
    R"("nodeKey":"nodekey:fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",)"
    R"("discoKey":"discokey:00","ipAddresses":["100.64.0.3","fd7a:115c:a1e0::3"],)"
    R"("name":"Alice's MacBook","user":{"id":"1","name":"alice"},)"
    R"("lastSeen":"2026-07-01T10:00:00.123456789Z","expiry":"2026-06-01T00:00:00Z",)"
    R"("preAuthKey":{"id":"4","ephemeral":true},"createdAt":"2026-07-01T10:00:00Z",)"
    R"("registerMethod":"REGISTER_METHOD_AUTH_KEY","givenName":"alices-macbook","online":true,)"
    R"("approvedRoutes":[],"availableRoutes":[],"subnetRoutes":[],"tags":["tag:a","tag:b"]},)"
    R"({"id":"10","machineKey":"","nodeKey":"","ipAddresses":[],"name":"\u001b[31mred\u001b[0m\n",)"
    R"("user":null,"lastSeen":null,"expiry":null,"preAuthKey":null,"givenName":"red",)"
    R"("online":false,"tags":[]}]})";

TEST(CtlOutput, TheNodeTable) {
  FakeServer server;
  server.Answer("GET /api/v1/node", kNodes);
  const Outcome outcome = server.Run("nodes list");
  EXPECT_EQ(outcome.out,
            "ID | Hostname               | Name           | MachineKey | NodeKey | User  | "
            "Tags  | IP addresses      | Ephemeral | Last seen           | Expiration          | "
            "Connected | Expired\n"
            "3  | Alice's MacBook        | alices-macbook | [AQEBA]    | [//79/] | alice | "
            "tag:a | 100.64.0.3        | true      | 2026-07-01 10:00:00 | 2026-06-01 00:00:00 | "
            "online    | no\n"
            "   |                        |                |            |         |       | "
            "tag:b | fd7a:115c:a1e0::3 |           |                     |                     | "
            "          |\n"
            "10 | \\x1b[31mred\\x1b[0m\\x0a | red            |            |         |       | "
            "      |                   | false     | -                   | N/A                 | "
            "offline   | no\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(CtlOutput, ColoursOnATerminalOnly) {
  FakeServer server;
  server.Answer("GET /api/v1/node", kNodes);
  EXPECT_EQ(server.Run("nodes list").out.find('\x1b'), std::string::npos);
  const auto later = *core::ParseRfc3339("2026-12-01T00:00:00Z");
  const std::string before = server.Run("nodes list", {.tty = true}).out;
  const std::string after = server.Run("nodes list", {.tty = true, .now = later}).out;
  EXPECT_NE(before.find("\x1b[32m2026-06-01 00:00:00\x1b[0m"), std::string::npos) << before;
  EXPECT_NE(after.find("\x1b[31m2026-06-01 00:00:00\x1b[0m"), std::string::npos) << after;
  EXPECT_NE(after.find("\x1b[31myes\x1b[0m"), std::string::npos);
  EXPECT_NE(after.find("\x1b[32monline\x1b[0m"), std::string::npos);
}

TEST(CtlOutput, JsonIsIndentedWithTabsAndBare) {
  FakeServer server;
  server.Answer("GET /api/v1/user",
                R"({"users":[{"id":"1","name":"al\"ice","createdAt":"2026-01-01T00:00:00Z"}]})");
  EXPECT_EQ(server.Run("users list -o json").out,
            "[\n\t{\n\t\t\"id\": \"1\",\n\t\t\"name\": \"al\\\"ice\",\n"
            "\t\t\"createdAt\": \"2026-01-01T00:00:00Z\"\n\t}\n]\n");
  EXPECT_EQ(server.Run("users list --output json-line").out,
            "[{\"id\":\"1\",\"name\":\"al\\\"ice\",\"createdAt\":\"2026-01-01T00:00:00Z\"}]\n");
  server.Answer("GET /api/v1/user", R"({"users":[]})");
  EXPECT_EQ(server.Run("-o json users list").out, "[]\n");
  EXPECT_EQ(server.Run("users -o=yaml list").out, "[]\n");
}

TEST(CtlOutput, YamlHasLowerCaseKeysAndUnambiguousScalars) {
  FakeServer server;
  server.Answer("GET /api/v1/node", kNodes);
  const Outcome outcome = server.Run("nodes list -o yaml");
  EXPECT_NE(outcome.out.find("lastseen: 2026-07-01T10:00:00.123456789Z\n"), std::string::npos)
      << outcome.out;
  const YAML::Node root = YAML::Load(outcome.out);
  ASSERT_EQ(root.size(), 2U);
  EXPECT_EQ(root[0]["id"].Tag(), "!") << "the id must stay a string";
  EXPECT_EQ(root[0]["givenname"].as<std::string>(), "alices-macbook");
  EXPECT_EQ(root[0]["name"].as<std::string>(), "Alice's MacBook");
  EXPECT_EQ(root[0]["online"].as<bool>(), true);
  EXPECT_EQ(root[0]["ipaddresses"][1].as<std::string>(), "fd7a:115c:a1e0::3");
  EXPECT_EQ(root[0]["user"]["name"].as<std::string>(), "alice");
  EXPECT_TRUE(root[1]["expiry"].IsNull());
  EXPECT_EQ(root[1]["tags"].size(), 0U);
  EXPECT_EQ(root[1]["name"].as<std::string>(), "\x1b[31mred\x1b[0m\n");
}

TEST(CtlOutput, YamlQuotesWhatWouldBeSomethingElse) {
  for (const char* text :
       {"1", "1.5", "true", "no", "Null", "~",  "",   "- a",  "a: b",  "#x", "0x1f",
        "y", "&a",  "*a",   "!a", "%a",   "@a", "`a", "a #b", "tag:a", "-",  "a:"}) {
    const std::string yaml = Render(Value::Object({{"k", Value::String(text)}}), Format::kYaml);
    const YAML::Node root = YAML::Load(yaml);
    EXPECT_EQ(root["k"].as<std::string>(), text) << yaml;
    EXPECT_FALSE(root["k"].IsNull()) << yaml;
  }
  EXPECT_EQ(Render(Value::String("1"), Format::kYaml), "\"1\"");
  EXPECT_EQ(Render(Value::String("yes"), Format::kYaml), "\"yes\"");
  EXPECT_EQ(Render(Value::String("alice"), Format::kYaml), "alice");
}

TEST(CtlOutput, ErrorsFollowTheFormat) {
  FakeServer server;
  server.Answer("DELETE /api/v1/preauthkey?id=9",
                R"({"title":"Not Found","status":404,"detail":"deleting auth key",)"
                R"("errors":[{"message":"auth-key not found"}]})",
                404);
  const std::string text = "unexpected response status: deleting auth key: auth-key not found";
  const Outcome human = server.Run("preauthkeys delete -i 9");
  EXPECT_EQ(human.code, 1);
  EXPECT_EQ(human.out, "");
  EXPECT_EQ(human.err, "Error: " + text + "\n");
  EXPECT_EQ(server.Run("preauthkeys delete -i 9 -o json").err,
            "{\n\t\"error\": \"" + text + "\"\n}\n");
  EXPECT_EQ(server.Run("preauthkeys delete -i 9 -o json-line").err,
            "{\"error\":\"" + text + "\"}\n");
  EXPECT_EQ(server.Run("preauthkeys delete -i 9 -o yaml").err, "error: \"" + text + "\"\n");
  EXPECT_EQ(server.Run("nodes delete -o json-line").err,
            "{\"error\":\"required flag(s) \\\"identifier\\\" not set\"}\n");
}

TEST(CtlOutput, AServersAnswerThatIsNoneIsAnError) {
  FakeServer server;
  server.Answer("GET /api/v1/user", "<html>");
  EXPECT_NE(server.Run("users list").err.find("not JSON"), std::string::npos);
  server.Answer("GET /api/v1/user", "[[[[[", 200);
  EXPECT_EQ(server.Run("users list").code, 1);
  server.Answer("GET /api/v1/user", R"({"title":"x","status":500})", 500);
  EXPECT_EQ(server.Run("users list").err, "Error: unexpected response status: 500\n");
  // Missing members are empty cells, not crashes.
  server.Answer("GET /api/v1/node", R"({"nodes":[{},[],null,3,"x"]})");
  EXPECT_EQ(server.Run("nodes list").code, 0);
}

TEST(CtlOutput, NobodyListens) {
  const tests::TempFolder folder;
  const std::string path = folder / "none.sock";
  const Outcome outcome = RunWith(TestCommands(path), Words("users list"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("no server answers at " + path), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("ringscale serve"), std::string::npos);
  // --socket wins and needs no configuration.
  Commands broken = TestCommands(path);
  broken.socket_path = [](const ClientOptions&) -> core::Result<std::string> {
    return core::Fail(core::ErrorCode::kInvalid, "the configuration is broken");
  };
  EXPECT_NE(RunWith(broken, Words("users list")).err.find("broken"), std::string::npos);
  FakeServer server;
  server.Answer("GET /api/v1/user", R"({"users":[]})");
  EXPECT_EQ(RunWith(broken, {"users", "list", "--socket", server.path()}).code, 0);
}

TEST(CtlOutput, Prompts) {
  FakeServer server;
  server.Answer("GET /api/v1/node/3", R"({"node":{"id":"3","givenName":"laptop"}})");
  server.Answer("DELETE /api/v1/node/3", "{}");
  for (const char* yes : {"y\n", "Y\n", "yes\n", " Yes \r\n", "sure\n", "y"}) {
    const Outcome outcome = server.Run("nodes delete -i 3", {.input = yes});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.err, "Do you want to remove the node laptop? [y/n] ");
    EXPECT_EQ(outcome.out, "Node deleted\n") << yes;
  }
  server.TakeAsked();
  for (const char* no : {"", "\n", "n\n", "yep\n", "yy\n"}) {
    const Outcome outcome = server.Run("nodes delete -i 3", {.input = no});
    EXPECT_EQ(outcome.code, 0) << "a declined prompt is no error";
    EXPECT_EQ(outcome.out, "Node not deleted\n") << no;
    EXPECT_EQ(server.TakeAsked(), std::vector<std::string>{"GET /api/v1/node/3"});
  }
  const Outcome machine = server.Run("nodes delete -i 3 -o json-line", {.input = "n\n"});
  EXPECT_EQ(machine.out, "{\"Result\":\"Node not deleted\"}\n");
  EXPECT_EQ(server.Run("nodes delete -i 3 --force -o json-line").out,
            "{\"Result\":\"Node deleted\"}\n");

  server.Answer("GET /api/v1/user?name=alice", R"({"users":[{"id":"1","name":"alice"}]})");
  const Outcome user = server.Run("users destroy alice");
  EXPECT_EQ(user.err,
            "Do you want to remove the user \"alice\" (1) and any associated preauthkeys? [y/n] ");
  EXPECT_EQ(user.out, "User not destroyed\n");
  const Outcome backfill = server.Run("nodes backfillips");
  EXPECT_EQ(backfill.code, 0);
  EXPECT_NE(backfill.err.find("[y/n]"), std::string::npos);
}

TEST(CtlOutput, HealthVersionGenerate) {
  FakeServer server;
  server.Answer("GET /api/v1/health",
                R"({"databaseConnectivity":true,"status":"pass","problems":[]})");
  EXPECT_EQ(server.Run("health").out, "healthy\n");
  EXPECT_EQ(server.Run("health").code, 0);
  server.Answer("GET /api/v1/health",
                R"({"databaseConnectivity":true,"status":"fail","problems":["no relay"]})");
  EXPECT_EQ(server.Run("health").out, "not healthy\n- no relay\n");
  EXPECT_EQ(server.Run("health").code, 1);
  EXPECT_EQ(server.Run("health -o json-line").code, 1);

  EXPECT_TRUE(server.Run("version").out.starts_with("ringscale version 1.2.3\ncommit: abcdef\n"));
  EXPECT_NE(server.Run("version -o json-line").out.find(R"("version":"1.2.3","commit":"abcdef")"),
            std::string::npos);

  const std::string key = server.Run("generate private-key").out;
  EXPECT_TRUE(key.starts_with("privkey:"));
  EXPECT_EQ(key.size(), 8U + 64 + 1);
  EXPECT_TRUE(
      server.Run("gen private-key -o json-line").out.starts_with(R"({"private_key":"privkey:)"));
}

TEST(CtlOutput, NodesShowTellsEverything) {
  FakeServer server;
  server.Answer(
      "GET /api/v1/node/3/detail",
      R"({"node":{"id":"3","givenName":"laptop","name":"Laptop","user":{"id":"1","name":"alice",)"
      R"("displayName":""},"tags":[],"ipAddresses":["100.64.0.3"],"online":true,)"
      R"("expiry":"2025-01-01T00:00:00Z","registerMethod":"REGISTER_METHOD_CLI","preAuthKey":null},)"
      R"("detail":{"stableId":"abc","dnsName":"laptop.tailnet.internal","os":"linux",)"
      R"("clientVersion":"1.80.3","capabilityVersion":113,"homeRegion":900,)"
      R"("homeRegionName":"home","relayConnected":false,"endpoints":["192.0.2.1:1","192.0.2.2:2"],)"
      R"("notes":["it is old"]}})");
  const std::string out = server.Run("nodes show 3").out;
  for (const char* line :
       {"DNS name:         laptop.tailnet.internal\n", "Owner:            alice (ID 1)\n",
        "Connected:        yes\n",
        "Key expires:      2025-01-01 00:00:00 (expired: its user has to log in again on it)\n",
        "Client:           1.80.3 (capability version 113)\n",
        "Relay:            not connected; home region 900 (home)\n",
        "Endpoints:        192.0.2.1:1\n                  192.0.2.2:2\n",
        "Joined by:        approved by command\n", "Note:             it is old\n"}) {
    EXPECT_NE(out.find(line), std::string::npos) << line << "\n" << out;
  }
  const std::string json = server.Run("nodes show 3 -o json-line").out;
  EXPECT_TRUE(json.starts_with(R"({"id":"3",)")) << json;
  EXPECT_NE(json.find(R"("notes":["it is old"])"), std::string::npos);
}

// --- pieces ---

TEST(CtlDuration, ReadsWhatPrometheusReads) {
  EXPECT_EQ(ParseDuration("1h")->ns, core::Seconds(3600).ns);
  EXPECT_EQ(ParseDuration("90d")->ns, core::Seconds(90 * 86400).ns);
  EXPECT_EQ(ParseDuration("1y2w3d4h5m6s7ms")->ns,
            (core::Seconds((365 + 14 + 3) * 86400 + 4 * 3600 + 5 * 60 + 6) + core::Millis(7)).ns);
  EXPECT_EQ(ParseDuration("0")->ns, 0);
  for (const char* text : {"", "h", "1", "1x", "1h1h", "1m1h", "-1h", "1.5h", "1 h", "h1",
                           "99999999999999999999h", "300y", "+1h", "1hh"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
}

TEST(CtlTable, WidthIsThatOfTheTerminal) {
  EXPECT_EQ(DisplayWidth("abc"), 3U);
  EXPECT_EQ(DisplayWidth("\u00e4\u00f6"), 2U);
  EXPECT_EQ(DisplayWidth("\u65e5\u672c"), 4U);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1U);
  EXPECT_EQ(DisplayWidth("\xff"), 1U);
  EXPECT_EQ(Printable("a\x1b[0m\x7f\xc2\x9b\xff\u202e\u00e4"),
            "a\\x1b[0m\\x7f\\xc2\\x9b\\xff\\xe2\\x80\\xae\u00e4");
  EXPECT_EQ(Printable("a\nb", true), "a\nb");
  EXPECT_EQ(Printable("a\nb"), "a\\x0ab");
}

}  // namespace
}  // namespace ringscale::ctl::testing

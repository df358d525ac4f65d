// ringscale relay: its flags, and what its status looks like.
#include <gtest/gtest.h>

#include "tests/tools/ctl_support.h"

namespace ringscale::ctl::testing {
namespace {

// The flags that the command got, "name=value" each.
std::string FlagsOf(const std::string& line, RelayFlags* all = nullptr) {
  RelayFlags got;
  Commands commands = TestCommands("/nonexistent");
  commands.relay = [&got](const RelayFlags& flags) {
    got = flags;
    return 0;
  };
  const Outcome outcome = RunWith(commands, Words(line));
  if (outcome.code != 0) return outcome.err;
  if (all != nullptr) *all = got;
  std::string text;
  for (const auto& flag : got.derper) text += flag.name + "=" + flag.value + " ";
  return text;
}

TEST(CtlRelay, TakesDerpersFlagsWithTwoDashes) {
  RelayFlags all;
  EXPECT_EQ(FlagsOf("relay -c /k --hostname derp.example.com -a :8443 --stun=false "
                    "--verify-clients --tailscaled-socket /t --data-dir /d --take-over",
                    &all),
            "a=:8443 stun=false hostname=derp.example.com verify-clients=true socket=/t ");
  EXPECT_EQ(all.config, "/k");
  EXPECT_EQ(all.data_dir, "/d");
  EXPECT_TRUE(all.take_over);
  EXPECT_EQ(FlagsOf("relay"), "");
  EXPECT_EQ(FlagsOf("relay --home blank --verify-client-url-fail-open=false"),
            "home=blank verify-client-url-fail-open=false ");
}

TEST(CtlRelay, AnUnknownFlagIsNamed) {
  EXPECT_NE(FlagsOf("relay --nonsense").find("unknown flag: --nonsense"), std::string::npos);
}

TEST(CtlRelay, StatusForPeopleAndForScripts) {
  FakeServer server;
  server.Answer("GET /api/v1/relay/status",
                R"({"key":"nodekey:01","uptimeSeconds":5,"relay":{"connections":3,)"
                R"("homeConnections":2,"duplicateConnections":0,"watchers":1},)"
                R"("rates":{"receivedBytes":1500000,"sentBytes":999,"receivedPackets":1000,)"
                R"("sentPackets":7,"forwardedIn":1,"forwardedOut":2},)"
                R"("drops":[{"reason":"queue_head","packets":4}],)"
                R"("mesh":[{"host":"b.example","state":"connected","clients":9,"sentBytes":10}],)"
                R"("talkers":[{"key":"nodekey:02","address":"192.0.2.1:5","bytesPerSecond":2000,)"
                R"("receivedBytes":1,"sentBytes":2}]})");
  const Outcome people = server.Run("relay status");
  EXPECT_EQ(people.code, 0) << people.err;
  for (const char* part :
       {"connections:  3 (2 at home here, 0 duplicates, 1 watchers)",
        "received:     1.5 MB/s, 1000 packets/s", "sent:         999 B/s, 7 packets/s",
        "forwarded:    2 packets/s out, 1 in", "dropped:      queue_head 4",
        "b.example | connected", "nodekey:02 | 192.0.2.1:5 | 2.0 kB/s"}) {
    EXPECT_NE(people.out.find(part), std::string::npos) << part << "\n" << people.out;
  }
  const Outcome scripts = server.Run("relay status -o json");
  EXPECT_NE(scripts.out.find("\"bytesPerSecond\": 2000"), std::string::npos) << scripts.out;
}

TEST(CtlRelay, AStatusWithoutAnythingIsNoMistake) {
  FakeServer server;
  server.Answer("GET /api/v1/relay/status", "{}");
  const Outcome outcome = server.Run("relay status");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("dropped:      nothing"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::ctl::testing

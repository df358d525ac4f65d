// Commands against the real API: the way of a device into the network and out.
#include <gtest/gtest.h>

#include "tests/tools/ctl_support.h"
#include "tools/ctl/value.h"

namespace ringscale::ctl::testing {
namespace {

class CtlServer : public ::testing::Test {
 protected:
  Outcome Run(const std::string& line, const RunOptions& options = {.now = core::WallNow()}) {
    return RunWith(TestCommands(server_.path()), Words(line), options);
  }
  // The output without its newline; the command must succeed.
  std::string Ok(const std::string& line) {
    const Outcome outcome = Run(line);
    EXPECT_EQ(outcome.code, 0) << line << "\n" << outcome.err;
    return outcome.out.empty() ? "" : outcome.out.substr(0, outcome.out.size() - 1);
  }
  std::string Error(const std::string& line) {
    const Outcome outcome = Run(line);
    EXPECT_EQ(outcome.code, 1) << line << "\n" << outcome.out;
    return outcome.err;
  }
  Value Json(const std::string& line) {
    auto value = Value::Parse(Ok(line + " -o json"));
    EXPECT_TRUE(value.has_value());
    return value ? *value : Value();
  }

  static control::NodeRegistration Machine(std::uint8_t number, const std::string& hostname) {
    control::NodeRegistration request;
    request.machine_key.raw.fill(number);
    request.node_key.raw.fill(number);
    request.hostinfo =
        "{\"Hostname\":\"" + hostname + "\",\"OS\":\"linux\",\"RoutableIPs\":[\"10.0.0.0/24\"]}";
    request.capability_version = 140;
    return request;
  }
  // The error text, or nothing.
  std::string Join(std::uint8_t number, const std::string& hostname, const std::string& key) {
    std::promise<std::string> error;
    server_.OnLoop([&] {
      server_.parts().registry->RegisterWithKey(
          Machine(number, hostname), key, [&](core::Result<control::Registered> joined) {
            error.set_value(joined ? "" : joined.error().message);
          });
    });
    return error.get_future().get();
  }
  std::string AskToJoin(std::uint8_t number) {
    std::promise<std::string> url;
    server_.OnLoop([&] {
      control::RegisterRequest request;
      request.node_key.raw.fill(number);
      request.version = 140;
      core::MachinePublic machine;
      machine.raw.fill(number);
      server_.parts().registration->Handle(
          request,
          {.machine_key = machine,
           .source = *core::IpAddress::Parse("192.0.2.1"),
           .auth_url = [](std::string_view id) { return std::string(id); }},
          [&](const control::RegisterResponse& response) { url.set_value(response.auth_url); });
    });
    return url.get_future().get();
  }

  serverd::testing::LocalServer server_;
};

TEST_F(CtlServer, ADeviceJoinsByKeyAndIsManaged) {
  EXPECT_EQ(Ok("users create alice"), "User created");
  EXPECT_NE(Error("users create alice").find("user already exists"), std::string::npos);
  const std::string key = Ok("preauthkeys create -u alice --reusable");
  EXPECT_TRUE(key.starts_with("hskey-auth-"));
  EXPECT_EQ(Ok("preauthkeys list").find(key), std::string::npos);
  EXPECT_EQ(Join(1, "Laptop", key), "");
  EXPECT_EQ(Join(2, "Laptop", key), "");

  const Value nodes = Json("nodes list");
  ASSERT_EQ(nodes.items().size(), 2U);
  EXPECT_EQ(nodes.items()[0]["givenName"].text(), "laptop");
  EXPECT_EQ(nodes.items()[1]["givenName"].text(), "laptop-1");
  EXPECT_EQ(nodes.items()[0]["user"]["name"].text(), "alice");
  EXPECT_EQ(Json("nodes list -u 1").items().size(), 2U);
  EXPECT_NE(Error("nodes list -u ghost").find("looking up user"), std::string::npos);

  EXPECT_EQ(Ok("nodes rename -i 1 desk"), "Node renamed");
  EXPECT_NE(Error("nodes rename -i 2 desk").find("not unique"), std::string::npos);
  EXPECT_NE(Error("nodes rename -i 1 " + std::string(64, 'a')).find("too long"), std::string::npos);
  EXPECT_NE(Ok("nodes show desk").find("10.0.0.0/24"), std::string::npos);
  EXPECT_EQ(Ok("nodes approve-routes -i 1 -r 10.0.0.0/24"), "Node updated");
  EXPECT_EQ(Json("nodes list-routes").items()[0]["approvedRoutes"].strings(),
            std::vector<std::string>{"10.0.0.0/24"});
  EXPECT_NE(Error("nodes tag -i 2").find("cannot remove all tags"), std::string::npos);
  EXPECT_NE(Error("nodes tag -i 2 -t x").find("tag must start"), std::string::npos);
  EXPECT_EQ(Ok("nodes tag -i 2 -t tag:x"), "Node updated");
  EXPECT_EQ(Json("nodes list").items()[1]["user"]["name"].text(), "tagged-devices");

  EXPECT_EQ(Ok("nodes logout -i 1"), "Node expired");
  EXPECT_FALSE(Json("nodes show 1")["expiry"].is_null());
  EXPECT_EQ(Ok("nodes expire -i 1 --disable"), "Node expiry disabled");
  EXPECT_TRUE(Json("nodes show 1")["expiry"].is_null());

  EXPECT_NE(Error("users destroy --force alice").find("user not empty"), std::string::npos);
  EXPECT_EQ(Ok("nodes delete --force -i 1"), "Node deleted");
  EXPECT_NE(Error("nodes delete --force -i 1").find("node not found"), std::string::npos);
  EXPECT_EQ(Ok("users destroy --force alice"), "User destroyed");
  EXPECT_EQ(Json("preauthkeys list").items().size(), 0U) << "the user's keys go along";
}

TEST_F(CtlServer, AKeyThatWasExpiredIsUsedNoMore) {
  Ok("users create alice");
  const std::string key = Ok("preauthkeys create -u 1");
  EXPECT_EQ(Ok("preauthkeys expire " + key), "Key expired");
  EXPECT_NE(Join(1, "laptop", key).find("expired"), std::string::npos);
  EXPECT_EQ(Ok("preauthkeys delete -i 1"), "Key deleted");
  EXPECT_NE(Error("preauthkeys delete -i 1").find("not found"), std::string::npos);
}

TEST_F(CtlServer, ADeviceIsLetInByCommand) {
  Ok("users create alice");
  EXPECT_TRUE(Ok("auth register --user alice --auth-id " + AskToJoin(1)).ends_with("registered"));
  EXPECT_TRUE(Ok("nodes register -u 1 -k " + AskToJoin(2)).ends_with("registered"));
  AskToJoin(3);
  core::MachinePublic machine;
  machine.raw.fill(3);
  EXPECT_TRUE(
      Ok("nodes register --namespace alice --key " + machine.text()).ends_with("registered"));
  EXPECT_EQ(Json("nodes list").items().size(), 3U);

  const std::string unknown = "hskey-authreq-000000000000000000000000";
  EXPECT_NE(Error("auth register --user alice --auth-id x").find("invalid"), std::string::npos);
  EXPECT_NE(Error("auth register --user ghost --auth-id " + unknown)
                .find("looking up user: user not found (`ringscale users create NAME` makes one)"),
            std::string::npos);
  EXPECT_NE(Error("auth approve --auth-id x").find("invalid auth_id"), std::string::npos);
  EXPECT_NE(Error("auth reject --auth-id " + unknown).find("no pending auth session"),
            std::string::npos);
  EXPECT_EQ(Ok("auth reject --auth-id " + AskToJoin(4)), "Auth request rejected");
}

TEST_F(CtlServer, HealthFollowsTheStore) {
  EXPECT_EQ(Ok("health"), "healthy");
  EXPECT_EQ(Ok("nodes backfillips --force"), "Node IPs backfilled successfully");
  server_.OnLoop([&] {
    server_.parts().store.FailCommits(1, {core::ErrorCode::kIo, "no space left on device"});
  });
  EXPECT_NE(Error("users create alice").find("no space left on device"), std::string::npos);
  EXPECT_NE(Error("health").find("no space left on device"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::ctl::testing

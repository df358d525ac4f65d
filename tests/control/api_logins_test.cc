// /api/v1/auth and /api/v1/node/register: logins that somebody finishes.
#include <gtest/gtest.h>

#include "tests/control/api_support.h"

namespace ringscale::control::testing {
namespace {

TEST(AdminApiLogins, RegisterLetsTheMachineInAsTheUsers) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  for (const char* user : {"alice", "1"}) {
    const std::string id = api.AskToJoin(user[0] == '1' ? 2 : 1, "laptop");
    const Reply reply = api.Post("/api/v1/auth/register", R"({"user":")" + std::string(user) +
                                                              R"(","authId":")" + id + "\"}");
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_NE(reply.body.find(R"("registerMethod":"REGISTER_METHOD_CLI")"), std::string::npos);
    EXPECT_NE(reply.body.find(R"("name":"alice")"), std::string::npos);
    // Once only.
    const Reply again =
        api.Post("/api/v1/auth/register", R"({"user":"alice","authId":")" + id + "\"}");
    EXPECT_EQ(again.status, 404);
    EXPECT_EQ(ApiFixture::Problem(again), "registering node: node not found in registration cache");
  }
  EXPECT_EQ(api.tailnet.registry().nodes().size(), 2U);
}

TEST(AdminApiLogins, TheOldFormTakesKeysToo) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  const std::string id = api.AskToJoin(1, "one");
  EXPECT_EQ(api.Post("/api/v1/node/register?user=alice&key=" + id).status, 200);
  api.AskToJoin(2, "two");
  EXPECT_EQ(
      api.Post("/api/v1/node/register?user=alice&key=mkey%3A" + Machine(2).text().substr(5)).status,
      200);
  api.AskToJoin(3, "three");
  EXPECT_EQ(api.Post("/api/v1/node/register?user=1&key=" + NodeKey(3).text()).status, 200);
  EXPECT_EQ(api.tailnet.registry().nodes().size(), 3U);
}

TEST(AdminApiLogins, WhatIsWrongIsSaid) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  const std::string id = api.AskToJoin(1, "laptop");
  const std::string unknown = "hskey-authreq-000000000000000000000000";
  const auto refused = [&](const std::string& path, const std::string& body, int status) {
    const Reply reply = api.Post("/api/v1/auth/" + path, body);
    EXPECT_EQ(reply.status, status) << path << " " << body << " " << reply.body;
    return ApiFixture::Problem(reply);
  };
  EXPECT_NE(refused("register", R"({"user":"ghost","authId":")" + id + "\"}", 404)
                .find("looking up user"),
            std::string::npos);
  EXPECT_NE(refused("register", R"({"user":"alice","authId":"x"})", 400).find("invalid"),
            std::string::npos);
  EXPECT_NE(refused("register", R"({"user":"alice"})", 400).find("invalid"), std::string::npos);
  for (const char* verdict : {"approve", "reject"}) {
    EXPECT_NE(refused(verdict, R"({"authId":"x"})", 400).find("invalid auth_id"),
              std::string::npos);
    EXPECT_NE(
        refused(verdict, R"({"authId":")" + unknown + "\"}", 404).find("no pending auth session"),
        std::string::npos);
  }
  // A device needs an owner: approval alone does not say whose it is.
  EXPECT_NE(refused("approve", R"({"authId":")" + id + "\"}", 409).find("auth register"),
            std::string::npos);
}

TEST(AdminApiLogins, RejectEndsIt) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  const std::string id = api.AskToJoin(1, "laptop");
  EXPECT_EQ(api.Post("/api/v1/auth/reject", R"({"authId":")" + id + "\"}").body, "{}");
  EXPECT_EQ(api.Post("/api/v1/auth/register", R"({"user":"alice","authId":")" + id + "\"}").status,
            404);
  EXPECT_TRUE(api.tailnet.registry().nodes().empty());
}

}  // namespace
}  // namespace ringscale::control::testing

// /api/v1/preauthkey.
#include <gtest/gtest.h>

#include "tests/control/api_support.h"

namespace ringscale::control::testing {
namespace {

TEST(AdminApiKeys, CreateShowsTheWholeKeyOnce) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  const Reply reply = api.Post(
      "/api/v1/preauthkey",
      R"({"user":"1","reusable":true,"ephemeral":false,"expiration":"2026-01-02T10:00:00Z","aclTags":[]})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  core::json::Parser parser;
  const auto root = parser.Parse(reply.body);
  const core::json::Value key = (*root)["preAuthKey"];
  const std::string text(*key["key"].AsString());
  EXPECT_TRUE(text.starts_with("hskey-auth-"));
  EXPECT_EQ(text.size(), 11U + 12 + 1 + 64);
  EXPECT_EQ(key["user"]["name"].AsString(), "alice");
  EXPECT_EQ(key["id"].AsString(), "1");
  EXPECT_EQ(key["reusable"].AsBool(), true);
  EXPECT_EQ(key["ephemeral"].AsBool(), false);
  EXPECT_EQ(key["used"].AsBool(), false);
  EXPECT_EQ(key["expiration"].AsString(), "2026-01-02T10:00:00Z");
  EXPECT_EQ(key["createdAt"].AsString(), "2026-01-01T00:00:00Z");
  EXPECT_EQ(key["aclTags"].size(), 0U);

  const Reply list = api.Get("/api/v1/preauthkey");
  EXPECT_EQ(list.body.find(text.substr(24)), std::string::npos) << "the secret leaked";
  EXPECT_NE(list.body.find("\"key\":\"" + text.substr(0, 24) + "***\""), std::string::npos)
      << list.body;
  // The key works.
  EXPECT_TRUE(api.tailnet.JoinWithKey(Tailnet::Request(1, 1, "host"), text).has_value());
}

TEST(AdminApiKeys, WithoutAnExpirationItLastsAnHour) {
  ApiFixture api;
  for (const char* body : {R"({"aclTags":["tag:a"]})", R"({"aclTags":["tag:a"],"expiration":null})",
                           R"({"aclTags":["tag:a"],"expiration":"0001-01-01T00:00:00Z"})"}) {
    const Reply reply = api.Post("/api/v1/preauthkey", body);
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.body.find(R"("expiration":"2026-01-01T01:00:00Z")"), std::string::npos)
        << reply.body;
    EXPECT_NE(reply.body.find(R"("user":null)"), std::string::npos);
  }
}

TEST(AdminApiKeys, RefusesWhatMakesNoKey) {
  ApiFixture api;
  const auto refused = [&](const std::string& body, int status) {
    const Reply reply = api.Post("/api/v1/preauthkey", body);
    EXPECT_EQ(reply.status, status) << body;
    return ApiFixture::Problem(reply);
  };
  EXPECT_EQ(refused("{}", 400),
            "creating auth key: auth-key must be either tagged or owned by user");
  EXPECT_EQ(refused(R"({"user":"0"})", 400),
            "creating auth key: auth-key must be either tagged or owned by user");
  EXPECT_EQ(refused(R"({"user":"7"})", 404), "creating auth key: user not found");
  EXPECT_EQ(refused(R"({"user":"alice"})", 400), "creating auth key: \"alice\" is not an id");
  EXPECT_EQ(refused(R"({"aclTags":["server"]})", 400),
            "creating auth key: tag must start with the string 'tag:', got \"server\"");
  EXPECT_EQ(refused(R"({"aclTags":"tag:a"})", 422), "validation failed: expected array");
  EXPECT_EQ(refused(R"({"expiration":"tomorrow"})", 422),
            "validation failed: expected string to be RFC 3339 date-time");
  EXPECT_TRUE(api.tailnet.registry().pre_auth_keys().empty());
}

TEST(AdminApiKeys, ExpireAndDelete) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  api.Post("/api/v1/preauthkey", R"({"user":"1","expiration":"2027-01-01T00:00:00Z"})");
  EXPECT_EQ(api.Post("/api/v1/preauthkey/expire", R"({"id":"1"})").body, "{}");
  EXPECT_NE(api.Get("/api/v1/preauthkey").body.find(R"("expiration":"2026-01-01T00:00:00Z")"),
            std::string::npos);
  EXPECT_EQ(api.Post("/api/v1/preauthkey/expire", R"({"id":"2"})").status, 404);
  EXPECT_EQ(api.Post("/api/v1/preauthkey/expire", "{}").status, 400);
  EXPECT_EQ(api.Delete("/api/v1/preauthkey").status, 400);
  EXPECT_EQ(api.Delete("/api/v1/preauthkey?id=1").body, "{}");
  EXPECT_EQ(api.Delete("/api/v1/preauthkey?id=1").status, 404);
  EXPECT_EQ(api.Get("/api/v1/preauthkey").body, R"({"preAuthKeys":[]})");
}

}  // namespace
}  // namespace ringscale::control::testing

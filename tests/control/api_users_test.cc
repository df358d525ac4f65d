// /api/v1/user and what all paths have in common.
#include <gtest/gtest.h>

#include "tests/control/api_support.h"

namespace ringscale::control::testing {
namespace {

TEST(AdminApiUsers, CreateAnswersWithTheWholeObject) {
  ApiFixture api;
  const Reply reply = api.Post(
      "/api/v1/user",
      R"({"name":"alice","displayName":"Alice A.","email":"a@example.com","pictureUrl":"https://p"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_EQ(reply.body,
            R"({"user":{"id":"1","name":"alice","createdAt":"2026-01-01T00:00:00Z",)"
            R"("displayName":"Alice A.","email":"a@example.com","providerId":"","provider":"",)"
            R"("profilePicUrl":"https://p"}})");
}

TEST(AdminApiUsers, TheSameNameTwiceIsAConflict) {
  ApiFixture api;
  api.tailnet.AddUser("alice");
  const Reply reply = api.Post("/api/v1/user", R"({"name":"alice"})");
  EXPECT_EQ(reply.status, 409);
  EXPECT_EQ(ApiFixture::Problem(reply), "creating user: user already exists");
}

TEST(AdminApiUsers, ListFiltersByNameThenEmailThenId) {
  ApiFixture api;
  EXPECT_EQ(api.Get("/api/v1/user").body, R"({"users":[]})");
  api.tailnet.AddUser("alice");
  api.Post("/api/v1/user", R"({"name":"bob","email":"b+x@example.com"})");
  const auto names = [&](const std::string& query) {
    core::json::Parser parser;
    const Reply reply = api.Get("/api/v1/user" + query);
    EXPECT_EQ(reply.status, 200);
    const auto root = parser.Parse(reply.body);
    std::string out;
    (*root)["users"].Elements([&](const core::json::Value& user) {
      out += std::string(*user["name"].AsString()) + " ";
      return true;
    });
    return out;
  };
  EXPECT_EQ(names(""), "alice bob ");
  EXPECT_EQ(names("?id=0"), "alice bob ");
  EXPECT_EQ(names("?id=2"), "bob ");
  EXPECT_EQ(names("?id=3"), "");
  EXPECT_EQ(names("?name=alice"), "alice ");
  EXPECT_EQ(names("?name=ghost"), "");
  EXPECT_EQ(names("?email=b%2Bx%40example.com"), "bob ");
  EXPECT_EQ(names("?name=alice&email=b%2Bx%40example.com&id=2"), "alice ");
  const Reply bad = api.Get("/api/v1/user?id=alice");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(ApiFixture::Problem(bad), "listing users: \"alice\" is not an id");
}

TEST(AdminApiUsers, RenameAndDelete) {
  ApiFixture api;
  const UserId alice = api.tailnet.AddUser("alice");
  EXPECT_EQ(api.Post("/api/v1/user/1/rename/al%69ce2").status, 200);
  EXPECT_EQ(api.tailnet.registry().FindUser(alice)->name, "alice2");

  const Reply unknown = api.Post("/api/v1/user/9/rename/x1");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(ApiFixture::Problem(unknown), "renaming user: user not found");
  EXPECT_EQ(api.Post("/api/v1/user/x/rename/carol").status, 400);
  EXPECT_EQ(api.Post("/api/v1/user/1/rename/").status, 404);

  api.tailnet.AddNode(alice, 1);
  const Reply owner = api.Delete("/api/v1/user/1");
  EXPECT_EQ(owner.status, 400);
  EXPECT_EQ(ApiFixture::Problem(owner), "deleting user: user not empty: node(s) found");
  EXPECT_EQ(api.Delete("/api/v1/node/1").status, 200);
  const Reply deleted = api.Delete("/api/v1/user/1");
  EXPECT_EQ(deleted.status, 200);
  EXPECT_EQ(deleted.body, "{}");
  EXPECT_EQ(api.Delete("/api/v1/user/1").status, 404);
}

TEST(AdminApi, RefusesBodiesThatAreNotWhatThePathTakes) {
  ApiFixture api;
  struct Case {
    const char* body;
    int status;
    const char* text;
  };
  const Case cases[] = {
      {"{", 400, "invalid request body"},
      {"[]", 400, "invalid request body: expected object"},
      {"nonsense", 400, "invalid request body"},
      {R"({"name":1})", 422, "validation failed: expected string"},
      {R"({"name":"alice","nmae":"x"})", 422, "validation failed: unexpected property"},
      {R"({"name":{},"email":[]})", 422, "validation failed: expected string: expected string"},
  };
  for (const Case& c : cases) {
    const Reply reply = api.Post("/api/v1/user", c.body);
    EXPECT_EQ(reply.status, c.status) << c.body;
    EXPECT_TRUE(ApiFixture::Problem(reply).starts_with(c.text))
        << c.body << ": " << ApiFixture::Problem(reply);
  }
  EXPECT_TRUE(api.tailnet.registry().users().empty());
  // Null members count as absent; an empty body is an empty object.
  EXPECT_EQ(api.Post("/api/v1/user", R"({"name":"alice","email":null})").status, 200);
  EXPECT_EQ(api.Post("/api/v1/user", "").status, 400);
}

TEST(AdminApi, UnknownPathsAndMethods) {
  ApiFixture api;
  for (const char* path :
       {"/", "/api/v1", "/api/v1/", "/api/v2/user", "/api/v1/users", "/api/v1/user/1/rename",
        "/api/v1/node//expire", "/api/v1/node/%zz", "/api/v1/node/1/expire/"}) {
    EXPECT_EQ(api.Get(path).status, 404) << path;
  }
  EXPECT_EQ(api.Call("PUT", "/api/v1/user").status, 405);
  EXPECT_EQ(api.Get("/api/v1/node/1/expire").status, 405);
  EXPECT_EQ(api.Post("/api/v1/health").status, 405);
}

TEST(AdminApi, AnswersAChangeWhenItIsOnDisk) {
  ApiFixture api({}, {}, Tailnet::Mode::kManual);
  const auto reply = api.Start("POST", "/api/v1/user", R"({"name":"alice"})");
  EXPECT_FALSE(reply->has_value());
  EXPECT_EQ(api.Get("/api/v1/user").body, R"({"users":[]})");
  api.tailnet.CommitAll();
  ASSERT_TRUE(reply->has_value());
  EXPECT_EQ((*reply)->status, 200);
}

TEST(AdminApi, AFailedWriteIsAnErrorAndChangesNothing) {
  ApiFixture api({}, {}, Tailnet::Mode::kManual);
  const auto reply = api.Start("POST", "/api/v1/user", R"({"name":"alice"})");
  ASSERT_TRUE(api.tailnet.store().FailNext({core::ErrorCode::kIo, "no space left on device"}));
  api.tailnet.Settle();
  ASSERT_TRUE(reply->has_value());
  EXPECT_EQ((*reply)->status, 500);
  EXPECT_EQ(ApiFixture::Problem(**reply), "creating user: no space left on device");
  EXPECT_TRUE(api.tailnet.registry().users().empty());
}

TEST(AdminApi, HealthNamesProblems) {
  std::vector<std::string> problems;
  bool failing = false;
  ApiFixture api({}, {.problems = [&problems] { return problems; },
                      .failing = [&failing] { return failing; }});
  EXPECT_EQ(api.Get("/api/v1/health").body,
            R"({"databaseConnectivity":true,"status":"pass","problems":[]})");
  problems = {"the relay's pin does not match"};
  EXPECT_EQ(api.Get("/api/v1/health").body, R"({"databaseConnectivity":true,"status":"pass",)"
                                            R"("problems":["the relay's pin does not match"]})");
  failing = true;
  EXPECT_NE(api.Get("/api/v1/health").body.find(R"("status":"fail")"), std::string::npos);
  api.tailnet.store().FailCommits(1, {core::ErrorCode::kIo, "no space left on device"});
  EXPECT_EQ(api.Post("/api/v1/user", R"({"name":"alice"})").status, 500);
  const Reply sick = api.Get("/api/v1/health");
  EXPECT_EQ(sick.status, 500);
  EXPECT_EQ(ApiFixture::Problem(sick), "database: no space left on device");
}

}  // namespace
}  // namespace ringscale::control::testing

// /api/v1/node.
#include <gtest/gtest.h>

#include "tests/control/api_support.h"

namespace ringscale::control::testing {
namespace {

// A field of the node in the reply, as JSON.
std::string Field(const Reply& reply, std::string_view name) {
  core::json::Parser parser;
  const auto root = parser.Parse(reply.body);
  return root ? (*root)["node"][name].Compact() : reply.body;
}

TEST(AdminApiNodes, ANodeHasEveryMember) {
  ApiFixture api;
  const UserId alice = api.tailnet.AddUser("alice");
  const auto key = api.tailnet.AddKey({.user = alice,
                                       .reusable = false,
                                       .ephemeral = true,
                                       .expiry = core::ParseRfc3339("2026-06-01T00:00:00Z"),
                                       .tags = {}});
  ASSERT_TRUE(
      api.tailnet
          .JoinWithKey(Tailnet::Request(1, 1, "Alice's MacBook",
                                        R"(,"RoutableIPs":["10.0.0.0/24","0.0.0.0/0","::/0"])"),
                       key.text)
          .has_value());
  const std::string user =
      R"({"id":"1","name":"alice","createdAt":"2026-01-01T00:00:00Z","displayName":"",)"
      R"("email":"","providerId":"","provider":"","profilePicUrl":""})";
  const Node& node = api.tailnet.Get(1);
  const Reply reply = api.Get("/api/v1/node/1");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body,
            R"({"node":{"id":"1","machineKey":")" + node.row.machine_key.text() +
                R"(","nodeKey":")" + node.row.node_key.text() + R"(","discoKey":")" +
                node.row.disco_key.text() + R"(","ipAddresses":[")" + node.row.ipv4.text() +
                R"(",")" + node.row.ipv6.text() + R"("],"name":"Alice's MacBook","user":)" + user +
                R"(,"lastSeen":"2026-01-01T00:00:00Z","expiry":null,"preAuthKey":{"user":)" + user +
                R"(,"id":"1","key":"hskey-auth-)" + key.row.prefix +
                R"(-***","reusable":false,"ephemeral":true,"used":true,)"
                R"("expiration":"2026-06-01T00:00:00Z","createdAt":"2026-01-01T00:00:00Z",)"
                R"("aclTags":[]},"createdAt":"2026-01-01T00:00:00Z",)"
                R"("registerMethod":"REGISTER_METHOD_AUTH_KEY","givenName":"alices-macbook",)"
                R"("online":false,"approvedRoutes":[],)"
                R"("availableRoutes":["0.0.0.0/0","10.0.0.0/24","::/0"],"subnetRoutes":[],)"
                R"("tags":[]}})");
}

TEST(AdminApiNodes, ListShowsTaggedNodesAsTaggedDevices) {
  ApiFixture api;
  const UserId alice = api.tailnet.AddUser("alice");
  const UserId bob = api.tailnet.AddUser("bob");
  api.tailnet.AddNode(alice, 1);
  api.tailnet.AddNode(bob, 2);
  EXPECT_EQ(api.Post("/api/v1/node/2/tags", R"({"tags":["tag:b","tag:a","tag:b"]})").status, 200);
  EXPECT_EQ(Field(api.Get("/api/v1/node/2"), "user"), "null");
  EXPECT_EQ(Field(api.Get("/api/v1/node/2"), "tags"), R"(["tag:a","tag:b"])");

  const auto owners = [&](const std::string& query) {
    core::json::Parser parser;
    const Reply reply = api.Get("/api/v1/node" + query);
    const auto root = parser.Parse(reply.body);
    std::string out;
    (*root)["nodes"].Elements([&](const core::json::Value& node) {
      out += std::string(*node["id"].AsString()) + "=" +
             std::string(*node["user"]["id"].AsString()) + "/" +
             std::string(*node["user"]["name"].AsString()) + " ";
      return true;
    });
    return out;
  };
  EXPECT_EQ(owners(""), "1=1/alice 2=2147455555/tagged-devices ");
  EXPECT_EQ(owners("?user=alice"), "1=1/alice ");
  EXPECT_EQ(owners("?user=1"), "1=1/alice ");
  EXPECT_EQ(owners("?user=bob"), "");
  const Reply unknown = api.Get("/api/v1/node?user=ghost");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(ApiFixture::Problem(unknown).starts_with("looking up user: "));
}

TEST(AdminApiNodes, UnknownNodesAndIdsThatAreNone) {
  ApiFixture api;
  for (const char* path : {"/expire", "/rename/x", "/tags", "/approve_routes"}) {
    const std::string body = std::string_view(path) == "/tags" ? R"({"tags":["tag:a"]})" : "";
    const Reply reply = api.Post("/api/v1/node/9" + std::string(path), body);
    EXPECT_EQ(reply.status, 404) << path;
    EXPECT_NE(ApiFixture::Problem(reply).find("node not found"), std::string::npos);
    EXPECT_EQ(api.Post("/api/v1/node/-1" + std::string(path), body).status, 400) << path;
    EXPECT_EQ(api.Post("/api/v1/node/99999999999999999999" + std::string(path), body).status, 400);
  }
  EXPECT_EQ(api.Get("/api/v1/node/9").status, 404);
  EXPECT_EQ(api.Get("/api/v1/node/9/detail").status, 404);
  EXPECT_EQ(ApiFixture::Problem(api.Delete("/api/v1/node/9")), "deleting node: node not found");
}

TEST(AdminApiNodes, ExpireNowThenLaterThenNever) {
  ApiFixture api;
  api.tailnet.AddNode(api.tailnet.AddUser("alice"), 1);
  EXPECT_EQ(Field(api.Post("/api/v1/node/1/expire"), "expiry"), R"("2026-01-01T00:00:00Z")");
  EXPECT_EQ(Field(api.Post("/api/v1/node/1/expire", R"({"expiry":"2027-01-01T02:00:00+02:00"})"),
                  "expiry"),
            R"("2027-01-01T00:00:00Z")");
  EXPECT_EQ(Field(api.Post("/api/v1/node/1/expire", R"({"disableExpiry":true})"), "expiry"),
            "null");
  EXPECT_EQ(
      api.Post("/api/v1/node/1/expire", R"({"expiry":"2027-01-01T00:00:00Z","disableExpiry":true})")
          .status,
      400);
  EXPECT_EQ(api.Post("/api/v1/node/1/expire", R"({"expiry":"soon"})").status, 422);
}

TEST(AdminApiNodes, Rename) {
  ApiFixture api;
  const UserId alice = api.tailnet.AddUser("alice");
  api.tailnet.AddNode(alice, 1, "one");
  api.tailnet.AddNode(alice, 2, "two");
  EXPECT_EQ(Field(api.Post("/api/v1/node/1/rename/printer"), "givenName"), R"("printer")");
  EXPECT_EQ(Field(api.Get("/api/v1/node/1"), "name"), R"("one")");
  const auto refused = [&](const std::string& name) {
    const Reply reply = api.Post("/api/v1/node/1/rename/" + name);
    EXPECT_EQ(reply.status, 400) << name;
    return ApiFixture::Problem(reply);
  };
  EXPECT_EQ(refused("two"), "renaming node: node name is not unique");
  EXPECT_NE(refused(std::string(64, 'a')).find("too long"), std::string::npos);
  EXPECT_TRUE(refused("Not%20A%20Label").starts_with("renaming node: "));
}

TEST(AdminApiNodes, TagsThatMakeNoSense) {
  RegistryOptions options;
  options.tag_exists = [](std::string_view tag) { return tag != "tag:unknown"; };
  ApiFixture api(options);
  api.tailnet.AddNode(api.tailnet.AddUser("alice"), 1);
  const auto refused = [&](const std::string& body) {
    const Reply reply = api.Post("/api/v1/node/1/tags", body);
    EXPECT_EQ(reply.status, 400) << body;
    return ApiFixture::Problem(reply);
  };
  EXPECT_EQ(refused(R"({"tags":[]})"), "setting tags: cannot remove all tags from node");
  EXPECT_EQ(refused(""), "setting tags: cannot remove all tags from node");
  EXPECT_NE(refused(R"({"tags":["a"]})").find("tag must start"), std::string::npos);
  EXPECT_NE(refused(R"({"tags":["tag:unknown"]})").find("invalid or not permitted"),
            std::string::npos);
  EXPECT_FALSE(api.tailnet.Get(1).tagged());
}

TEST(AdminApiNodes, RoutesAreServedWhenOfferedAndApproved) {
  ApiFixture api;
  api.tailnet.AddNode(api.tailnet.AddUser("alice"), 1, "router",
                      R"(,"RoutableIPs":["10.0.0.0/24","0.0.0.0/0","::/0"])");
  api.tailnet.registry().StreamOpened(1);
  api.tailnet.Settle();
  const Reply approved = api.Post("/api/v1/node/1/approve_routes",
                                  R"({"routes":["10.0.0.7/24","::/0","10.9.0.0/16"]})");
  EXPECT_EQ(approved.status, 200) << approved.body;
  EXPECT_EQ(Field(approved, "approvedRoutes"),
            R"(["0.0.0.0/0","10.0.0.0/24","10.9.0.0/16","::/0"])");
  EXPECT_EQ(Field(approved, "availableRoutes"), R"(["0.0.0.0/0","10.0.0.0/24","::/0"])");
  EXPECT_EQ(Field(approved, "subnetRoutes"), R"(["10.0.0.0/24","0.0.0.0/0","::/0"])");
  const Reply bad = api.Post("/api/v1/node/1/approve_routes", R"({"routes":["10.0.0.0/33"]})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_NE(ApiFixture::Problem(bad).find("parsing route"), std::string::npos);
  EXPECT_EQ(Field(api.Post("/api/v1/node/1/approve_routes", R"({"routes":[]})"), "approvedRoutes"),
            "[]");
}

TEST(AdminApiNodes, BackfillNeedsConfirmation) {
  ApiFixture api;
  api.tailnet.AddNode(api.tailnet.AddUser("alice"), 1);
  EXPECT_EQ(api.Post("/api/v1/node/backfillips").status, 400);
  EXPECT_EQ(api.Post("/api/v1/node/backfillips?confirmed=false").status, 400);
  EXPECT_EQ(api.Post("/api/v1/node/backfillips?confirmed=true").body, R"({"changes":[]})");
}

TEST(AdminApiNodes, DetailTellsWhatElseIsKnown) {
  ApiFixture api({}, {.node_notes = [](const Node&) { return std::vector<std::string>{"more"}; },
                      .region_name =
                          [](std::uint16_t region) {
                            return region == 900 ? std::string("home") : std::string();
                          }});
  const UserId alice = api.tailnet.AddUser("alice");
  api.tailnet.AddNode(alice, 1, "laptop",
                      R"(,"IPNVersion":"1.80.3-t1","NetInfo":{"PreferredDERP":900})");
  api.tailnet.Report(1, {.capability_version = 113,
                         .disco_key = Disco(1),
                         .hostinfo = {},
                         .endpoints = {At("192.0.2.7:41641", 2)},
                         .streaming = false});
  api.tailnet.registry().StreamOpened(1);
  api.tailnet.Settle();
  const auto detail = [&] {
    core::json::Parser parser;
    const Reply reply = api.Get("/api/v1/node/1/detail");
    EXPECT_EQ(reply.status, 200);
    return (*parser.Parse(reply.body))["detail"].Compact();
  };
  const std::string text = detail();
  EXPECT_NE(text.find(R"("dnsName":"laptop.tailnet.internal")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("clientVersion":"1.80.3-t1")"), std::string::npos);
  EXPECT_NE(text.find(R"("capabilityVersion":113)"), std::string::npos);
  EXPECT_NE(text.find(R"("homeRegion":900,"homeRegionName":"home","relayConnected":false)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(R"("endpoints":["192.0.2.7:41641"])"), std::string::npos);
  EXPECT_NE(text.find(R"("more"])"), std::string::npos);

  api.tailnet.registry().SetRelayConnected(NodeKey(1), true);
  api.tailnet.Settle();
  const std::string quiet = detail();
  EXPECT_NE(quiet.find(R"("notes":["more"])"), std::string::npos) << quiet;
  EXPECT_EQ(api.Post("/api/v1/node/1/expire").status, 200);
  EXPECT_NE(detail().find("key has expired"), std::string::npos);
}

TEST(AdminApiNodes, DeletingAnOnlineNode) {
  ApiFixture api;
  api.tailnet.AddNode(api.tailnet.AddUser("alice"), 1);
  api.tailnet.registry().StreamOpened(1);
  EXPECT_EQ(api.Delete("/api/v1/node/1").body, "{}");
  EXPECT_EQ(api.Get("/api/v1/node").body, R"({"nodes":[]})");
}

}  // namespace
}  // namespace ringscale::control::testing

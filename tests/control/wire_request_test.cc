#include <gtest/gtest.h>

#include "control/wire/map_request.h"
#include "control/wire/register_request.h"
#include "control/wire/register_response.h"
#include "core/json/reader.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kKey =
    "nodekey:1111111111111111111111111111111111111111111111111111111111111111";
constexpr std::string_view kOther =
    "nodekey:2222222222222222222222222222222222222222222222222222222222222222";
constexpr std::string_view kZero =
    "nodekey:0000000000000000000000000000000000000000000000000000000000000000";
constexpr std::string_view kDisco =
    "discokey:3333333333333333333333333333333333333333333333333333333333333333";

std::string With(std::string_view members) {
  return "{\"NodeKey\":\"" + std::string(kKey) + "\"" + (members.empty() ? "" : ",") +
         std::string(members) + "}";
}

TEST(RegisterRequest, AsAClientSendsIt) {
  const auto request = ParseRegisterRequest(
      R"({"Version":142,"NodeKey":")" + std::string(kKey) + R"(","OldNodeKey":")" +
      std::string(kZero) +
      R"(","NLKey":"nlpub:44","Auth":{"AuthKey":"hskey-auth-a-b"},)"
      R"("Expiry":"0001-01-01T00:00:00Z","Followup":"","Hostinfo":{"OS":"linux",)"
      R"("Hostname":"\u003ca\u003e", "Unknown":[1,{"x":null}]},"Ephemeral":true,)"
      R"("NodeKeySignature":null,"Tailnet":"required:x","Later":{"Field":1}})");
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->version, 142U);
  EXPECT_EQ(request->node_key.text(), kKey);
  EXPECT_TRUE(request->old_node_key.zero());
  EXPECT_EQ(request->nl_key, "nlpub:44");
  EXPECT_EQ(request->auth_key, "hskey-auth-a-b");
  EXPECT_FALSE(request->expiry.has_value());
  EXPECT_TRUE(request->ephemeral);
  EXPECT_EQ(request->hostinfo,
            R"({"OS":"linux","Hostname":"\u003ca\u003e","Unknown":[1,{"x":null}]})");
  EXPECT_EQ(request->tailnet, "required:x");
}

TEST(RegisterRequest, LogoutIsAPastExpiryInAnyZone) {
  const core::WallTime now{1'800'000'000'000'000'000};
  for (const char* text :
       {"1970-01-01T00:02:03Z", "1970-01-01T01:02:03+01:00", "1969-12-31T19:02:03.000-05:00"}) {
    const auto request = ParseRegisterRequest(With("\"Expiry\":\"" + std::string(text) + "\""));
    ASSERT_TRUE(request.has_value()) << text;
    EXPECT_EQ(request->expiry, core::WallTime{123'000'000'000}) << text;
    EXPECT_TRUE(request->IsLogout(now));
  }
  const auto zero = ParseRegisterRequest(With(R"("Expiry":"0001-01-01T00:00:00Z")"));
  EXPECT_FALSE(zero->IsLogout(now)) << "Go's zero time is no time";
  const auto later = ParseRegisterRequest(With(R"("Expiry":"2090-01-01T00:00:00Z")"));
  EXPECT_FALSE(later->IsLogout(now));
}

TEST(RegisterRequest, NullsAreZeroValues) {
  const auto request = ParseRegisterRequest(
      With(R"("Version":null,"Auth":null,"Hostinfo":null,"Expiry":null,"Ephemeral":null)"));
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->version, 0U);
  EXPECT_TRUE(request->hostinfo.empty());
}

TEST(RegisterRequest, WrongTypesAreRefusedByName) {
  const struct {
    const char* members;
    const char* named;
  } cases[] = {
      {R"("Version":"142")", "Version"},
      {R"("Version":-1)", "Version"},
      {R"("Version":1.5)", "Version"},
      {R"("OldNodeKey":"x")", "OldNodeKey"},
      {R"("OldNodeKey":"")", "OldNodeKey"},
      {R"("Auth":"x")", "Auth"},
      {R"("Auth":{"AuthKey":1})", "AuthKey"},
      {R"("Expiry":"soon")", "Expiry"},
      {R"("Expiry":5)", "Expiry"},
      {R"("Hostinfo":[])", "Hostinfo"},
      {R"("Hostinfo":"{}")", "Hostinfo"},
      {R"("Ephemeral":"true")", "Ephemeral"},
      {R"("Followup":{})", "Followup"},
  };
  for (const auto& c : cases) {
    const auto request = ParseRegisterRequest(With(c.members));
    ASSERT_FALSE(request.has_value()) << c.members;
    EXPECT_EQ(request.error().code, core::ErrorCode::kInvalid);
    EXPECT_NE(request.error().message.find(c.named), std::string::npos) << request.error().message;
  }
  for (const char* text : {"", "[]", "null", "{}", "{\"NodeKey\":null}", "{\"NodeKey\":\"a\"}"}) {
    EXPECT_FALSE(ParseRegisterRequest(text).has_value()) << text;
  }
  EXPECT_FALSE(ParseRegisterRequest("{\"NodeKey\":\"" + std::string(kZero) + "\"}").has_value());
}

TEST(RegisterRequest, Limits) {
  const std::string long_hostinfo = R"("Hostinfo":{"OS":")" + std::string(17'000, 'x') + "\"}";
  const auto request = ParseRegisterRequest(With(long_hostinfo));
  ASSERT_FALSE(request.has_value());
  EXPECT_EQ(request.error().code, core::ErrorCode::kLimit);
  EXPECT_EQ(ParseRegisterRequest(With("\"A\":\"" + std::string(70'000, 'x') + "\"")).error().code,
            core::ErrorCode::kLimit);
  EXPECT_EQ(
      ParseRegisterRequest(With(R"("Followup":")" + std::string(3'000, 'x') + "\"")).error().code,
      core::ErrorCode::kLimit);
  const std::string deep = R"("Hostinfo":)" + std::string(60, '[') + std::string(60, ']');
  EXPECT_EQ(ParseRegisterRequest(With(deep)).error().code, core::ErrorCode::kLimit);
}

TEST(RegisterResponse, ReadsBack) {
  RegisterResponse response;
  response.user_id = 7;
  response.login_name = "ann@example.com";
  response.display_name = "Ann <3";
  response.user_created = core::WallTime{0};
  response.machine_authorized = true;
  core::json::Parser parser;
  const auto root = parser.Parse(EncodeRegisterResponse(response));
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ((*root)["User"]["ID"].AsInt(), 7);
  EXPECT_EQ((*root)["User"]["DisplayName"].AsString(), "Ann <3");
  EXPECT_EQ((*root)["Login"]["LoginName"].AsString(), "ann@example.com");
  EXPECT_EQ((*root)["MachineAuthorized"].AsBool(), true);
  EXPECT_EQ((*root)["AuthURL"].AsString(), "");
  EXPECT_TRUE((*root)["Error"].missing());

  core::json::Parser second;
  const auto error = second.Parse(EncodeRegisterError("authkey expired"));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ((*error)["Error"].AsString(), "authkey expired");
  EXPECT_EQ((*error)["MachineAuthorized"].AsBool(), false);
  EXPECT_TRUE((*error)["User"].missing());
}

TEST(MapRequest, AsAClientSendsIt) {
  const auto request = ParseMapRequest(
      R"({"Version":142,"Compress":"zstd","KeepAlive":true,"NodeKey":")" + std::string(kOther) +
      R"(","DiscoKey":")" + std::string(kDisco) +
      R"(","Stream":true,"Hostinfo":{"OS":"linux","NetInfo":{"PreferredDERP":900}},)"
      R"("Endpoints":["203.0.113.5:41641","[2001:db8::1]:41641","[fe80::1%eth0]:1",)"
      R"("[fe80::2]:2","203.0.113.5:41641","192.168.1.4:41641"],"EndpointTypes":[2,2,1,1,2,1],)"
      R"("OmitPeers":false,"DebugFlags":["warn-ip-forwarding-off"],"TKAHead":"x"})");
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->version, 142U);
  EXPECT_TRUE(request->zstd);
  EXPECT_TRUE(request->keep_alive);
  EXPECT_TRUE(request->stream);
  EXPECT_FALSE(request->omit_peers);
  EXPECT_EQ(request->node_key.text(), kOther);
  EXPECT_EQ(request->disco_key.text(), kDisco);
  EXPECT_EQ(request->hostinfo, R"({"OS":"linux","NetInfo":{"PreferredDERP":900}})");
  ASSERT_EQ(request->endpoints.size(), 3U) << "no link-local, zoned or repeated ones";
  EXPECT_EQ(request->endpoints[0].address.text(), "203.0.113.5:41641");
  EXPECT_EQ(request->endpoints[0].type, 2);
  EXPECT_EQ(request->endpoints[1].address.text(), "[2001:db8::1]:41641");
  EXPECT_EQ(request->endpoints[2].address.text(), "192.168.1.4:41641");
  EXPECT_EQ(request->endpoints[2].type, 1) << "types follow their endpoints";
  EXPECT_EQ(request->debug_flags.size(), 1U);
}

TEST(MapRequest, EndpointTypesMayBeFewerOrMissing) {
  const auto fewer =
      ParseMapRequest(With(R"("EndpointTypes":[1],"Endpoints":["1.2.3.4:5","1.2.3.5:5"])"));
  ASSERT_TRUE(fewer.has_value());
  EXPECT_EQ(fewer->endpoints[0].type, 1);
  EXPECT_EQ(fewer->endpoints[1].type, 0);
  EXPECT_TRUE(ParseMapRequest(With(R"("Endpoints":null,"EndpointTypes":null)")).has_value());
}

TEST(MapRequest, EndpointsAreBounded) {
  std::string list;
  for (int i = 0; i < 300; ++i) {
    list += (i > 0 ? "," : "") +
            ("\"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":1\"");
  }
  const auto request = ParseMapRequest(With("\"Endpoints\":[" + list + "]"));
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->endpoints.size(), 64U);
}

TEST(MapRequest, WrongTypesAreRefusedByName) {
  const struct {
    const char* members;
    const char* named;
  } cases[] = {
      {R"("Compress":"gzip")", "Compress"},
      {R"("Stream":"yes")", "Stream"},
      {R"("DiscoKey":"nodekey:00")", "DiscoKey"},
      {R"("Endpoints":"1.2.3.4:5")", "Endpoints"},
      {R"("Endpoints":["1.2.3.4"])", "Endpoints"},
      {R"("Endpoints":[5])", "Endpoints"},
      {R"("Endpoints":{"a":1})", "Endpoints"},
      {R"("EndpointTypes":["a"])", "EndpointTypes"},
      {R"("DebugFlags":[1])", "DebugFlags"},
      {R"("DebugFlags":"a")", "DebugFlags"},
      {R"("Hostinfo":1)", "Hostinfo"},
      {R"("Version":99999999999)", "Version"},
  };
  for (const auto& c : cases) {
    const auto request = ParseMapRequest(With(c.members));
    ASSERT_FALSE(request.has_value()) << c.members;
    EXPECT_NE(request.error().message.find(c.named), std::string::npos) << request.error().message;
  }
}

}  // namespace
}  // namespace ringscale::control

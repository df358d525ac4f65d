#include "control/state/hostinfo.h"

#include <gtest/gtest.h>

namespace ringscale::control {
namespace {

TEST(Hostinfo, ReadsWhatTheServerUses) {
  const auto info = ParseHostinfo(R"({
    "IPNVersion": "1.80.3", "OS": "linux", "OSVersion": "6.1", "Hostname": "Web 1",
    "RoutableIPs": ["10.1.2.3/24", "0.0.0.0/0", "bad", "10.1.2.0/24"],
    "RequestTags": ["tag:b", "tag:a", "tag:b"],
    "NetInfo": {"PreferredDERP": 7, "DERPLatency": {"7-v4": 0.025}},
    "Later": {"x": [1, 2.5, null, true]}})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->hostname, "Web 1");
  EXPECT_EQ(info->os, "linux");
  EXPECT_EQ(info->os_version, "6.1");
  EXPECT_EQ(info->client_version, "1.80.3");
  ASSERT_EQ(info->routable_ips.size(), 2U);
  EXPECT_EQ(info->routable_ips[0].text(), "0.0.0.0/0");
  EXPECT_EQ(info->routable_ips[1].text(), "10.1.2.0/24");
  EXPECT_EQ(info->request_tags, (std::vector<std::string>{"tag:a", "tag:b"}));
  EXPECT_EQ(info->home_derp, 7);
  EXPECT_EQ(info->net_info, R"({"PreferredDERP":7,"DERPLatency":{"7-v4":0.025}})");
  EXPECT_TRUE(info->base.ends_with(R"("Later":{"x":[1,2.5,null,true]}})")) << info->base;
  EXPECT_EQ(info->base.find("NetInfo"), std::string::npos);
}

TEST(Hostinfo, PeersGetOnlyWhatTheyUse) {
  const auto info = ParseHostinfo(R"({
    "IPNVersion": "1.80.3", "BackendLogID": "abc", "OS": "linux", "Hostname": "a",
    "Services": [{"Proto":"tcp","Port":22}, {"Proto":"peerapi4","Port":41641},
                 {"Proto":"peerapi-dns-proxy","Port":1}],
    "sshHostKeys": ["ssh-ed25519 AAAA"], "AppConnector": true, "ShareeNode": false,
    "Location": {"City": "Bern"}, "GoVersion": "go1.26"})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->peer,
            R"({"Hostname":"a","OS":"linux","Services":[{"Proto":"peerapi4","Port":41641},)"
            R"({"Proto":"peerapi-dns-proxy","Port":1}],"sshHostKeys":["ssh-ed25519 AAAA"],)"
            R"("Location":{"City":"Bern"},"AppConnector":true})");
}

TEST(Hostinfo, PeerPartIgnoresOrderAndEmptyFields) {
  const auto a = ParseHostinfo(R"({"Hostname":"a","OS":"linux"})");
  const auto b = ParseHostinfo(
      R"({"OS":"linux","Hostname":"a","Services":[{"Proto":"tcp","Port":1}],"sshHostKeys":[],)"
      R"("AppConnector":null,"ShareeNode":false,"Location":{}})");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->peer, b->peer);
}

// The last of two fields of one name counts, also when it is null; what is stored must
// not bring the first one back.
TEST(Hostinfo, ANullAfterAValueStaysStored) {
  const auto info = ParseHostinfo(R"({"Hostname":"a","AppConnector":true,"AppConnector":null})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->peer, R"({"Hostname":"a"})");
  const auto stored = ParseStoredHostinfo(info->Merged());
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->peer, info->peer);
}

TEST(Hostinfo, MergeKeepsTheLastNetInfo) {
  auto first = ParseHostinfo(R"({"OS":"linux","NetInfo":{"PreferredDERP":3}})");
  auto second = ParseHostinfo(R"({"OS":"macOS"})");
  ASSERT_TRUE(first && second);
  second->KeepNetInfo(*first);
  EXPECT_EQ(second->Merged(), R"({"OS":"macOS","NetInfo":{"PreferredDERP":3}})");
  EXPECT_EQ(second->home_derp, 3);
  auto third = ParseHostinfo(R"({"NetInfo":{"PreferredDERP":5},"OS":"linux"})");
  ASSERT_TRUE(third);
  third->KeepNetInfo(*second);
  EXPECT_EQ(third->home_derp, 5);

  const auto again = ParseStoredHostinfo(second->Merged());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->Merged(), second->Merged());
  const auto only_net = ParseHostinfo(R"({"NetInfo":{"PreferredDERP":3}})");
  EXPECT_EQ(only_net->Merged(), R"({"NetInfo":{"PreferredDERP":3}})");
}

TEST(Hostinfo, AbsentIsEmpty) {
  for (const char* text : {"", "null", "{}"}) {
    const auto info = ParseHostinfo(text);
    ASSERT_TRUE(info) << text;
    EXPECT_EQ(info->Merged(), "{}");
    EXPECT_EQ(info->peer, "{}");
  }
}

TEST(Hostinfo, BadInputIsAnError) {
  for (const char* text : {"[]", "1", "{", "{\"a\":}", "\"x\"", "{\"a\":1}x", "\xff"}) {
    EXPECT_FALSE(ParseHostinfo(text)) << text;
  }
  const std::string big = "{\"a\":\"" + std::string(kMaxHostinfo, 'x') + "\"}";
  ASSERT_FALSE(ParseHostinfo(big));
  EXPECT_EQ(ParseHostinfo(big).error().code, core::ErrorCode::kLimit);
  EXPECT_FALSE(ParseHostinfo(std::string(1000, '[')));
}

TEST(Hostinfo, WrongTypesCountAsAbsent) {
  const auto info =
      ParseHostinfo(R"({"Hostname":5,"OS":["x"],"RoutableIPs":"10.0.0.0/8","RequestTags":{"a":1},)"
                    R"("NetInfo":[1],"Services":"x"})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->hostname, "");
  EXPECT_TRUE(info->routable_ips.empty());
  EXPECT_TRUE(info->request_tags.empty());
  EXPECT_EQ(info->net_info, "");
  EXPECT_EQ(info->home_derp, 0);
}

TEST(Hostinfo, WhatNeedsEscapesStillReadsBackWhenStored) {
  const std::string text = "{\"Hostname\":\"" + std::string(10000, '<') + "\"}";
  const auto info = ParseHostinfo(text);
  ASSERT_TRUE(info);
  const auto stored = ParseStoredHostinfo(info->Merged());
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->hostname, info->hostname);
}

}  // namespace
}  // namespace ringscale::control

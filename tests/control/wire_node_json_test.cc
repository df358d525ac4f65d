#include <gtest/gtest.h>

#include "control/policy/allow_all.h"
#include "control/wire/node_json.h"
#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

Node MakeNode() {
  Node node;
  node.row.id = 5;
  node.row.stable_id = "nABC";
  node.row.machine_key = Machine(5);
  node.row.node_key = NodeKey(5);
  node.row.disco_key = Disco(5);
  node.row.user_id = 2;
  node.row.given_name = "web";
  node.row.ipv4 = *core::IpAddress::Parse("100.64.0.5");
  node.row.ipv6 = *core::IpAddress::Parse("fd7a:115c:a1e0::5");
  node.row.created = *core::ParseRfc3339("2026-03-04T05:06:07.89Z");
  node.row.capability_version = 142;
  node.peer_hostinfo = R"({"OS":"linux"})";
  return node;
}

Members Peer(const Node& node, std::vector<core::IpPrefix> routes = {}) {
  std::string json;
  AppendPeer(json, node, {"tailnet.internal", std::move(routes)});
  return ReadMembers(json);
}

TEST(NodeJson, PeerHasWhatClientsUseAndNothingElse) {
  Node node = MakeNode();
  EXPECT_EQ(Peer(node), (Members{{"ID", "5"},
                                 {"StableID", "\"nABC\""},
                                 {"Name", "\"web.tailnet.internal.\""},
                                 {"User", "2"},
                                 {"Key", "\"" + NodeKey(5).text() + "\""},
                                 {"DiscoKey", "\"" + Disco(5).text() + "\""},
                                 {"Addresses", R"(["100.64.0.5/32","fd7a:115c:a1e0::5/128"])"},
                                 {"Hostinfo", R"({"OS":"linux"})"},
                                 {"Created", "\"2026-03-04T05:06:07Z\""},
                                 {"Cap", "142"},
                                 {"Online", "false"}}));
}

TEST(NodeJson, PeerWithEverything) {
  Node node = MakeNode();
  node.row.expiry = core::ParseRfc3339("2027-01-01T00:00:00.5Z");
  node.row.last_seen = core::ParseRfc3339("2026-05-05T05:05:05.999Z");
  node.row.tags = {"tag:a", "tag:b"};
  node.endpoints = {At("192.0.2.1:5", 2), At("[2001:db8::1]:5", 1)};
  node.home_derp = 900;
  node.online = true;
  const Members peer = Peer(node, {Prefix("10.0.0.0/8")});
  EXPECT_EQ(peer.at("KeyExpiry"), "\"2027-01-01T00:00:00Z\"");
  EXPECT_EQ(peer.at("LastSeen"), "\"2026-05-05T05:05:05Z\"") << "also while online";
  EXPECT_EQ(peer.at("Online"), "true");
  EXPECT_EQ(peer.at("Tags"), R"(["tag:a","tag:b"])");
  EXPECT_EQ(peer.at("User"), "2147455555");
  EXPECT_EQ(peer.at("Endpoints"), R"(["192.0.2.1:5","[2001:db8::1]:5"])");
  EXPECT_EQ(peer.at("HomeDERP"), "900");
  EXPECT_EQ(peer.at("PrimaryRoutes"), R"(["10.0.0.0/8"])");
}

TEST(NodeJson, ExitRoutesNeedAnnouncementAndApproval) {
  Node node = MakeNode();
  node.announced_routes = {Prefix("0.0.0.0/0"), Prefix("::/0")};
  EXPECT_EQ(AllowedIps(node, {.base_domain = "", .primary_routes = {}}).size(), 2U);
  node.row.approved_routes = {Prefix("0.0.0.0/0"), Prefix("10.0.0.0/8"), Prefix("::/0")};
  EXPECT_EQ(AllowedIps(node, {.base_domain = "", .primary_routes = {}}).size(), 4U);
  node.announced_routes.clear();
  EXPECT_EQ(AllowedIps(node, {.base_domain = "", .primary_routes = {}}).size(), 2U);
}

TEST(NodeJson, WithoutMagicDnsDomainTheNameIsTheLabel) {
  std::string json;
  AppendPeer(json, MakeNode(), {"", {}});
  EXPECT_EQ(ReadMembers(json).at("Name"), "\"web\"");
}

TEST(NodeJson, Self) {
  std::string json;
  AllowAllPolicy policy;
  AppendSelf(json, MakeNode(), {"tailnet.internal", {}},
             {.file_sharing = false, .policy = &policy});
  const Members self = ReadMembers(json);
  EXPECT_EQ(self.at("MachineAuthorized"), "true");
  EXPECT_EQ(self.at("Machine"), "\"" + Machine(5).text() + "\"");
  EXPECT_EQ(self.at("CapMap").find("file-sharing"), std::string::npos);
  EXPECT_NE(self.at("CapMap").find("\"default-auto-update\":[false]"), std::string::npos);
}

TEST(NodeJson, Patches) {
  Node node = MakeNode();
  const auto patch = [&](unsigned fields) {
    std::string json;
    return AppendPeerPatch(json, node, static_cast<std::uint16_t>(fields)) ? json : std::string();
  };
  EXPECT_EQ(patch(Change::kHomeDerp), "") << "region 0 cannot be told";
  node.home_derp = 3;
  EXPECT_EQ(patch(Change::kHomeDerp), R"({"NodeID":5,"DERPRegion":3})");
  EXPECT_EQ(patch(Change::kEndpoints), R"({"NodeID":5,"Endpoints":[]})") << "not null";
  node.online = true;
  EXPECT_EQ(patch(Change::kOnline | Change::kLastSeen), R"({"NodeID":5,"Online":true})");
  EXPECT_EQ(patch(Change::kKeyExpiry), R"({"NodeID":5,"KeyExpiry":"0001-01-01T00:00:00Z"})");
  EXPECT_EQ(patch(Change::kNodeKey), R"({"NodeID":5,"Key":")" + NodeKey(5).text() + "\"}");
  EXPECT_EQ(patch(Change::kCapVersion), R"({"NodeID":5,"Cap":142})");
}

TEST(NodeJson, UserProfiles) {
  std::string json;
  AppendUserProfile(json, {.id = 3, .name = "ann"});
  EXPECT_EQ(json, R"({"ID":3,"LoginName":"ann","DisplayName":"ann"})");
  json.clear();
  AppendUserProfile(json, {.id = 3,
                           .name = "ann",
                           .display_name = "Ann",
                           .email = "ann@example.com",
                           .picture_url = "https://x/y"});
  EXPECT_EQ(json, R"({"ID":3,"LoginName":"ann@example.com","DisplayName":"Ann",)"
                  R"("ProfilePicURL":"https://x/y"})");
}

TEST(NodeJson, ExpiredSelfIsAnObjectOfItsOwn) {
  std::string json;
  AppendExpiredSelf(json, NodeKey(9), "tailnet.internal");
  const Members self = ReadMembers(json);
  EXPECT_EQ(self.at("Key"), "\"" + NodeKey(9).text() + "\"");
  EXPECT_NE(self.at("ID"), "0");
}

}  // namespace
}  // namespace ringscale::control::testing

// What changes of the tailnet tell a client that reads as tailscaled does.
#include <gtest/gtest.h>

#include <string>

#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

TEST_F(MapServiceTest, FirstMapIsComplete) {
  tailnet.AddUser(1, "ann");
  tailnet.AddUser(2, "bob");
  for (int i = 0; i < 3; ++i) tailnet.AddNode(1 + i % 2);
  Start();
  auto client = Open(1);
  EXPECT_GT(client->Drain(), 0U);
  ExpectConverged(*client, tailnet, policy);
  EXPECT_EQ(client->model.messages, 1);
  EXPECT_EQ(client->model.node["ID"], "1");
  EXPECT_EQ(client->model.node["Name"], "\"host-1.tailnet.internal.\"");
  EXPECT_EQ(client->model.ssh_policy, R"({"rules":[]})");
  EXPECT_NE(client->model.filters.at("base").find(R"("SrcIPs":["*"])"), std::string::npos);
  EXPECT_NE(client->model.derp_map.find("sha256-raw:ab"), std::string::npos);
  EXPECT_NE(client->model.derp_map.find(R"("HostName":"192.0.2.1")"), std::string::npos);
  EXPECT_EQ(client->model.dns_config, R"({"Domains":["tailnet.internal"],"Proxied":true})");
  for (const char* capability :
       {"https://tailscale.com/cap/ssh", "https://tailscale.com/cap/file-sharing",
        "https://tailscale.com/cap/is-admin", "ssh-env-vars", "default-auto-update"}) {
    EXPECT_NE(client->model.node["CapMap"].find(capability), std::string::npos) << capability;
  }
}

TEST_F(MapServiceTest, AloneInTheTailnet) {
  StartWith(1);
  for (const bool zstd : {true, false}) {
    auto client = Open(1, zstd);
    client->Drain();
    EXPECT_EQ(client->model.messages, 1);
    EXPECT_TRUE(client->model.peers.empty());
    EXPECT_EQ(client->model.profiles.size(), 1U);
  }
}

TEST_F(MapServiceTest, ThirdNodeCostsTheOthersOneEntryAndNoFullMap) {
  tailnet.AddUser(1, "ann");
  tailnet.AddUser(2, "bob");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
  ASSERT_EQ(service->stats().full_maps.Value(), 2U);
  const auto compressions = service->stats().compressions.Value();

  tailnet.AddNode(2);
  EXPECT_EQ(a->Drain(), 0U) << "told before its tick";
  Settle({a.get(), b.get()});
  for (TestClient* client : {a.get(), b.get()}) {
    ExpectConverged(*client, tailnet, policy);
    EXPECT_EQ(client->model.changed_entries, 1);
    EXPECT_EQ(client->model.deltas, 1);
    EXPECT_EQ(client->model.messages, 2);
    EXPECT_TRUE(client->model.profiles.contains(2));
  }
  EXPECT_EQ(service->stats().full_maps.Value(), 2U);
  EXPECT_EQ(service->stats().delta_renders.Value(), 1U);
  EXPECT_EQ(service->stats().compressions.Value(), compressions + 1) << "one frame for both";
  EXPECT_EQ(a->raw_messages().back(), b->raw_messages().back());
}

TEST_F(MapServiceTest, EndpointsAndRelayAreAPatch) {
  auto [a, b] = StartWithTwoClients(3);
  const std::size_t before = a->bytes();
  tailnet.At(3).endpoints = {At("203.0.113.7:41641", 2), At("[2001:db8::1]:41641", 2)};
  tailnet.Patched(3, Change::kEndpoints);
  tailnet.At(3).home_derp = 900;
  tailnet.Patched(3, Change::kHomeDerp);
  Settle({a.get(), b.get()});
  ExpectConverged(*a, tailnet, policy);
  ExpectConverged(*b, tailnet, policy);
  EXPECT_EQ(a->model.patch_entries, 1) << "two changes of one tick are one entry";
  EXPECT_EQ(a->model.changed_entries, 0);
  EXPECT_LT(a->bytes() - before, 160U);

  tailnet.At(3).endpoints.clear();
  tailnet.At(3).online = false;
  tailnet.Patched(3, Change::kEndpoints | Change::kOnline | Change::kLastSeen);
  Settle({a.get(), b.get()});
  ExpectConverged(*a, tailnet, policy);
}

TEST_F(MapServiceTest, OwnPatchAloneIsNotSent) {
  auto [a, b] = StartWithTwoClients(2);
  tailnet.At(1).home_derp = 900;
  tailnet.Patched(1, Change::kHomeDerp);
  Settle({a.get(), b.get()});
  EXPECT_EQ(a->model.messages, 1);
  EXPECT_EQ(b->model.messages, 2);
  tailnet.At(2).row.hostname = "new";
  tailnet.Replaced(2, true);
  Settle({a.get(), b.get()});
  EXPECT_EQ(b->model.messages, 3) << "its own Node";
  EXPECT_EQ(b->model.changed_entries, 0);
  ExpectConverged(*a, tailnet, policy);
  ExpectConverged(*b, tailnet, policy);
}

TEST_F(MapServiceTest, ChangesThatCancelEachOtherAreNotTold) {
  StartWith(1);
  auto a = Open(1);
  Settle({a.get()});
  const NodeId short_lived = tailnet.AddNode(1).row.id;
  tailnet.RemoveNode(short_lived);
  const NodeId added = tailnet.AddNode(1).row.id;
  tailnet.At(added).home_derp = 5;
  tailnet.Patched(added, Change::kHomeDerp);
  Settle({a.get()});
  EXPECT_EQ(a->model.removed_entries, 0);
  EXPECT_EQ(a->model.patch_entries, 0) << "added and patched is added";
  EXPECT_EQ(a->model.changed_entries, 1);
  ExpectConverged(*a, tailnet, policy);
  tailnet.RemoveNode(added);
  Settle({a.get()});
  EXPECT_EQ(a->model.removed_entries, 1);
  EXPECT_TRUE(a->model.peers.empty());
}

TEST_F(MapServiceTest, SelfUpdateReachesOnlyTheNode) {
  auto [a, b] = StartWithTwoClients(2);
  tailnet.At(1).row.approved_routes = {Prefix("10.0.0.0/8")};
  tailnet.SelfChanged(1);
  Settle({a.get(), b.get()});
  EXPECT_EQ(a->model.messages, 2);
  EXPECT_EQ(b->model.messages, 1);
  EXPECT_EQ(service->stats().self_updates.Value(), 1U);
}

TEST_F(MapServiceTest, RoutesOfAPeer) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Node& router = tailnet.AddNode(1);
  router.announced_routes = {Prefix("0.0.0.0/0"), Prefix("10.1.0.0/16"), Prefix("::/0")};
  router.row.approved_routes = router.announced_routes;
  tailnet.primary_routes[2] = {Prefix("10.1.0.0/16")};
  Start();
  auto a = Open(1);
  Settle({a.get()});
  const Members& peer = a->model.peers.at(2);
  EXPECT_EQ(peer.at("PrimaryRoutes"), R"(["10.1.0.0/16"])");
  EXPECT_EQ(peer.at("AllowedIPs"),
            R"(["100.64.0.2/32","fd7a:115c:a1e0::2/128","10.1.0.0/16","0.0.0.0/0","::/0"])");
  tailnet.At(2).row.approved_routes.clear();
  tailnet.primary_routes.clear();
  tailnet.Replaced(2);
  Settle({a.get()});
  EXPECT_FALSE(a->model.peers.at(2).contains("AllowedIPs")) << "equal to Addresses";
}

TEST_F(MapServiceTest, TaggedNodesBelongToTheTaggedDevicesUser) {
  StartWith(1);
  auto a = Open(1);
  Settle({a.get()});
  Node& node = tailnet.AddNode(1);
  node.row.tags = {"tag:web"};
  tailnet.Replaced(node.row.id);
  Settle({a.get()});
  EXPECT_EQ(a->model.peers.at(2).at("User"), std::to_string(kTaggedDevicesUser));
  EXPECT_EQ(a->model.profiles.at(kTaggedDevicesUser).at("LoginName"), "\"tagged-devices\"");
  ExpectConverged(*a, tailnet, policy);
}

TEST_F(MapServiceTest, UserRenameReachesThoseWhoKnowTheUser) {
  tailnet.AddUser(1, "ann");
  tailnet.AddUser(2, "bob");
  tailnet.AddNode(1);
  tailnet.AddNode(2);
  Start();
  auto a = Open(1);
  Settle({a.get()});
  tailnet.RenameUser(2, "bobby");
  tailnet.AddUser(3, "nobody's");
  Settle({a.get()});
  EXPECT_EQ(a->model.profiles.at(2).at("LoginName"), "\"bobby\"");
  EXPECT_FALSE(a->model.profiles.contains(3));
  auto b = Open(2);
  b->Drain();
  EXPECT_EQ(b->model.profiles.at(2).at("LoginName"), "\"bobby\"");
}

TEST_F(MapServiceTest, SettingsChangesReachEverybodyOnce) {
  auto [a, b] = StartWithTwoClients(2);
  service->SetDns({.override_local_dns = true, .global_nameservers = {"1.1.1.1"}});
  DerpMap derp;
  derp.regions[1] = {
      .id = 1, .code = "x", .name = "X", .nodes = {{.name = "1a", .host_name = "h"}}};
  service->SetDerp(derp);
  Settle({a.get(), b.get()});
  for (TestClient* client : {a.get(), b.get()}) {
    EXPECT_NE(client->model.dns_config.find(R"("Resolvers":[{"Addr":"1.1.1.1"}])"),
              std::string::npos);
    EXPECT_NE(client->model.derp_map.find(R"("HostName":"h")"), std::string::npos);
    EXPECT_EQ(client->model.messages, 3);
  }
  service->SetDerp(derp);
  service->SetDns({.override_local_dns = true, .global_nameservers = {"1.1.1.1"}});
  Settle({a.get(), b.get()});
  EXPECT_EQ(a->model.messages, 3) << "equal settings are no change";
}

}  // namespace
}  // namespace ringscale::control::testing

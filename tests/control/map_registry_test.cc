// The map fan-out fed by the registry: what operators and clients do reaches the
// other clients, and the node itself where it concerns it.
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "control/map/registry_source.h"
#include "control/wire/node_json.h"
#include "tests/control/map_support.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

// What a node has told itself is not told back to it.
Members WithoutOwnReports(Members node) {
  for (const char* member : {"Cap", "DiscoKey", "HomeDERP", "Hostinfo"}) node.erase(member);
  return node;
}

class MapRegistryTest : public ::testing::Test {
 protected:
  MapRegistryTest() : source(tailnet.registry()), service(tailnet.loop(), source, policy, {}) {
    service.Load();
    tailnet.registry().AddListener(service);
    ann = tailnet.AddUser("ann");
    bob = tailnet.AddUser("bob");
    for (std::uint64_t n = 1; n <= 4; ++n) {
      nodes.push_back(tailnet.AddNode(n % 2 == 1 ? ann : bob, n, "host" + std::to_string(n)));
    }
    for (const NodeId id : nodes) Open(id);
    ExpectAllConverged("the first maps");
  }
  ~MapRegistryTest() override {
    clients.clear();
    tailnet.registry().RemoveListener(service);
  }
  void Open(NodeId id) {
    MapRequest request;
    request.version = 142;
    request.zstd = true;
    request.keep_alive = true;
    request.stream = true;
    request.node_key = tailnet.Get(id).row.node_key;
    tailnet.registry().StreamOpened(id);
    clients[id] = std::make_unique<TestClient>(service, id, request);
  }
  void ExpectAllConverged(const char* what) {
    SCOPED_TRACE(what);
    for (int round = 0; round < 3; ++round) {
      tailnet.loop().Advance(core::Millis(10));
      for (auto& [id, client] : clients) client->Drain();
    }
    for (auto& [id, client] : clients) {
      EXPECT_FALSE(client->ended());
      ExpectConverged(*client, source, policy);
      std::string self;
      AppendSelf(self, tailnet.Get(id), {"tailnet.internal", source.PrimaryRoutes(id)},
                 {.policy = &policy});
      EXPECT_EQ(WithoutOwnReports(client->model.node), WithoutOwnReports(ReadMembers(self)))
          << "own Node of " << id;
    }
  }

  Tailnet tailnet;
  AllowAllPolicy policy;
  RegistrySource source;
  MapServiceImpl service;
  UserId ann = 0;
  UserId bob = 0;
  std::vector<NodeId> nodes;
  std::map<NodeId, std::unique_ptr<TestClient>> clients;
};

TEST_F(MapRegistryTest, EverythingThatCanHappenToANode) {
  Registry& registry = tailnet.registry();
  const auto full_maps = service.stats().full_maps.Value();
  const NodeId id = nodes[0];

  EXPECT_EQ(
      tailnet.Report(id, {.capability_version = 142,
                          .disco_key = Disco(77),
                          .hostinfo = {},
                          .endpoints = {At("203.0.113.5:41641", 2), At("10.0.0.5:41641", 1)}}),
      "");
  ExpectAllConverged("disco key and endpoints");
  EXPECT_EQ(tailnet.Report(
                id, {.capability_version = 142, .hostinfo = R"({"Hostname":"host1","OS":"linux",
                                  "NetInfo":{"PreferredDERP":900},
                                  "Services":[{"Proto":"peerapi4","Port":4242}],
                                  "RoutableIPs":["10.9.0.0/16","0.0.0.0/0","::/0"]})"}),
            "");
  ExpectAllConverged("home region, services, announced routes");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.ApproveRoutes(id, {Prefix("10.9.0.0/16"), Prefix("0.0.0.0/0")}, std::move(done));
  }),
            "");
  ExpectAllConverged("approved routes");
  EXPECT_NE(clients[nodes[1]]->model.peers[id]["AllowedIPs"].find("::/0"), std::string::npos);
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry.RenameNode(id, "renamed", std::move(done)); }),
      "");
  ExpectAllConverged("renamed");
  EXPECT_EQ(clients[id]->model.node["Name"], "\"renamed.tailnet.internal.\"");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.SetNodeTags(nodes[1], {"tag:web"}, std::move(done));
  }),
            "");
  ExpectAllConverged("tagged");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.SetNodeExpiry(id, tailnet.loop().Wall() + core::Seconds(3600), std::move(done));
  }),
            "");
  ExpectAllConverged("expiry set");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.ExpireNodeNow(id, std::move(done)); }),
            "");
  ExpectAllConverged("expired");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.SetNodeExpiry(id, std::nullopt, std::move(done));
  }),
            "");
  ExpectAllConverged("never expires");
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry.RenameUser(bob, "bobby", std::move(done)); }),
      "");
  ExpectAllConverged("user renamed");
  EXPECT_EQ(service.stats().full_maps.Value(), full_maps) << "nobody got a second full map";
}

TEST_F(MapRegistryTest, EndpointsThatAreGoneAreMissingFromLaterMapsOnly) {
  const NodeId id = nodes[0];
  const auto report = [&](std::vector<Endpoint> endpoints) {
    EXPECT_EQ(tailnet.Report(id, {.hostinfo = {}, .endpoints = std::move(endpoints)}), "");
  };
  report({At("203.0.113.5:41641", 2), At("10.0.0.5:41641", 1)});
  ExpectAllConverged("two endpoints");
  const int messages = clients[nodes[1]]->model.messages;
  Open(nodes[3]);
  ExpectAllConverged("a map with both");

  report({At("10.0.0.5:41641", 1)});
  tailnet.loop().Advance(core::Millis(10));
  clients[nodes[1]]->Drain();
  EXPECT_EQ(clients[nodes[1]]->model.messages, messages) << "not worth a message";
  Open(nodes[2]);
  clients[nodes[2]]->Drain();
  ExpectConverged(*clients[nodes[2]], source, policy);
  // With the next thing that is told of the node, the others learn it too.
  report({At("10.0.0.5:41641", 1), At("10.0.0.6:41641", 1)});
  ExpectAllConverged("a new one");
}

TEST_F(MapRegistryTest, NodesComeAndGo) {
  const NodeId added = tailnet.AddNode(bob, 9, "late");
  ExpectAllConverged("a node without a stream");
  Open(added);
  ExpectAllConverged("and with one");
  tailnet.registry().StreamClosed(nodes[2]);
  clients.erase(nodes[2]);
  tailnet.loop().Advance(core::Seconds(30));
  ExpectAllConverged("one is offline");
  EXPECT_EQ(clients[added]->model.peers[nodes[2]]["Online"], "false");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeleteNode(nodes[2], std::move(done));
  }),
            "");
  ExpectAllConverged("and deleted");
  const auto gone = std::move(clients[nodes[3]]);
  clients.erase(nodes[3]);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeleteNode(nodes[3], std::move(done));
  }),
            "");
  ExpectAllConverged("one with a stream is deleted");
  gone->Drain();
  EXPECT_EQ(gone->model.node["KeyExpiry"], "\"1970-01-01T00:02:03Z\"");
}

TEST_F(MapRegistryTest, ReloginWithANewKeyMovesTheNode) {
  const NodeId id = nodes[0];
  auto request = Tailnet::Request(1, 101, "host1");
  const auto joined = tailnet.JoinForUser(request, ann);
  ASSERT_TRUE(joined.has_value());
  ASSERT_EQ(joined->id, id);
  tailnet.loop().Advance(core::Millis(10));
  clients[id]->Drain();
  EXPECT_TRUE(clients[id]->ended()) << "the poll of the old key";
  clients.erase(id);
  ExpectAllConverged("the others know the new key");
  EXPECT_EQ(clients[nodes[1]]->model.peers[id]["Key"], "\"" + NodeKey(101).text() + "\"");
  tailnet.registry().StreamClosed(id);
  Open(id);
  ExpectAllConverged("and it polls with it");
}

}  // namespace
}  // namespace ringscale::control::testing

// Policies on their way to clients: what streams know after any sequence of
// changes is what the policy says of them.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "control/map/policy_relay.h"
#include "control/wire/node_json.h"
#include "core/json/writer.h"
#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

constexpr char kDatabase[] =
    R"({"tagOwners":{"tag:db":[]},"acls":[{"src":["user1@"],"dst":["tag:db:5432"]}],
"nodeAttrs":[{"target":["user1@"],"attr":["x-attribute"]}]})";

constexpr char kTeam[] =
    R"({"tagOwners":{"tag:db":[]},"groups":{"group:g":["user1@"]},
"acls":[{"src":["group:g"],"dst":["tag:db:5432"]},{"src":["user2@"],"dst":["user2@:22"]}]})";

class PolicyMapTest : public ::testing::Test {
 protected:
  PolicyMapTest() {
    for (const UserId user : {1, 2, 3}) {
      tailnet.AddUser(user, "user" + std::to_string(user));
    }
    tailnet.Attach(relay);
    service.SetDns({});
    service.Load();
  }

  void SetPolicy(const std::string& text) {
    std::shared_ptr<const policy::Program> program;
    if (!text.empty()) {
      auto document = policy::ParseDocument(text);
      ASSERT_TRUE(document) << document.error().text();
      std::vector<policy::PolicyUser> users;
      for (const UserId id : {1, 2, 3}) {
        users.push_back(PolicyUserOf(*tailnet.FindUser(id), id == 1));
      }
      auto compiled = policy::Program::Compile(
          std::make_shared<const policy::Document>(std::move(*document)), std::move(users));
      ASSERT_TRUE(compiled) << compiled.error().text();
      program = *compiled;
    }
    program_ = program;
    index.Use(std::move(program), {"https://hs.example", false});
    relay.PolicyChanged();
  }

  NodeId PrimaryOf(const core::IpPrefix& prefix) const {
    for (const auto& [id, routes] : tailnet.primary_routes) {
      if (std::ranges::find(routes, prefix) != routes.end()) return id;
    }
    return 0;
  }

  void Serve(NodeId id, const std::vector<std::string>& routes) {
    Node& node = tailnet.At(id);
    node.announced_routes.clear();
    for (const auto& route : routes) {
      node.announced_routes.push_back(*core::IpPrefix::Parse(route));
    }
    std::ranges::sort(node.announced_routes);
    node.row.approved_routes = node.announced_routes;
    // The first node that offers a subnet carries it.
    tailnet.primary_routes.clear();
    std::set<core::IpPrefix> taken;
    for (const auto& [other, offering] : tailnet.nodes()) {
      for (const auto& route : offering.announced_routes) {
        if (!route.IsDefaultRoute() && taken.insert(route).second) {
          tailnet.primary_routes[other].push_back(route);
        }
      }
    }
    for (const auto& [other, offering] : tailnet.nodes()) {
      if (other == id || !offering.announced_routes.empty()) tailnet.Replaced(other, true);
    }
  }

  TestClient& Open(NodeId id) {
    clients.push_back(std::make_unique<TestClient>(service, tailnet, id));
    return *clients.back();
  }

  struct DatabaseClients {
    TestClient& mine;
    TestClient& theirs;
    TestClient& db;
  };
  // A node of each user, the last one a database, under kDatabase.
  DatabaseClients OpenAroundDatabase() {
    for (UserId user = 1; user <= 3; ++user) tailnet.AddNode(user);
    tailnet.At(3).row.tags = {"tag:db"};
    SetPolicy(kDatabase);
    const DatabaseClients opened{Open(1), Open(2), Open(3)};
    Settle();
    return opened;
  }

  // A node of each user under kTeam.
  void OpenTeam() {
    for (UserId user = 1; user <= 3; ++user) tailnet.AddNode(user);
    SetPolicy(kTeam);
    for (NodeId id = 1; id <= 3; ++id) Open(id);
    Settle();
  }

  void Settle() {
    // A fan-out may be followed by full maps of those who need one.
    for (int i = 0; i < 3; ++i) {
      loop.Advance(core::Millis(4000));
      for (const auto& client : clients) client->Drain();
    }
  }

  // That the stream told its client what `fresh`, an index made just now, says, and
  // what a client that asks anew is told.
  void ExpectTold(const TestClient& client, const PolicyIndex& fresh) {
    const Node* viewer = tailnet.FindNode(client.id());
    ASSERT_NE(viewer, nullptr);
    const ViewerClass viewer_class = fresh.ClassOfViewer(*viewer);
    const auto visible = fresh.Visible(viewer_class);
    const auto& varied = fresh.Varied(viewer_class);
    std::set<NodeId> expected;
    for (const auto& [id, node] : tailnet.nodes()) {
      if (id == client.id()) continue;
      if (std::ranges::find(visible, fresh.ClassOfPeer(node)) == visible.end()) continue;
      expected.insert(id);
      ASSERT_TRUE(client.model.peers.contains(id)) << client.id() << " does not know " << id;
      std::string json;
      NodeSurroundings surroundings{"tailnet.internal", tailnet.PrimaryRoutes(id)};
      if (const auto at = varied.find(id); at != varied.end()) {
        surroundings.primary_routes = at->second.primary;
        surroundings.exit_routes = std::ranges::any_of(
            at->second.allowed, [](const auto& route) { return route.IsDefaultRoute(); });
      }
      surroundings.ipv6_only =
          fresh.Ipv6Only(viewer_class) || fresh.Ipv6Only(fresh.ClassOfPeer(node));
      AppendPeer(json, node, surroundings);
      EXPECT_EQ(Normalised(client.model.peers.at(id)), Normalised(ReadMembers(json)))
          << client.id() << ", peer " << id;
    }
    for (const auto& [id, peer] : client.model.peers) {
      EXPECT_TRUE(expected.contains(id)) << client.id() << " still knows " << id;
    }
    const bool own_ipv4 = client.model.node.at("Addresses").contains("100.64.");
    EXPECT_NE(own_ipv4, fresh.Ipv6Only(viewer_class)) << client.id();
    EXPECT_EQ(client.model.Rules(), RulesOf(fresh.PacketFilter(*viewer))) << client.id();
    EXPECT_EQ(client.model.ssh_policy, *fresh.SshPolicy(*viewer));
    std::string caps;
    core::json::Writer json(caps);
    json.BeginObject();
    fresh.AddSelfCapabilities(*viewer, json);
    json.EndObject();
    for (const auto& [name, value] : ReadMembers(caps)) {
      EXPECT_NE(client.model.node.at("CapMap").find("\"" + name + "\":" + value), std::string::npos)
          << name;
    }

    const MapClientModel anew = AskAnew(service, tailnet, client.id());
    for (const char* member : {"Addresses", "AllowedIPs", "PrimaryRoutes", "Tags", "CapMap"}) {
      const auto value = [&](const Members& members) {
        const auto at = members.find(member);
        return at == members.end() ? std::string() : at->second;
      };
      EXPECT_EQ(value(client.model.node), value(anew.node)) << client.id() << " " << member;
    }
    EXPECT_EQ(client.model.Rules(), anew.Rules()) << client.id();
    EXPECT_EQ(client.model.ssh_policy, anew.ssh_policy) << client.id();
    ASSERT_EQ(client.model.peers.size(), anew.peers.size()) << client.id();
    for (const auto& [id, peer] : anew.peers) {
      EXPECT_EQ(Normalised(client.model.peers.at(id)), Normalised(peer));
    }
  }

  void ExpectAllTold() {
    PolicyIndex fresh([this](const auto& visit) { tailnet.EachNode(visit); },
                      [this](const core::IpPrefix& prefix) { return PrimaryOf(prefix); });
    fresh.Use(program_, {"https://hs.example", false});
    for (const auto& client : clients) ExpectTold(*client, fresh);
  }

  // Nobody is told anything of a change that means nothing to it, and nobody more than
  // what is different.
  void ExpectLittleSaid(const std::vector<MapClientModel>& before) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      const MapClientModel& then = before[i];
      const MapClientModel& now = clients[i]->model;
      const auto unlike = [](const auto& a, const auto& b) {
        int count = 0;
        for (const auto& [key, value] : a) {
          const auto at = b.find(key);
          count += at == b.end() || at->second != value ? 1 : 0;
        }
        return count;
      };
      int gone = 0;
      for (const auto& [id, peer] : then.peers) gone += now.peers.contains(id) ? 0 : 1;
      int no_filter = 0;
      for (const auto& [name, rules] : then.filters)
        no_filter += now.filters.contains(name) ? 0 : 1;
      SCOPED_TRACE("client " + std::to_string(clients[i]->id()));
      EXPECT_EQ(now.full_maps, then.full_maps);
      EXPECT_EQ(now.changed_entries - then.changed_entries, unlike(now.peers, then.peers));
      const int removed = now.removed_entries - then.removed_entries;
      // Its own id may be in a message that others get, too.
      EXPECT_TRUE(removed == gone || (removed == gone + 1 && now.messages > then.messages));
      EXPECT_EQ(now.filter_entries - then.filter_entries,
                unlike(now.filters, then.filters) + no_filter);
      const bool same = then.node == now.node && then.peers == now.peers &&
                        then.filters == now.filters && then.ssh_policy == now.ssh_policy;
      // One that sees nobody of its class any more gets what the others get.
      if (same && removed == 0) {
        EXPECT_EQ(now.messages, then.messages);
      }
    }
  }

  std::vector<MapClientModel> Models() const {
    std::vector<MapClientModel> out;
    for (const auto& client : clients) out.push_back(client->model);
    return out;
  }

  ManualLoop loop;
  FakeTailnet tailnet;
  PolicyIndex index{[this](const auto& visit) { tailnet.EachNode(visit); },
                    [this](const core::IpPrefix& prefix) { return PrimaryOf(prefix); }};
  MapServiceImpl service{loop, tailnet, index, {}};
  PolicyRelay relay{index, tailnet, service};
  std::vector<std::unique_ptr<TestClient>> clients;
  std::shared_ptr<const policy::Program> program_;
};

TEST_F(PolicyMapTest, DeniedPeersAreNotSeen) {
  auto [mine, theirs, db] = OpenAroundDatabase();
  ExpectAllTold();
  EXPECT_EQ(mine.model.peers.size(), 1U);
  EXPECT_EQ(theirs.model.peers.size(), 0U);
  EXPECT_NE(db.model.Rules().front().find("5432"), std::string::npos);
  EXPECT_NE(mine.model.node.at("CapMap").find("x-attribute"), std::string::npos);
}

TEST_F(PolicyMapTest, APolicyChangeReachesOpenStreams) {
  const NodeId laptop = tailnet.AddNode(1).row.id;
  tailnet.AddNode(2);
  TestClient& client = Open(laptop);
  Settle();
  EXPECT_EQ(client.model.peers.size(), 1U);
  SetPolicy(R"({"grants":[]})");
  Settle();
  ExpectAllTold();
  EXPECT_EQ(client.model.peers.size(), 0U);
  SetPolicy("");
  Settle();
  ExpectAllTold();
  EXPECT_EQ(client.model.peers.size(), 1U);
}

TEST_F(PolicyMapTest, AChangeForEverybodyLetsOthersHaveTheirTurn) {
  const NodeId source = tailnet.AddNode(2).row.id;
  for (int i = 0; i < 300; ++i) tailnet.AddNode(1);
  SetPolicy(R"({"acls":[{"src":["user2@"],"dst":["user1@:22"]}]})");
  for (const auto& [id, node] : tailnet.nodes()) {
    if (id != source) Open(id);
  }
  Settle();
  for (const auto& client : clients) client->waker.wakes = 0;
  const auto told = [this] {
    return std::ranges::count_if(clients,
                                 [](const auto& client) { return client->waker.wakes > 0; });
  };
  SetPolicy(R"({"acls":[{"src":["user2@"],"dst":["user1@:23"]}]})");
  std::ptrdiff_t meanwhile = 0;
  loop.After(core::Duration{}, [&] { meanwhile = told(); });
  loop.Advance(core::Duration{});
  EXPECT_GT(meanwhile, 0);
  EXPECT_LT(meanwhile, std::ssize(clients));
  Settle();
  EXPECT_EQ(told(), std::ssize(clients));
  ExpectAllTold();
}

TEST_F(PolicyMapTest, APolicyChangeIsToldToThoseItConcerns) {
  auto [mine, theirs, db] = OpenAroundDatabase();
  const int mine_before = mine.model.messages;
  const int theirs_before = theirs.model.messages;
  const int db_before = db.model.messages;
  std::string changed = kDatabase;
  changed.replace(changed.find("5432"), 4, "5433");
  SetPolicy(changed);
  Settle();
  ExpectAllTold();
  EXPECT_EQ(mine.model.messages, mine_before);
  EXPECT_EQ(theirs.model.messages, theirs_before);
  EXPECT_EQ(db.model.messages, db_before + 1);
  EXPECT_EQ(db.model.full_maps, 1);
}

TEST_F(PolicyMapTest, ANewNodeChangesFiltersOfThoseItMayReachOnly) {
  auto [mine, stranger, db] = OpenAroundDatabase();
  const int before = stranger.model.messages;
  const int full = db.model.full_maps;
  tailnet.AddNode(1);
  Settle();
  ExpectAllTold();
  EXPECT_EQ(stranger.model.messages, before) << "none of its business";
  EXPECT_EQ(db.model.full_maps, full) << "a delta and a filter are enough";
  EXPECT_EQ(db.model.peers.size(), 2U);
}

TEST_F(PolicyMapTest, AMemberMoreIsToldToThoseItConcerns) {
  const NodeId first = tailnet.AddNode(1).row.id;
  const NodeId second = tailnet.AddNode(2).row.id;
  const NodeId third = tailnet.AddNode(3).row.id;
  const NodeId db = tailnet.AddNode(3).row.id;
  tailnet.At(db).row.tags = {"tag:db"};
  tailnet.Replaced(db, true);
  SetPolicy(kTeam);
  for (const NodeId id : {first, second, third, db}) Open(id);
  Settle();
  ExpectAllTold();
  const auto before = Models();
  const auto* engine = index.engine();
  std::string text = kTeam;
  text.insert(text.find("\"user1@\"]"), "/* new: */ \"user3@\",");
  SetPolicy(text);
  EXPECT_EQ(index.engine(), engine) << "the rules are the same: nothing is indexed again";
  Settle();
  ExpectAllTold();
  ExpectLittleSaid(before);
  EXPECT_EQ(clients[0]->model.messages, before[0].messages);
  EXPECT_EQ(clients[1]->model.messages, before[1].messages);
  EXPECT_EQ(clients[2]->model.peers.size(), 1U);
  EXPECT_EQ(clients[3]->model.peers.size(), 2U);
  EXPECT_EQ(clients[3]->model.filter_entries - before[3].filter_entries, 1);
}

TEST_F(PolicyMapTest, ATagMoreIsToldToThoseItConcerns) {
  OpenTeam();
  const auto before = Models();
  tailnet.At(3).row.tags = {"tag:db"};
  tailnet.Replaced(3, true);
  Settle();
  ExpectAllTold();
  EXPECT_EQ(clients[0]->model.peers.size(), 1U);
  EXPECT_EQ(clients[1]->model.messages, before[1].messages) << "none of its business";
  for (const auto& client : clients) EXPECT_EQ(client->model.full_maps, 1);
}

TEST_F(PolicyMapTest, ClassesMayComeAndGoForEver) {
  OpenTeam();
  for (int i = 0; i < 3000; ++i) {
    tailnet.At(3).row.tags.assign(i % 2, "tag:db");
    tailnet.Replaced(3, true);
    if (i % 500 == 0) Settle();
  }
  EXPECT_LT(index.engine()->class_ids(), 1100U) << "indexed again";
  Settle();
  ExpectAllTold();
  for (const auto& client : clients) EXPECT_EQ(client->model.full_maps, 1);
}

TEST_F(PolicyMapTest, WhoCannotTakeItAtOnceIsToldTheDifferenceLater) {
  OpenTeam();
  // Half of a message is taken when two policies follow each other.
  SetPolicy(R"({"grants":[{"src":["*"],"dst":["*"],"ip":["*"]}]})");
  loop.Advance(core::Millis(4000));
  for (const auto& client : clients) client->PullOnce(10);
  SetPolicy(R"({"grants":[]})");
  tailnet.AddNode(1);
  SetPolicy(R"({"grants":[{"src":["user1@"],"dst":["user1@","user3@"],"ip":["*"]}]})");
  Settle();
  ExpectAllTold();
  for (const auto& client : clients) EXPECT_EQ(client->model.full_maps, 1);
}

TEST_F(PolicyMapTest, RoutesAreForThoseWhoMayUseThem) {
  const NodeId user = tailnet.AddNode(1).row.id;
  const NodeId other = tailnet.AddNode(2).row.id;
  const NodeId router = tailnet.AddNode(3).row.id;
  SetPolicy(R"({"grants":[{"src":["user1@"],"dst":["10.1.0.0/16"],"ip":["*"]},
{"src":["user2@"],"dst":["user3@"],"ip":["22"]}]})");
  TestClient& may = Open(user);
  TestClient& may_not = Open(other);
  Settle();
  Serve(router, {"10.1.0.0/16"});
  Settle();
  ExpectAllTold();
  EXPECT_NE(may.model.peers.at(router).at("AllowedIPs").find("10.1.0.0/16"), std::string::npos);
  EXPECT_FALSE(may_not.model.peers.at(router).contains("AllowedIPs"));
}

TEST_F(PolicyMapTest, WithoutIpv4NobodyKnowsTheAddress) {
  const NodeId laptop = tailnet.AddNode(1).row.id;
  const NodeId other = tailnet.AddNode(2).row.id;
  Node& router = tailnet.AddNode(3);
  router.row.tags = {"tag:router"};
  const NodeId id = router.row.id;
  Serve(id, {"10.1.0.0/16"});
  constexpr char kAttribute[] = R"({"tagOwners":{"tag:router":[]},
"nodeAttrs":[{"target":["tag:router"],"attr":["disable-ipv4"]}]})";
  SetPolicy(R"({"tagOwners":{"tag:router":[]}})");
  TestClient& mine = Open(laptop);
  TestClient& theirs = Open(id);
  Settle();
  ExpectAllTold();
  const auto v4 = [](const Members& node, const char* member) {
    return node.contains(member) && node.at(member).contains("100.64.");
  };
  EXPECT_TRUE(v4(mine.model.peers.at(id), "Addresses"));

  // Open streams are told of the change, and of the way back.
  SetPolicy(kAttribute);
  Settle();
  ExpectAllTold();
  EXPECT_FALSE(v4(mine.model.peers.at(id), "Addresses"));
  EXPECT_FALSE(v4(mine.model.peers.at(id), "AllowedIPs"));
  EXPECT_TRUE(mine.model.peers.at(id).at("AllowedIPs").contains("10.1.0.0/16")) << "routes stay";
  EXPECT_TRUE(v4(mine.model.peers.at(other), "Addresses"));
  EXPECT_FALSE(v4(theirs.model.node, "Addresses"));
  EXPECT_FALSE(v4(theirs.model.peers.at(laptop), "Addresses"));
  EXPECT_TRUE(theirs.model.node.at("CapMap").contains("disable-ipv4"));
  EXPECT_EQ(mine.model.full_maps, 1) << "a changed peer is enough";

  // A client that comes later is told the same.
  TestClient& later = Open(other);
  Settle();
  ExpectAllTold();
  EXPECT_FALSE(v4(later.model.peers.at(id), "Addresses"));

  SetPolicy(R"({"tagOwners":{"tag:router":[]}})");
  Settle();
  ExpectAllTold();
  EXPECT_TRUE(v4(mine.model.peers.at(id), "Addresses"));
  EXPECT_TRUE(v4(theirs.model.node, "Addresses"));

  SetPolicy(R"({"tagOwners":{"tag:router":[]},"disableIPv4":true})");
  Settle();
  ExpectAllTold();
  EXPECT_FALSE(v4(mine.model.node, "Addresses"));
  EXPECT_FALSE(v4(mine.model.peers.at(other), "Addresses"));
}

TEST_F(PolicyMapTest, ANodeWithIpv4OnlyKeepsIt) {
  const NodeId laptop = tailnet.AddNode(1).row.id;
  const NodeId old = tailnet.AddNode(2).row.id;
  tailnet.At(old).row.ipv6 = {};
  tailnet.Replaced(old);
  SetPolicy(R"({"disableIPv4":true})");
  TestClient& client = Open(laptop);
  Settle();
  EXPECT_TRUE(client.model.peers.at(old).at("Addresses").contains("100.64."));
}

TEST_F(PolicyMapTest, ExitNodesAreSuggestedToThoseWhoMayUseThem) {
  const NodeId user = tailnet.AddNode(1).row.id;
  const NodeId other = tailnet.AddNode(2).row.id;
  const NodeId exit = tailnet.AddNode(3).row.id;
  SetPolicy(R"({"grants":[{"src":["user1@"],"dst":["autogroup:internet"],"ip":["*"]},
{"src":["user2@"],"dst":["user3@"],"ip":["22"]}]})");
  TestClient& may = Open(user);
  TestClient& may_not = Open(other);
  Settle();
  Serve(exit, {"0.0.0.0/0", "::/0"});
  Settle();
  ExpectAllTold();
  EXPECT_EQ(may.model.peers.at(exit).at("CapMap"), R"({"suggest-exit-node":null})");
  EXPECT_FALSE(may_not.model.peers.at(exit).contains("CapMap"));
  EXPECT_TRUE(may.model.node.at("CapMap").contains("\"suggest-exit-node-ui\":null"));
  Serve(exit, {});
  Settle();
  ExpectAllTold();
}

TEST_F(PolicyMapTest, SettingsOfThePolicyReachClients) {
  const NodeId linux_node = tailnet.AddNode(1).row.id;
  const NodeId mac = tailnet.AddNode(2).row.id;
  tailnet.At(linux_node).os = "linux";
  tailnet.At(mac).os = "macOS";
  TestClient& first = Open(linux_node);
  TestClient& second = Open(mac);
  SetPolicy("{}");
  Settle();
  const auto told = [](const TestClient& client, std::string_view name) {
    return client.model.node.at("CapMap").contains("\"" + std::string(name) + "\":null");
  };
  EXPECT_FALSE(told(first, "randomize-client-port"));
  SetPolicy(R"({"randomizeClientPort":true,"OneCGNATRoute":"mac-always"})");
  Settle();
  for (const TestClient* client : {&first, &second}) {
    EXPECT_TRUE(told(*client, "randomize-client-port"));
  }
  EXPECT_FALSE(told(first, "one-cgnat?v=true")) << "Macs only";
  EXPECT_TRUE(told(second, "one-cgnat?v=true"));
  SetPolicy(R"({"OneCGNATRoute":"mac-never"})");
  Settle();
  EXPECT_FALSE(told(first, "randomize-client-port"));
  EXPECT_TRUE(told(second, "one-cgnat?v=false"));
  EXPECT_FALSE(told(second, "one-cgnat?v=true"));
}

TEST_F(PolicyMapTest, AnySequenceOfChanges) {
  const auto many_rules = [](const std::string& people) {
    return R"({"tagOwners":{"tag:db":[],"tag:web":[]},
"groups":{"group:g":[)" +
           people + R"(]},
"acls":[{"src":["autogroup:member"],"dst":["autogroup:self:*"]},{"src":["tag:web"],"dst":["tag:db:1-9"]}],
"grants":[{"src":["group:g"],"dst":["10.0.0.0/8"],"ip":["443"]},
{"src":["user3@"],"dst":["10.1.0.0/16","autogroup:internet"],"ip":["*"],"via":["tag:web"]},
{"src":["*"],"dst":["tag:web"],"app":{"example.com/x":[{}]}}],
"ssh":[{"action":"check","src":["autogroup:member"],"dst":["autogroup:self"],"users":["root"]}],
"nodeAttrs":[{"target":["tag:db"],"attr":["a:b"]}]})";
  };
  const std::vector<std::string> policies = {
      "",
      R"({"tagOwners":{"tag:db":[]},"nodeAttrs":[{"target":["tag:db"],"attr":["disable-ipv4"]}]})",
      R"({"disableIPv4":true})",
      kDatabase,
      R"({"grants":[]})",
      many_rules(R"("user1@","user2@")"),
      many_rules(R"("user2@","user3@")"),
      R"({"tagOwners":{"tag:db":[],"tag:web":[]},
"grants":[{"src":["*"],"dst":["*"],"ip":["*"]},{"src":["user1@"],"dst":["10.1.0.0/16"],"ip":["*"],"via":["tag:db"]}]})",
  };
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    clients.clear();
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    SetPolicy(policies[below(policies.size())]);
    while (tailnet.nodes().size() < 8) tailnet.AddNode(1 + below(3));
    for (int step = 0; step < 60; ++step) {
      std::vector<NodeId> ids;
      for (const auto& [id, node] : tailnet.nodes()) ids.push_back(id);
      const NodeId id = ids[below(ids.size())];
      switch (below(8)) {
        case 0:
          tailnet.AddNode(1 + below(3));
          break;
        case 1:
          if (ids.size() > 4) {
            std::erase_if(clients, [&](const auto& client) { return client->id() == id; });
            Serve(id, {});
            tailnet.RemoveNode(id);
          }
          break;
        case 2: {
          static const std::vector<std::vector<std::string>> kTags = {
              {}, {"tag:db"}, {"tag:web"}, {"tag:db", "tag:web"}};
          tailnet.At(id).row.tags = kTags[below(kTags.size())];
          tailnet.Replaced(id, true);
          break;
        }
        case 3: {
          static const std::vector<std::vector<std::string>> kRoutes = {
              {}, {"10.1.0.0/16"}, {"10.2.0.0/16"}, {"0.0.0.0/0", "::/0"}};
          Serve(id, kRoutes[below(kRoutes.size())]);
          break;
        }
        case 4:
          tailnet.At(id).online = !tailnet.At(id).online;
          tailnet.Patched(id, Change::kOnline);
          break;
        case 5: {
          if (below(4) != 0) break;
          Settle();
          const auto before = Models();
          SetPolicy(policies[below(policies.size())]);
          Settle();
          ExpectLittleSaid(before);
          break;
        }
        default:
          std::erase_if(clients, [&](const auto& client) { return client->id() == id; });
          Open(id);
      }
      if (below(3) == 0) {
        Settle();
        ExpectAllTold();
        if (HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace ringscale::control::testing

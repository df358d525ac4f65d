// Viewers that see different peers, and policies that change.
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

class MapClasses : public MapServiceFixture<ColourPolicy> {
 protected:
  void PolicyChanged() {
    ++policy.version;
    tailnet.Publish({.kind = Change::Kind::kPolicyChanged});
  }
  // A fan-out may be followed by full maps.
  void Settle(const std::vector<TestClient*>& clients) {
    for (int i = 0; i < 3; ++i) MapServiceFixture::Settle(clients);
  }
};

TEST_F(MapClasses, ViewersSeeTheirClassesOnly) {
  for (UserId user = 1; user <= 4; ++user) tailnet.AddUser(user, "u" + std::to_string(user));
  for (std::uint64_t i = 0; i < 40; ++i) tailnet.AddNode(1 + i % 4);
  for (NodeId id = 1; id <= 40; ++id) policy.colours[id] = static_cast<std::uint32_t>(id % 4);
  Start();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (const NodeId id : {4U, 5U, 6U}) clients.push_back(Open(id));
  for (auto& client : clients) {
    client->Drain();
    ExpectConverged(*client, tailnet, policy);
  }
  EXPECT_EQ(clients[1]->model.profiles.size(), 1U) << "profiles of those it sees";
  tailnet.At(9).home_derp = 3;  // of colour 1
  tailnet.Patched(9, Change::kHomeDerp);
  loop.Advance(kTick);
  for (auto& client : clients) client->Drain();
  EXPECT_EQ(clients[0]->model.deltas, 1);
  EXPECT_EQ(clients[1]->model.deltas, 1);
  EXPECT_EQ(clients[2]->model.deltas, 0);
}

TEST_F(MapClasses, ViewerWhoseOwnerIsNotAmongThePeersGetsItsProfile) {
  tailnet.AddUser(1, "ann");
  tailnet.AddUser(2, "bob");
  tailnet.AddNode(1);
  tailnet.AddNode(2);
  policy.colours = {{1, 1}, {2, 2}};
  Start();
  auto a = Open(1);
  a->Drain();
  EXPECT_TRUE(a->model.peers.empty());
  EXPECT_EQ(a->model.profiles.size(), 1U);
}

TEST_F(MapClasses, PolicyChangeMovesPeersInAndOut) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 12; ++i) tailnet.AddNode(1);
  for (NodeId id = 1; id <= 12; ++id) policy.colours[id] = static_cast<std::uint32_t>(id % 4);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  auto c = Open(3);
  Settle({a.get(), b.get(), c.get()});
  // 5 leaves colour 1, 2 stays as it was, 3 loses everybody.
  policy.colours[5] = 0;
  policy.colours[7] = 1;
  policy.colours[11] = 1;
  PolicyChanged();
  Settle({a.get(), b.get(), c.get()});
  for (TestClient* client : {a.get(), b.get(), c.get()}) {
    ExpectConverged(*client, tailnet, policy);
  }
  EXPECT_EQ(b->model.full_maps, 1);
  EXPECT_EQ(b->model.messages, 1) << "sees the same nodes and has the same filter";
  EXPECT_TRUE(c->model.peers.empty()) << "the last peers went by PeersRemoved";
  EXPECT_EQ(c->model.removed_entries, 2);
}

TEST_F(MapClasses, RandomPolicyHistoriesConverge) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto draw = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    tailnet = FakeTailnet();
    policy.colours.clear();
    std::vector<NodeId> alive;
    for (UserId user = 1; user <= 3; ++user) tailnet.AddUser(user, "u" + std::to_string(user));
    for (int i = 0; i < 30; ++i) {
      alive.push_back(tailnet.AddNode(1 + draw(3)).row.id);
      policy.colours[alive.back()] = static_cast<std::uint32_t>(draw(4));
    }
    Start();
    std::map<NodeId, std::unique_ptr<TestClient>> clients;
    NodeId next = alive.back() + 1;
    for (int step = 0; step < 300; ++step) {
      switch (draw(8)) {
        case 0:
          policy.colours[next] = static_cast<std::uint32_t>(draw(4));
          alive.push_back(tailnet.AddNode(1 + draw(3)).row.id);
          ASSERT_EQ(alive.back(), next++);
          break;
        case 1:
          if (alive.size() > 2) {
            const std::size_t at = draw(alive.size());
            clients.erase(alive[at]);
            tailnet.RemoveNode(alive[at]);
            alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(at));
          }
          break;
        case 2: {
          const NodeId id = alive[draw(alive.size())];
          tailnet.At(id).home_derp = static_cast<std::uint16_t>(1 + draw(900));
          tailnet.Patched(id, Change::kHomeDerp);
          break;
        }
        case 3: {
          const NodeId id = alive[draw(alive.size())];
          clients[id] = Open(id);
          break;
        }
        case 4:
          for (std::size_t i = draw(4); i > 0; --i) {
            policy.colours[alive[draw(alive.size())]] = static_cast<std::uint32_t>(draw(4));
          }
          PolicyChanged();
          break;
        default:
          for (auto& [id, client] : clients) {
            if (draw(3) == 0) client->PullOnce(1 + draw(2000));
          }
          loop.Advance(core::Millis(static_cast<std::int64_t>(draw(40))));
      }
    }
    for (int round = 0; round < 100; ++round) {
      loop.Advance(kTick);
      for (auto& [id, client] : clients) client->Drain();
    }
    for (auto& [id, client] : clients) {
      ExpectConverged(*client, tailnet, policy);
      EXPECT_EQ(client->model.Rules(), RulesOf(policy.PacketFilter(tailnet.At(id))));
    }
    clients.clear();
  }
}

}  // namespace
}  // namespace ringscale::control::testing

// Full maps made of blocks that viewers share, and random histories of a tailnet.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

using MapBlocks = MapServiceTest;

TEST_F(MapBlocks, BlocksAreSharedAndOnlyTouchedOnesAreMadeAnew) {
  StartWith(1000);
  auto first = Open(1);
  first->Drain();
  const auto after_first = service->stats().compressions.Value();
  // Another viewer of the same block: its head and its part; of the parts one was
  // the first viewer's own and was never made whole.
  auto second = Open(100);
  second->Drain();
  const auto for_second = service->stats().compressions.Value() - after_first;
  EXPECT_LE(for_second, 2U);
  // The third shares everything but its own frame.
  auto third = Open(101);
  third->Drain();
  EXPECT_EQ(service->stats().compressions.Value() - after_first - for_second, 1U);

  for (NodeId id = 200; id < 200 + kRestlessUses; ++id) Open(id)->Drain();

  tailnet.At(900).peer_hostinfo = R"({"OS":"plan9"})";
  tailnet.Replaced(900);
  Settle({first.get(), second.get(), third.get()});
  auto before = service->stats().compressions.Value();
  auto fourth = Open(102);
  fourth->Drain();
  EXPECT_EQ(service->stats().compressions.Value() - before, 2U) << "own frame, one block";
  ExpectConverged(*fourth, tailnet, policy);
  ExpectConverged(*first, tailnet, policy);
  EXPECT_EQ(fourth->model.messages, 1);

  // A patch leaves the block as it is: a second message brings it up to date.
  const std::size_t map_bytes = fourth->bytes();
  for (const NodeId id : {900U, 901U, 500U}) {
    tailnet.At(id).home_derp = 7;
    tailnet.Patched(id, Change::kHomeDerp);
  }
  tailnet.At(901).online = false;
  tailnet.Patched(901, Change::kOnline);
  Settle({first.get()});
  before = service->stats().compressions.Value();
  auto fifth = Open(103);
  fifth->Drain();
  EXPECT_EQ(service->stats().compressions.Value() - before, 3U) << "own frame, two of patches";
  EXPECT_EQ(fifth->model.messages, 2);
  EXPECT_EQ(fifth->model.patch_entries, 3);
  EXPECT_LT(fifth->bytes(), map_bytes + 300);
  ExpectConverged(*fifth, tailnet, policy);
  // Too many of them, and the block is made anew.
  for (NodeId id = 897; id <= 1000; ++id) {
    tailnet.At(id).home_derp = 8;
    tailnet.Patched(id, Change::kHomeDerp);
  }
  auto sixth = Open(104);
  sixth->Drain();
  EXPECT_LE(sixth->model.patch_entries, 1 + 8);
  ExpectConverged(*sixth, tailnet, policy);
}

TEST_F(MapBlocks, NewMapsHaveWhatNobodyWasTold) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 400; ++i) tailnet.AddNode(1);
  const auto endpoint = [](int n) {
    return Endpoint{{core::IpAddress::V4(0x0A000000U + static_cast<std::uint32_t>(n)), 41641}, 1};
  };
  for (NodeId id = 200; id < 220; ++id) tailnet.At(id).endpoints = {endpoint(1), endpoint(2)};
  Start();
  auto old = Open(1);
  old->Drain();
  const int messages = old->model.messages;
  const std::size_t fresh_map = Open(2)->Drain();
  // First a few, told by patches after the block; then so many that it is made anew.
  for (NodeId id = 200; id < 220; ++id) {
    tailnet.At(id).endpoints = {endpoint(2)};
    if (id % 2 == 0) tailnet.At(id).endpoints.clear();
    tailnet.Refreshed(id, Change::kEndpoints);
    auto viewer = Open(2 + id % 3);
    viewer->Drain();
    ExpectConverged(*viewer, tailnet, policy);
    EXPECT_EQ(viewer->model.full_maps, 1);
    EXPECT_LT(viewer->bytes(), fresh_map + 4000);
    auto same_block = Open(250);
    same_block->Drain();
    ExpectConverged(*same_block, tailnet, policy);
  }
  Settle({old.get()});
  EXPECT_EQ(old->model.messages, messages);
}

TEST_F(MapBlocks, BlocksThatChangeOftenAreSentInParts) {
  StartWith(600);
  Open(1)->Drain();
  std::uint64_t compressions = 0;
  for (int i = 0; i < 20; ++i) {
    tailnet.At(300).peer_hostinfo = R"({"OS":")" + std::to_string(i) + "\"}";
    tailnet.Replaced(300);
    const auto before = service->stats().compressions.Value();
    auto client = Open(2);
    client->Drain();
    compressions = service->stats().compressions.Value() - before;
    ExpectConverged(*client, tailnet, policy);
    EXPECT_EQ(client->model.messages, 1);
  }
  EXPECT_EQ(compressions, 2U) << "the viewer's own frame and one part of 16 peers";
}

TEST_F(MapBlocks, ManyChangedPeersAtOnce) {
  StartWith(200);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (NodeId id = 1; id <= 200; id += 7) clients.push_back(Open(id));
  for (auto& client : clients) client->Drain();
  for (NodeId id = 1; id <= 160; ++id) {
    tailnet.At(id).peer_hostinfo = R"({"OS":"plan9"})";
    tailnet.Replaced(id);
  }
  loop.Advance(kTick);
  for (auto& client : clients) {
    client->Drain();
    ExpectConverged(*client, tailnet, policy);
    EXPECT_EQ(client->model.changed_entries, client->id() <= 160 ? 159 : 160);
  }
  EXPECT_EQ(service->stats().delta_renders.Value(), 1U);
}

TEST_F(MapBlocks, ThreeThousandNodes) {
  for (UserId user = 1; user <= 50; ++user) tailnet.AddUser(user, "user" + std::to_string(user));
  for (std::uint64_t i = 0; i < 3000; ++i) tailnet.AddNode(1 + i % 50);
  Start();
  auto plain = Open(7, false);
  plain->Drain();
  ExpectConverged(*plain, tailnet, policy);
  auto packed = Open(1500);
  packed->Drain(100'000);
  ExpectConverged(*packed, tailnet, policy);
  EXPECT_EQ(packed->model.profiles.size(), 50U);
  EXPECT_LT(packed->bytes() * 4, plain->bytes());
}

TEST_F(MapBlocks, BlocksShrinkWithTheTailnet) {
  StartWith(1000);
  auto a = Open(1);
  a->Drain();
  std::mt19937 random(3);
  std::vector<NodeId> others;
  for (NodeId id = 2; id <= 1000; ++id) others.push_back(id);
  std::shuffle(others.begin(), others.end(), random);
  for (std::size_t i = 0; i < 990; ++i) {
    tailnet.RemoveNode(others[i]);
    if (i % 50 == 0) Settle({a.get()});
  }
  Settle({a.get()});
  ExpectConverged(*a, tailnet, policy);
  auto fresh = Open(others.back());
  fresh->Drain();
  ExpectConverged(*fresh, tailnet, policy);
  EXPECT_LT(fresh->bytes(), 4000U) << "few frames, not one per old block";
}

// Random changes while streams open, lag, crawl and close; whoever catches up in
// the end knows what the tailnet is.
TEST_F(MapBlocks, RandomHistoriesConverge) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto draw = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    tailnet = FakeTailnet();
    std::vector<NodeId> alive;
    for (UserId user = 1; user <= 5; ++user) tailnet.AddUser(user, "u" + std::to_string(user));
    const std::size_t nodes = 1 + draw(300);
    for (std::size_t i = 0; i < nodes; ++i) alive.push_back(tailnet.AddNode(1 + i % 3).row.id);
    Start({.full_maps = 1 + draw(4)});
    std::map<NodeId, std::unique_ptr<TestClient>> clients;
    for (int step = 0; step < 400; ++step) {
      const auto some = [&] { return alive[draw(alive.size())]; };
      switch (draw(12)) {
        case 0:
          alive.push_back(tailnet.AddNode(1 + draw(5)).row.id);
          break;
        case 1:
          if (alive.size() > 1) {
            const std::size_t at = draw(alive.size());
            clients.erase(alive[at]);
            tailnet.RemoveNode(alive[at]);
            alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(at));
          }
          break;
        case 2: {
          const NodeId id = some();
          tailnet.At(id).peer_hostinfo = R"({"OS":")" + std::to_string(draw(9)) + "\"}";
          tailnet.Replaced(id, draw(2) == 0);
          break;
        }
        case 3: {
          const NodeId id = some();
          tailnet.At(id).endpoints.clear();
          for (std::size_t i = draw(4); i > 0; --i) {
            tailnet.At(id).endpoints.push_back(At("10.0.0.1:" + std::to_string(1 + draw(999)), 1));
          }
          tailnet.Patched(id, Change::kEndpoints);
          break;
        }
        case 4: {
          const NodeId id = some();
          tailnet.At(id).online = !tailnet.At(id).online;
          tailnet.At(id).row.last_seen = loop.Wall();
          tailnet.At(id).row.disco_key = Disco(random());
          tailnet.Patched(id, Change::kOnline | Change::kLastSeen | Change::kDiscoKey);
          break;
        }
        case 5: {
          const NodeId id = some();
          if (draw(2) == 0) {
            tailnet.At(id).row.expiry.reset();
          } else {
            tailnet.At(id).row.expiry = loop.Wall() + core::Seconds(3600);
          }
          tailnet.Patched(id, Change::kKeyExpiry, true);
          break;
        }
        case 6: {
          const NodeId id = some();
          tailnet.At(id).row.user_id = 1 + draw(5);
          tailnet.Replaced(id, true);
          break;
        }
        case 7:
          tailnet.RenameUser(1 + draw(5), "n" + std::to_string(draw(100)));
          break;
        case 8: {
          const NodeId id = some();
          clients[id] = Open(id, draw(3) != 0);
          break;
        }
        case 9:
          if (!clients.empty() && draw(3) == 0) clients.erase(clients.begin());
          break;
        default:
          for (auto& [id, client] : clients) {
            const std::size_t how = draw(4);
            if (how == 0) client->Drain(1 + draw(5000));
            if (how == 1) client->PullOnce(1 + draw(300));
          }
          loop.Advance(core::Millis(static_cast<std::int64_t>(draw(40))));
      }
    }
    for (int round = 0; round < 100; ++round) {
      loop.Advance(kTick);
      for (auto& [id, client] : clients) client->Drain();
    }
    for (auto& [id, client] : clients) {
      EXPECT_FALSE(client->ended());
      ExpectConverged(*client, tailnet, policy);
      const std::string& shown = client->model.node["User"];
      EXPECT_EQ(shown, std::to_string(tailnet.At(id).row.user_id));
    }
    clients.clear();
    ASSERT_EQ(service->open_streams(), 0U);
  }
}

}  // namespace
}  // namespace ringscale::control::testing

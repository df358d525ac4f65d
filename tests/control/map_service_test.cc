// The map fan-out against a client that reads as tailscaled does.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>

#include "control/app/control_server.h"
#include "control/map/map_service_impl.h"
#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

constexpr core::Duration kTick = core::Millis(10);

class MapServiceTest : public ::testing::Test {
 protected:
  void Start(MapOptions options = {}) {
    service = std::make_unique<MapServiceImpl>(loop, tailnet, policy, options);
    EmbeddedRegion region;
    region.pin = "sha256-raw:ab";
    DerpMap derp;
    derp.embedded = region;
    service->SetDerp(derp);
    service->SetDns({});
    service->Load();
    tailnet.Attach(*service);
  }
  std::unique_ptr<TestClient> Open(NodeId id, bool zstd = true) {
    return std::make_unique<TestClient>(*service, tailnet, id, zstd);
  }
  void Settle(std::vector<TestClient*> clients) {
    loop.Advance(kTick);
    for (TestClient* client : clients) client->Drain();
  }

  FakeLoop loop;
  FakeTailnet tailnet;
  AllowAllPolicy policy;
  std::unique_ptr<MapServiceImpl> service;
};

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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start();
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
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 3; ++i) tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start();
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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start();
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
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
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

TEST_F(MapServiceTest, NewStreamReplacesTheOlderOne) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start();
  auto older = Open(1);
  older->Drain();
  const int wakes = older->waker.wakes;
  auto newer = Open(1);
  EXPECT_GT(older->waker.wakes, wakes);
  older->Drain();
  EXPECT_TRUE(older->ended());
  newer->Drain();
  EXPECT_FALSE(newer->ended());
  older->Close();
  tailnet.SelfChanged(1);
  Settle({newer.get()});
  EXPECT_EQ(newer->model.messages, 2) << "closing the older one does not touch the newer";
  EXPECT_EQ(service->open_streams(), 1U);
}

TEST_F(MapServiceTest, DeletedNodeIsLoggedOut) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
  const std::string key = tailnet.At(1).row.node_key.text();
  tailnet.RemoveNode(1);
  Settle({a.get(), b.get()});
  EXPECT_FALSE(a->ended());
  EXPECT_EQ(a->model.node["KeyExpiry"], "\"1970-01-01T00:02:03Z\"");
  EXPECT_EQ(a->model.node["Key"], "\"" + key + "\"");
  EXPECT_TRUE(b->model.peers.empty());
  tailnet.AddNode(1);
  Settle({a.get(), b.get()});
  EXPECT_EQ(a->model.messages, 2) << "nothing of the tailnet after that";
  loop.Advance(core::Seconds(60));
  a->Drain();
  EXPECT_EQ(a->model.keep_alives, 1);
}

TEST_F(MapServiceTest, UnknownNodeIsLoggedOut) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start({.expired_streams = 2});
  auto a = Open(77);
  a->Drain();
  EXPECT_EQ(a->model.node["KeyExpiry"], "\"1970-01-01T00:02:03Z\"");
  EXPECT_TRUE(a->model.peers.empty());
  CountingWaker waker;
  auto b = service->OpenExpired(tailnet.Request(78), "h", false, waker);
  EXPECT_NE(b, nullptr);
  EXPECT_EQ(b->node(), 0U);
  EXPECT_EQ(service->OpenExpired(tailnet.Request(79), "h", false, waker), nullptr);
  b.reset();
  EXPECT_NE(service->OpenExpired(tailnet.Request(79), "h", false, waker), nullptr);

  const std::string one = service->OneShotExpired(tailnet.Request(80), "h", false);
  const auto json = DecodeFrames(std::string_view(one).substr(4));
  ASSERT_TRUE(json.has_value());
  EXPECT_NE(json->find("1970-01-01"), std::string::npos);
}

TEST_F(MapServiceTest, OneShotIsOneMessage) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 40; ++i) tailnet.AddNode(1);
  Start();
  for (const bool zstd : {true, false}) {
    const std::string one = service->OneShot(5, tailnet.Request(5, zstd), "h:1", true);
    const std::size_t size = core::LoadLe32(reinterpret_cast<const std::uint8_t*>(one.data()));
    ASSERT_EQ(size + 4, one.size());
    const auto json =
        zstd ? DecodeFrames(std::string_view(one).substr(4)) : std::optional(one.substr(4));
    ASSERT_TRUE(json.has_value());
    MapClientModel model(5);
    model.Apply(*json);
    EXPECT_EQ(model.peers.size(), 39U);
  }
}

TEST_F(MapServiceTest, NodeThatMovedToAnotherKeyEndsTheOldPoll) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
  tailnet.At(1).row.node_key = NodeKey(4711);
  tailnet.Patched(1, Change::kNodeKey, true);
  Settle({a.get(), b.get()});
  EXPECT_TRUE(a->ended());
  ExpectConverged(*b, tailnet, policy);
}

// A client that vanishes after a keep-alive leaves the next one unacknowledged.
TEST_F(MapServiceTest, KeepAlives) {
  constexpr core::Duration kOffline = core::Seconds(80);
  const core::Duration latest =
      kOffline - ControlLimits{}.silence - RegistryOptions{}.offline_grace - core::Seconds(1);
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  Start();
  for (int stream = 0; stream < 12; ++stream) {
    const bool zstd = stream % 2 == 0;
    auto a = Open(1, zstd);
    a->Drain();
    for (int i = 1; i <= 3; ++i) {
      loop.Advance(core::Millis(49'900));
      a->Drain();
      EXPECT_EQ(a->model.keep_alives, i - 1) << "not before 50 s";
      // A connection pulls when woken: find the second.
      int seconds = 0;
      while (a->model.keep_alives < i && seconds < 20) {
        loop.Advance(core::Millis(500));
        ++seconds;
        a->Drain();
      }
      EXPECT_LE(core::Millis(49'900 + 500 * seconds), latest);
      EXPECT_EQ(a->model.keep_alives, i);
    }
    if (zstd) {
      EXPECT_NE(a->raw_messages().back().size(), 27U) << "clients remember that one";
    } else {
      EXPECT_EQ(a->raw_messages().back(), "{\"KeepAlive\":true}\n");
    }
    EXPECT_EQ(a->model.messages, 1);
  }
}

TEST_F(MapServiceTest, AnyMessagePostponesTheKeepAlive) {
  tailnet.AddUser(1, "ann");
  tailnet.AddNode(1);
  tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  a->Drain();
  for (int i = 0; i < 10; ++i) {
    loop.Advance(core::Seconds(40));
    tailnet.At(2).home_derp = static_cast<std::uint16_t>(i + 1);
    tailnet.Patched(2, Change::kHomeDerp);
    Settle({a.get()});
  }
  EXPECT_EQ(a->model.keep_alives, 0);
  EXPECT_EQ(a->model.messages, 11);
}

TEST_F(MapServiceTest, FullMapsAreLimitedAndInOrder) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 40; ++i) tailnet.AddNode(1);
  Start({.full_maps = 2});
  std::vector<std::unique_ptr<TestClient>> clients;
  for (NodeId id = 1; id <= 6; ++id) clients.push_back(Open(id));
  EXPECT_TRUE(service->storm_draining());
  // All begin at once; only the first two get something.
  for (auto& client : clients) client->PullOnce(100);
  EXPECT_EQ(clients[0]->bytes(), 100U);
  EXPECT_EQ(clients[1]->bytes(), 100U);
  for (std::size_t i = 2; i < 6; ++i) EXPECT_EQ(clients[i]->bytes(), 0U);
  EXPECT_EQ(service->stats().sending_maps.Value(), 2);
  EXPECT_EQ(service->stats().waiting_for_map.Value(), 4);
  // A waiting one that goes away is passed over.
  clients[2]->Close();
  const int wakes = clients[3]->waker.wakes;
  clients[1]->Drain();
  EXPECT_GT(clients[3]->waker.wakes, wakes);
  EXPECT_EQ(clients[4]->waker.wakes, 0);
  for (int round = 0; round < 4; ++round) {
    for (auto& client : clients) client->Drain();
  }
  for (std::size_t i = 0; i < 6; ++i) {
    if (i != 2) ExpectConverged(*clients[i], tailnet, policy);
  }
  EXPECT_FALSE(service->storm_draining());
  EXPECT_EQ(service->stats().sending_maps.Value(), 0);
}

TEST_F(MapServiceTest, AStormIsOverWhenNobodyComesAnyMore) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 200; ++i) tailnet.AddNode(1);
  Start();
  std::vector<std::unique_ptr<TestClient>> clients;
  const auto come = [&](NodeId first, NodeId last) {
    for (NodeId id = first; id <= last; ++id) {
      clients.push_back(Open(id));
      clients.back()->Drain();
    }
  };
  // A trickle is none, though it goes on.
  for (NodeId id = 1; id <= 40; id += 8) {
    come(id, id + 7);
    EXPECT_FALSE(service->storm_draining());
    loop.Advance(core::Seconds(1));
  }
  // Nobody waits for a place: handshakes are slower than maps here.
  for (NodeId id = 41; id <= 200; id += 40) {
    come(id, id + 39);
    loop.Advance(core::Seconds(1));
  }
  EXPECT_TRUE(service->storm_draining());
  loop.Advance(core::Seconds(2));
  EXPECT_TRUE(service->storm_draining()) << "some may be on their way";
  loop.Advance(core::Seconds(3));
  EXPECT_FALSE(service->storm_draining());
  clients.clear();
  loop.Advance(core::Seconds(2));
  EXPECT_FALSE(service->storm_draining());
}

TEST_F(MapServiceTest, WhoWaitsForAMapGetsKeepAlives) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 3; ++i) tailnet.AddNode(1);
  Start({.full_maps = 1, .slow_map = core::Seconds(1000), .stalled_map = core::Seconds(1000)});
  auto holder = Open(1);
  holder->PullOnce(10);
  auto waiting = Open(2);
  waiting->Drain();
  for (int i = 0; i < 130; ++i) {
    loop.Advance(core::Seconds(1));
    waiting->Drain();
  }
  EXPECT_EQ(waiting->model.keep_alives, 2);
  EXPECT_EQ(waiting->model.messages, 0);
  holder->Drain();
  waiting->Drain();
  EXPECT_EQ(waiting->model.messages, 1);
  ExpectConverged(*waiting, tailnet, policy);
}

TEST_F(MapServiceTest, SlowAndStalledMapsDoNotBlockTheOthers) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 4; ++i) tailnet.AddNode(1);
  Start({.full_maps = 1});
  auto slow = Open(1);
  auto stalled = Open(2);
  auto last = Open(3);
  slow->PullOnce(10);
  for (int i = 0; i < 12; ++i) {
    loop.Advance(core::Seconds(1));
    slow->PullOnce(1);
  }
  // The slow one keeps its map, the next has the place but does not take it.
  EXPECT_EQ(service->stats().sending_maps.Value(), 2);
  for (int i = 0; i < 40; ++i) {
    loop.Advance(core::Seconds(1));
    slow->PullOnce(1);
    last->Drain();
  }
  EXPECT_EQ(last->model.messages, 1);
  stalled->Drain();
  EXPECT_TRUE(stalled->ended());
  EXPECT_EQ(service->stats().stalled_streams.Value(), 1U);
  slow->Drain();
  ExpectConverged(*slow, tailnet, policy);
  EXPECT_EQ(service->stats().sending_maps.Value(), 0);
}

TEST_F(MapServiceTest, LaggingStreamGetsOneMergedDelta) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 3; ++i) tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  b->Drain();
  a->PullOnce(10);
  for (int i = 0; i < 20; ++i) {
    tailnet.At(3).home_derp = static_cast<std::uint16_t>(1 + i);
    tailnet.Patched(3, Change::kHomeDerp);
    const NodeId id = tailnet.AddNode(1).row.id;
    if (i % 2 == 0) tailnet.RemoveNode(id);
    Settle({b.get()});
  }
  EXPECT_EQ(b->model.deltas, 20);
  a->Drain();
  EXPECT_EQ(a->model.deltas, 1);
  EXPECT_EQ(a->model.removed_entries, 0);
  ExpectConverged(*a, tailnet, policy);
  ExpectConverged(*b, tailnet, policy);
}

TEST_F(MapServiceTest, NextFanOutWaitsThreeTimesAsLongAsTheLastTook) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 3; ++i) tailnet.AddNode(1);
  Start();
  auto a = Open(1);
  auto b = Open(2);
  Settle({a.get(), b.get()});
  const auto change = [&] {
    ++tailnet.At(3).home_derp;
    tailnet.Patched(3, Change::kHomeDerp);
  };
  change();
  loop.Advance(kTick);
  a->Drain();
  loop.Advance(core::Millis(40));  // the connections are busy for that long
  b->Drain();
  change();
  loop.Advance(core::Millis(79));
  EXPECT_EQ(a->Drain(), 0U);
  change();
  loop.Advance(core::Millis(2));
  a->Drain();
  b->Drain();
  EXPECT_EQ(a->model.deltas, 2) << "both changes in one";
  ExpectConverged(*a, tailnet, policy);
  ExpectConverged(*b, tailnet, policy);
  // A client that takes its part much later than the others holds up nobody,
  change();
  loop.Advance(core::Seconds(1));
  a->Drain();
  loop.Advance(core::Millis(900));
  b->Drain();
  loop.Advance(core::Millis(1));
  change();
  loop.Advance(kTick);
  EXPECT_GT(a->Drain(), 0U);
  b->Drain();
  loop.Advance(core::Seconds(1));
  // nor does one that never takes it.
  change();
  loop.Advance(kTick);
  a->Drain();
  loop.Advance(core::Seconds(5));
  change();
  loop.Advance(kTick);
  EXPECT_GT(a->Drain(), 0U);
}

TEST_F(MapServiceTest, BlocksAreSharedAndOnlyTouchedOnesAreMadeAnew) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 1000; ++i) tailnet.AddNode(1);
  Start();
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

TEST_F(MapServiceTest, NewMapsHaveWhatNobodyWasTold) {
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

TEST_F(MapServiceTest, BlocksThatChangeOftenAreSentInParts) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 600; ++i) tailnet.AddNode(1);
  Start();
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

TEST_F(MapServiceTest, ManyChangedPeersAtOnce) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 200; ++i) tailnet.AddNode(1);
  Start();
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

TEST_F(MapServiceTest, ThreeThousandNodes) {
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

TEST_F(MapServiceTest, BlocksShrinkWithTheTailnet) {
  tailnet.AddUser(1, "ann");
  for (int i = 0; i < 1000; ++i) tailnet.AddNode(1);
  Start();
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
TEST_F(MapServiceTest, RandomHistoriesConverge) {
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

class MapPolicyTest : public ::testing::Test {
 protected:
  void Start() {
    service = std::make_unique<MapServiceImpl>(loop, tailnet, policy, MapOptions{});
    service->Load();
    tailnet.Attach(*service);
  }
  std::unique_ptr<TestClient> Open(NodeId id) {
    return std::make_unique<TestClient>(*service, tailnet, id);
  }
  void PolicyChanged() {
    ++policy.version;
    tailnet.Publish({.kind = Change::Kind::kPolicyChanged});
  }
  void Settle(std::vector<TestClient*> clients) {
    for (int i = 0; i < 3; ++i) {
      loop.Advance(kTick);
      for (TestClient* client : clients) client->Drain();
    }
  }

  FakeLoop loop;
  FakeTailnet tailnet;
  ColourPolicy policy;
  std::unique_ptr<MapServiceImpl> service;
};

TEST_F(MapPolicyTest, ViewersSeeTheirClassesOnly) {
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

TEST_F(MapPolicyTest, ViewerWhoseOwnerIsNotAmongThePeersGetsItsProfile) {
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

TEST_F(MapPolicyTest, PolicyChangeMovesPeersInAndOut) {
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

TEST_F(MapPolicyTest, RandomPolicyHistoriesConverge) {
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

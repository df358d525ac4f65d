// Many streams at once: places for full maps, slow readers, the pace of the fan-out.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

using MapStorm = MapServiceTest;

TEST_F(MapStorm, FullMapsAreLimitedAndInOrder) {
  StartWith(40, {.full_maps = 2});
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

TEST_F(MapStorm, AStormIsOverWhenNobodyComesAnyMore) {
  StartWith(200);
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

TEST_F(MapStorm, WhoWaitsForAMapGetsKeepAlives) {
  StartWith(3,
            {.full_maps = 1, .slow_map = core::Seconds(1000), .stalled_map = core::Seconds(1000)});
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

TEST_F(MapStorm, SlowAndStalledMapsDoNotBlockTheOthers) {
  StartWith(4, {.full_maps = 1});
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

TEST_F(MapStorm, LaggingStreamGetsOneMergedDelta) {
  StartWith(3);
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

TEST_F(MapStorm, TheFirstChangeIsToldAtOnceAndTheNextOnesTogether) {
  auto [a, b] = StartWithTwoClients(3);
  loop.Advance(core::Seconds(1));
  const auto change = [&] {
    ++tailnet.At(3).home_derp;
    tailnet.Patched(3, Change::kHomeDerp);
  };
  change();
  EXPECT_EQ(a->Drain(), 0U) << "what else this turn brings is told with it";
  change();
  loop.Advance(core::Duration{});
  a->Drain();
  b->Drain();
  EXPECT_EQ(a->model.deltas, 1);
  ExpectConverged(*a, tailnet, policy);

  change();
  loop.Advance(kTick - core::Millis(1));
  change();
  EXPECT_EQ(a->Drain(), 0U);
  loop.Advance(core::Millis(1));
  a->Drain();
  EXPECT_EQ(a->model.deltas, 2);
  ExpectConverged(*a, tailnet, policy);
}

TEST_F(MapStorm, WithoutRoomForTasksATimerTells) {
  auto [a, b] = StartWithTwoClients(2);
  loop.Advance(core::Seconds(1));
  loop.refuse_posts = true;
  tailnet.At(2).home_derp = 7;
  tailnet.Patched(2, Change::kHomeDerp);
  loop.Advance(core::Duration{});
  EXPECT_GT(a->Drain(), 0U);
  ExpectConverged(*a, tailnet, policy);
}

TEST_F(MapStorm, NextFanOutWaitsThreeTimesAsLongAsTheLastTook) {
  auto [a, b] = StartWithTwoClients(3);
  const auto change = [&] {
    ++tailnet.At(3).home_derp;
    tailnet.Patched(3, Change::kHomeDerp);
  };
  change();
  loop.Advance(core::Duration{});
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
  loop.Advance(core::Seconds(1));
  change();
  loop.Advance(core::Duration{});
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

}  // namespace
}  // namespace ringscale::control::testing

// How map streams begin, end and stay alive.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "control/app/control_server.h"
#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

using MapStreams = MapServiceTest;

TEST_F(MapStreams, NewStreamReplacesTheOlderOne) {
  StartWith(1);
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

TEST_F(MapStreams, DeletedNodeIsLoggedOut) {
  auto [a, b] = StartWithTwoClients(2);
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

TEST_F(MapStreams, UnknownNodeIsLoggedOut) {
  StartWith(1, {.expired_streams = 2});
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

TEST_F(MapStreams, OneShotIsOneMessage) {
  StartWith(40);
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

TEST_F(MapStreams, NodeThatMovedToAnotherKeyEndsTheOldPoll) {
  auto [a, b] = StartWithTwoClients(2);
  tailnet.At(1).row.node_key = NodeKey(4711);
  tailnet.Patched(1, Change::kNodeKey, true);
  Settle({a.get(), b.get()});
  EXPECT_TRUE(a->ended());
  ExpectConverged(*b, tailnet, policy);
}

// A client that vanishes after a keep-alive leaves the next one unacknowledged.
TEST_F(MapStreams, KeepAlives) {
  constexpr core::Duration kOffline = core::Seconds(80);
  const core::Duration latest =
      kOffline - ControlLimits{}.silence - RegistryOptions{}.offline_grace - core::Seconds(1);
  StartWith(1);
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

TEST_F(MapStreams, AnyMessagePostponesTheKeepAlive) {
  StartWith(2);
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

}  // namespace
}  // namespace ringscale::control::testing

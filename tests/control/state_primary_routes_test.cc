// Who serves a subnet that several routers offer.
#include "control/state/primary_routes.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

using Nodes = std::set<NodeId>;

const core::IpPrefix kOne = *core::IpPrefix::Parse("10.1.0.0/16");
const core::IpPrefix kTwo = *core::IpPrefix::Parse("10.2.0.0/16");

TEST(PrimaryRoutes, AnUnhealthyOneHandsOverAndDoesNotTakeBack) {
  PrimaryRouteTable table;
  EXPECT_EQ(table.Update(1, {kOne}), Nodes{1});
  EXPECT_EQ(table.Update(2, {kOne}), Nodes{});
  EXPECT_EQ(table.Update(3, {kOne}), Nodes{});
  EXPECT_EQ(table.Update(1, {kOne}, false), (Nodes{1, 2}));
  EXPECT_EQ(table.ServerOf(kOne), 2U);
  EXPECT_EQ(table.Update(1, {kOne}, true), Nodes{});
  EXPECT_EQ(table.ServerOf(kOne), 2U);
  // The next one goes by health before id.
  EXPECT_EQ(table.Update(1, {kOne}, false), Nodes{});
  EXPECT_EQ(table.Update(2, {}), (Nodes{2, 3}));
  EXPECT_EQ(table.ServerOf(kOne), 3U);
}

TEST(PrimaryRoutes, WhereNoneIsHealthyTheLastOneStays) {
  PrimaryRouteTable table;
  table.Update(1, {kOne});
  table.Update(2, {kOne});
  EXPECT_EQ(table.Update(2, {kOne}, false), Nodes{});
  EXPECT_EQ(table.Update(1, {kOne}, false), Nodes{});
  EXPECT_EQ(table.ServerOf(kOne), 1U);
  // Once it goes, an unhealthy one is still better than none.
  EXPECT_EQ(table.Update(1, {}), (Nodes{1, 2}));
  // Who comes healthy takes over at once.
  EXPECT_EQ(table.Update(3, {kOne}), (Nodes{2, 3}));
  EXPECT_EQ(table.ServerOf(kOne), 3U);
}

TEST(PrimaryRoutes, HealthIsOfTheNodeAndEndsWithItsRoutes) {
  PrimaryRouteTable table;
  table.Update(1, {kOne, kTwo});
  table.Update(2, {kOne});
  EXPECT_EQ(table.Update(1, {kOne, kTwo}, false), (Nodes{1, 2}));
  EXPECT_EQ(table.Of(1), std::vector{kTwo}) << "nobody else offers it";
  EXPECT_EQ(table.Of(2), std::vector{kOne});
  EXPECT_EQ(table.Update(1, {}, false), Nodes{1});
  EXPECT_EQ(table.Update(2, {}), Nodes{2});
  EXPECT_EQ(table.Update(1, {kOne}), Nodes{1});
  EXPECT_EQ(table.Update(2, {kOne}, false), Nodes{});
  EXPECT_EQ(table.ServerOf(kOne), 1U);
}

TEST(PrimaryRoutes, SharingAreThoseWithAnAlternative) {
  PrimaryRouteTable table;
  EXPECT_TRUE(table.Sharing().empty());
  table.Update(1, {kOne});
  table.Update(2, {kTwo});
  EXPECT_TRUE(table.Sharing().empty());
  table.Update(3, {kOne});
  EXPECT_EQ(table.Sharing(), (Nodes{1, 3}));
  table.Update(3, {kOne}, false);
  EXPECT_EQ(table.Sharing(), (Nodes{1, 3}));
  table.Update(2, {kOne, kTwo});
  EXPECT_EQ(table.Sharing(), (Nodes{1, 2, 3}));
  table.Update(1, {});
  table.Update(2, {kTwo});
  EXPECT_TRUE(table.Sharing().empty());
}

// Whatever happens: one server per prefix that somebody offers, healthy if one of
// them is, the same as before if it may, and every change of it is told.
TEST(PrimaryRoutes, HoldsAfterAnySequence) {
  std::mt19937 random(4711);
  const auto draw = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  PrimaryRouteTable table;
  std::map<NodeId, std::pair<std::set<core::IpPrefix>, bool>> offers;
  for (int step = 0; step < 3000; ++step) {
    const NodeId node = 1 + draw(4);
    std::vector<core::IpPrefix> routes;
    for (const auto& prefix : {kOne, kTwo}) {
      if (draw(3) > 0) routes.push_back(prefix);
    }
    const bool healthy = draw(2) == 0;
    std::map<core::IpPrefix, NodeId> before;
    for (const auto& prefix : {kOne, kTwo}) before[prefix] = table.ServerOf(prefix);
    const Nodes told = table.Update(node, routes, healthy);
    offers[node] = {{routes.begin(), routes.end()}, healthy};
    Nodes moved;
    for (const auto& prefix : {kOne, kTwo}) {
      Nodes all;
      Nodes well;
      for (const auto& [id, offer] : offers) {
        if (!offer.first.contains(prefix)) continue;
        all.insert(id);
        if (offer.second) well.insert(id);
      }
      const Nodes& allowed = well.empty() ? all : well;
      const NodeId now = table.ServerOf(prefix);
      EXPECT_TRUE(allowed.empty() ? now == 0 : allowed.contains(now));
      if (allowed.contains(before[prefix])) {
        EXPECT_EQ(now, before[prefix]);
      }
      if (now == before[prefix]) continue;
      for (const NodeId id : {now, before[prefix]}) {
        if (id != 0) moved.insert(id);
      }
    }
    EXPECT_EQ(told, moved);
  }
}

}  // namespace
}  // namespace ringscale::control::testing

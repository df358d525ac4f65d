#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "relay/app/key_placement.h"
#include "relay/route/duplicate_set.h"
#include "relay/route/key_index.h"
#include "relay/route/not_here_limiter.h"
#include "relay/route/peer_table.h"
#include "relay/route/source_tracker.h"
#include "tests/sim/sim_net.h"

namespace ringscale::relay {
namespace {

constexpr std::uint32_t kNone = PeerTable::kNone;

core::NodePublic Key(std::uint64_t n) {
  core::NodePublic key;
  core::StoreBe64(key.raw.data(), n);
  key.raw[31] = 1;
  return key;
}

TEST(KeyIndex, AgreesWithAMapUnderChurnAndCollisions) {
  // Few distinct hashes: long probe runs that wrap around.
  sim::Rng rng(7);
  KeyIndex index(8);
  std::map<std::uint32_t, std::uint64_t> model;  // value -> hash
  for (int step = 0; step < 20000; ++step) {
    const auto value = static_cast<std::uint32_t>(rng.Below(200));
    const auto known = model.find(value);
    if (known == model.end()) {
      const std::uint64_t hash = rng.Below(12) * 0x9e3779b97f4a7c15ull;
      index.Insert(hash, value);
      model[value] = hash;
    } else if (rng.Chance(60)) {
      index.Erase(known->second, value);
      model.erase(known);
    }
    ASSERT_EQ(index.size(), model.size());
    const auto probe = static_cast<std::uint32_t>(rng.Below(200));
    const auto expected = model.find(probe);
    for (std::uint64_t h = 0; h < 12; ++h) {
      const std::uint64_t hash = h * 0x9e3779b97f4a7c15ull;
      const std::uint32_t found = index.Find(hash, [probe](std::uint32_t v) { return v == probe; });
      const bool there = expected != model.end() && expected->second == hash;
      ASSERT_EQ(found, there ? probe : KeyIndex::kNone);
    }
  }
}

// --- duplicate connections: last writer is active ---

TEST(DuplicateSet, TheNewestIsActiveUntilAnotherSpeaks) {
  DuplicateSet set(1, 2);
  EXPECT_EQ(set.active(), 2u);
  set.Spoke(1);
  EXPECT_EQ(set.active(), 1u);
  set.Spoke(2);
  EXPECT_EQ(set.active(), 2u);
  set.Add(3);
  EXPECT_EQ(set.active(), 3u);
  EXPECT_EQ(set.members(), (std::vector<std::uint32_t>{1, 2, 3}));
}

TEST(DuplicateSet, WhenTheActiveLeavesTheLastOtherSpeakerTakesOver) {
  DuplicateSet set(1, 2);  // history: 1
  set.Add(3);              // 1 3
  set.Spoke(2);            // 1 3 2
  set.Remove(2);
  EXPECT_EQ(set.active(), 3u);
  set.Remove(3);
  EXPECT_EQ(set.active(), 1u);
}

TEST(DuplicateSet, NobodyIsActiveWhenNoneOfTheOthersSpoke) {
  DuplicateSet set(1, 2);
  set.Add(3);
  set.Remove(1);
  EXPECT_EQ(set.active(), 3u);
  set.Add(4);  // history: 3 4; member 2 has never spoken
  set.Remove(3);
  set.Remove(4);
  EXPECT_EQ(set.active(), DuplicateSet::kNone);
  set.Spoke(2);
  EXPECT_EQ(set.active(), 2u);
}

TEST(DuplicateSet, AnInactiveLeavesWithoutEffect) {
  DuplicateSet set(1, 2);
  set.Remove(1);
  EXPECT_EQ(set.active(), 2u);
  EXPECT_EQ(set.members().size(), 1u);
}

TEST(DuplicateSet, HistoryDoesNotGrowWhenTwoTakeTurns) {
  DuplicateSet set(1, 2);
  for (int i = 0; i < 1000; ++i) set.Spoke(1 + static_cast<std::uint32_t>(i % 2));
  set.Add(3);
  set.Remove(3);
  EXPECT_EQ(set.active(), 2u);
}

TEST(PeerTable, JoinsAndLeavesKeepTheGauges) {
  PeerTable table(0, {1, 2});
  const auto first = table.Join(Key(1), 10, 1);
  EXPECT_TRUE(first.first);
  EXPECT_EQ(first.members, 1u);
  const auto second = table.Join(Key(1), 11, 1);
  EXPECT_FALSE(second.first);
  EXPECT_EQ(second.members, 2u);
  EXPECT_EQ(second.peer, first.peer);
  EXPECT_EQ(table.duplicate_keys(), 1u);
  EXPECT_EQ(table.duplicate_connections(), 2u);
  EXPECT_EQ(table.Join(Key(1), 12, 1).members, 3u);
  EXPECT_EQ(table.duplicate_connections(), 3u);
  EXPECT_EQ(table.at(first.peer).active, 12u);
  table.Spoke(first.peer, 10);
  EXPECT_EQ(table.at(first.peer).active, 10u);
  EXPECT_EQ(table.ConnectionsOf(first.peer), (std::vector<std::uint32_t>{10, 11, 12}));

  EXPECT_EQ(table.Leave(first.peer, 10), 2u);
  EXPECT_EQ(table.at(first.peer).active, 12u);
  EXPECT_EQ(table.duplicate_connections(), 2u);
  EXPECT_EQ(table.Leave(first.peer, 12), 1u);
  EXPECT_EQ(table.at(first.peer).active, 11u) << "the remaining one is a normal client";
  EXPECT_EQ(table.duplicate_keys(), 0u);
  EXPECT_EQ(table.duplicate_connections(), 0u);
  EXPECT_EQ(table.Leave(first.peer, 11), 0u);
  table.Erase(first.peer);
  EXPECT_EQ(table.Find(Key(1)), kNone);
  EXPECT_EQ(table.size(), 0u);
}

TEST(PeerTable, AnErasedPlaceHoldsNoKey) {
  PeerTable table(0, {1, 2});
  const auto joined = table.Join(core::NodePublic{}, 1, 1);  // even the zero key
  table.Leave(joined.peer, 1);
  table.Erase(joined.peer);
  EXPECT_FALSE(table.Holds(joined.peer, core::NodePublic{}.raw.data()));
}

TEST(PeerTable, OlderNewsOfOtherShardsIsIgnored) {
  PeerTable table(0, {1, 2});
  // Placed on shard 1, gone, placed on shard 2; shard 2's news arrives first.
  const std::uint32_t peer = table.SetRemote(Key(5), 2, 8);
  ASSERT_NE(peer, kNone);
  EXPECT_EQ(table.SetRemote(Key(5), 1, 7), kNone);
  EXPECT_EQ(table.at(peer).shard, 2);
  EXPECT_FALSE(table.IsGone(table.at(peer), 1, 7));
  EXPECT_TRUE(table.IsGone(table.at(peer), 2, 8));
  // Comes here: ours counts, whatever is still on its way.
  table.Join(Key(5), 3, 9);
  EXPECT_EQ(table.SetRemote(Key(5), 2, 8), kNone);
  EXPECT_FALSE(table.IsGone(table.at(peer), 2, 8));
  EXPECT_EQ(table.at(peer).active, 3u);
}

TEST(PeerTable, FindsEverybodyAmongMany) {
  PeerTable table(0, {3, 4});
  for (std::uint32_t i = 0; i < 5000; ++i) table.Join(Key(i), i, 1);
  for (std::uint32_t i = 0; i < 5000; i += 2) {
    const std::uint32_t peer = table.Find(Key(i));
    table.Leave(peer, i);
    table.Erase(peer);
  }
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const std::uint32_t peer = table.Find(Key(i));
    ASSERT_EQ(peer == kNone, i % 2 == 0);
    if (peer != kNone) {
      ASSERT_EQ(table.at(peer).active, i);
    }
  }
}

// --- who received from whom ---

// --- other relays of the region ---

TEST(PeerTable, ForwardersKeepTheOrderInWhichTheyCame) {
  using Forwarding = PeerTable::Forwarding;
  PeerTable table(0, {1, 2});
  const auto added = table.AddForwarder(Key(1), 5);
  EXPECT_EQ(added.now, Forwarding::kOnly);
  EXPECT_EQ(table.at(added.peer).shard, Peer::kMesh);
  EXPECT_EQ(table.AddForwarder(Key(1), 5).now, Forwarding::kUnchanged);
  EXPECT_EQ(table.AddForwarder(Key(1), 3).now, Forwarding::kSeveral);
  EXPECT_EQ(table.AddForwarder(Key(1), 9).now, Forwarding::kSeveral);
  EXPECT_EQ(table.ForwarderOf(table.at(added.peer)), 5);
  EXPECT_EQ(table.RemoveForwarder(added.peer, 7), Forwarding::kUnchanged);
  EXPECT_EQ(table.RemoveForwarder(added.peer, 5), Forwarding::kSeveral);
  EXPECT_EQ(table.ForwarderOf(table.at(added.peer)), 3);
  EXPECT_EQ(table.RemoveForwarder(added.peer, 3), Forwarding::kOnly);
  EXPECT_EQ(table.RemoveForwarder(added.peer, 9), Forwarding::kNone);
  table.Erase(added.peer);
  EXPECT_EQ(table.Find(Key(1)), kNone);
  // The place of its list is used again.
  EXPECT_EQ(table.AddForwarder(Key(2), 1).now, Forwarding::kOnly);
}

TEST(PeerTable, AKeyMovesBetweenHereOtherShardsAndTheMesh) {
  PeerTable table(0, {1, 2});
  const std::uint32_t peer = table.AddForwarder(Key(1), 5).peer;
  const auto joined = table.Join(Key(1), 70, 3);
  EXPECT_EQ(joined.peer, peer);
  EXPECT_TRUE(joined.first);
  EXPECT_EQ(table.at(peer).active, 70u);
  EXPECT_EQ(table.Leave(peer, 70), 0u);
  table.LeaveToMesh(peer);
  EXPECT_EQ(table.at(peer).shard, Peer::kMesh);
  EXPECT_TRUE(table.ConnectionsOf(peer).empty());
  // Whatever the epoch: nobody here has it.
  EXPECT_EQ(table.SetRemote(Key(1), 2, 1), peer);
  EXPECT_EQ(table.at(peer).shard, 2);
  EXPECT_EQ(table.RemoveForwarder(peer, 5), PeerTable::Forwarding::kNone);
  EXPECT_EQ(table.at(peer).shard, 2);
}

TEST(SourceTracker, TellsEveryReceiverOnceAndForgetsBothWays) {
  SourceTracker tracker(100);
  std::vector<std::uint32_t> sources(4, kNone);
  std::vector<std::uint32_t> receivers(4, kNone);
  const auto note = [&](std::uint32_t s, std::uint32_t r) {
    return tracker.Note(s, r, sources[s], receivers[r]);
  };
  EXPECT_TRUE(note(0, 1));
  EXPECT_TRUE(note(0, 2));
  EXPECT_TRUE(note(0, 2));
  EXPECT_TRUE(note(3, 1));
  EXPECT_EQ(tracker.size(), 3u);
  std::multiset<std::uint32_t> told;
  const auto head = [&](std::uint32_t r) -> std::uint32_t& { return receivers[r]; };
  tracker.TakeSource(sources[0], head, [&](std::uint32_t r) { told.insert(r); });
  EXPECT_EQ(told, (std::multiset<std::uint32_t>{1, 2}));
  EXPECT_EQ(tracker.size(), 1u);
  EXPECT_EQ(receivers[2], kNone);
  tracker.TakeConnection(receivers[1],
                         [&](std::uint32_t s) -> std::uint32_t& { return sources[s]; });
  EXPECT_EQ(tracker.size(), 0u);
  EXPECT_EQ(sources[3], kNone);
}

TEST(SourceTracker, IsBounded) {
  SourceTracker tracker(2);
  std::uint32_t source = kNone;
  std::vector<std::uint32_t> receivers(3, kNone);
  EXPECT_TRUE(tracker.Note(0, 0, source, receivers[0]));
  EXPECT_TRUE(tracker.Note(0, 1, source, receivers[1]));
  EXPECT_FALSE(tracker.Note(0, 2, source, receivers[2]));
  EXPECT_TRUE(tracker.Note(0, 1, source, receivers[1])) << "known pairs are no growth";
  EXPECT_EQ(tracker.size(), 2u);
}

TEST(NotHereLimiter, BurstOfThreeThenOnePerSecond) {
  NotHereLimiter limiter;
  core::Instant now{core::Seconds(5).ns};
  int allowed = 0;
  for (int i = 0; i < 6; ++i) allowed += limiter.Allow(now) ? 1 : 0;
  EXPECT_EQ(allowed, 3);
  EXPECT_FALSE(limiter.Allow(now + core::Millis(999)));
  EXPECT_TRUE(limiter.Allow(now + core::Millis(1000)));
  EXPECT_FALSE(limiter.Allow(now + core::Millis(1001)));
  now = now + core::Seconds(60);
  allowed = 0;
  for (int i = 0; i < 6; ++i) allowed += limiter.Allow(now) ? 1 : 0;
  EXPECT_EQ(allowed, 3);
}

TEST(KeyPlacement, FillsShardsInGroups) {
  KeyPlacement placement(2, 3);
  std::vector<std::uint16_t> shards;
  for (std::uint8_t i = 0; i < 14; ++i) shards.push_back(placement.Acquire(Key(i)).shard);
  EXPECT_EQ(shards, (std::vector<std::uint16_t>{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0}));
  placement.Release(Key(3));
  EXPECT_EQ(placement.Acquire(Key(20)).shard, 1) << "the group that has a place left";
}

TEST(KeyPlacement, KeepsAKeyTogetherAndSpreadsKeys) {
  KeyPlacement placement(2);
  const auto a1 = placement.Acquire(Key(1));
  const auto b = placement.Acquire(Key(2));
  EXPECT_NE(a1.shard, b.shard);
  const auto a2 = placement.Acquire(Key(1));
  EXPECT_EQ(a1.shard, a2.shard);
  EXPECT_EQ(a1.epoch, a2.epoch);
  placement.Release(Key(1));
  EXPECT_EQ(placement.Find(Key(1)).shard, a1.shard);
  placement.Release(Key(1));
  EXPECT_EQ(placement.Find(Key(1)).shard, KeyPlacement::kNowhere);
  EXPECT_GT(placement.Acquire(Key(1)).epoch, a1.epoch);
}

}  // namespace
}  // namespace ringscale::relay

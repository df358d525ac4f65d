#include "core/engine/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <random>
#include <vector>

namespace ringscale::core::engine {
namespace {

struct TestTimer : TimerNode {
  int id = 0;
};

constexpr std::int64_t kTick = TimerWheel::kTick.ns;

std::vector<int> Advance(TimerWheel& wheel, std::int64_t ticks) {
  std::vector<int> fired;
  wheel.AdvanceTo({ticks * kTick},
                  [&](TimerNode& node) { fired.push_back(static_cast<TestTimer&>(node).id); });
  return fired;
}

TEST(TimerWheel, NeverFiresEarlyAndAtMostOneTickLate) {
  // Every distance over three levels, from several starting points.
  for (const std::int64_t start : {0, 1, 63, 64, 4095, 4096, 262143, 123456789}) {
    for (std::int64_t distance = 1; distance < 5000; distance += distance < 300 ? 1 : 37) {
      TimerWheel wheel({start * kTick});
      TestTimer timer;
      // One nanosecond past the tick before: rounded up to this tick.
      wheel.Start(timer, {(start + distance - 1) * kTick + 1});
      EXPECT_TRUE(Advance(wheel, start + distance - 1).empty());
      EXPECT_TRUE(timer.armed());
      EXPECT_EQ(Advance(wheel, start + distance).size(), 1u) << start << " + " << distance;
      EXPECT_FALSE(timer.armed());
      EXPECT_EQ(wheel.armed_count(), 0u);
      EXPECT_FALSE(wheel.NextDeadline().has_value());
    }
  }
}

TEST(TimerWheel, ReachesTheEndOfTime) {
  TimerWheel wheel({5});
  TestTimer timer;
  wheel.Start(timer, {std::numeric_limits<std::int64_t>::max()});
  EXPECT_TRUE(Advance(wheel, std::int64_t{1} << 40).empty());
  EXPECT_TRUE(timer.armed());
  wheel.Cancel(timer);
  wheel.Cancel(timer);
  EXPECT_EQ(wheel.armed_count(), 0u);
}

TEST(TimerWheel, EqualDeadlinesFireInTheOrderOfTheirStart) {
  TimerWheel wheel({0});
  std::deque<TestTimer> timers(50);
  // Started from farther and farther near: they lie on different levels.
  for (int i = 0; i < 50; ++i) {
    timers[static_cast<std::size_t>(i)].id = i;
    EXPECT_TRUE(Advance(wheel, i * 200).empty());
    wheel.Start(timers[static_cast<std::size_t>(i)], {10'000 * kTick});
  }
  std::vector<int> expected(50);
  for (int i = 0; i < 50; ++i) expected[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(Advance(wheel, 10'000), expected);
}

TEST(TimerWheel, CallbacksMayStartAndCancelAnything) {
  TimerWheel wheel({0});
  TestTimer a;
  TestTimer b;
  TestTimer c;
  wheel.Start(a, {10 * kTick});
  wheel.Start(b, {10 * kTick});
  int fired = 0;
  wheel.AdvanceTo({20 * kTick}, [&](TimerNode& node) {
    ++fired;
    EXPECT_EQ(&node, &a);
    wheel.Cancel(b);      // due in the same tick
    wheel.Start(a, {0});  // the past: the next tick, still in this call
    wheel.Start(c, {20 * kTick + 1});
    if (fired == 3) wheel.Cancel(a);
  });
  EXPECT_EQ(fired, 3);
  EXPECT_EQ(wheel.armed_count(), 1u);
  EXPECT_TRUE(c.armed());
}

TEST(TimerWheel, NextDeadlineIsNeverLate) {
  TimerWheel wheel({0});
  TestTimer timer;
  wheel.Start(timer, {1'000'000 * kTick});
  int looks = 0;
  while (timer.armed()) {
    const auto next = wheel.NextDeadline();
    ASSERT_TRUE(next.has_value());
    EXPECT_LE(next->ns, 1'000'000 * kTick);
    Advance(wheel, next->ns / kTick);
    ++looks;
  }
  EXPECT_LE(looks, 8);  // one per level
}

TEST(TimerWheel, AgreesWithASortedListUnderRandomUse) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937_64 random(seed);
    std::int64_t now = static_cast<std::int64_t>(random() % 1'000'000);
    TimerWheel wheel({now * kTick});
    struct Expected {
      std::int64_t tick;
      std::uint64_t order;
      int id;
    };
    std::vector<Expected> model;
    std::deque<TestTimer> timers(200);
    for (int i = 0; i < 200; ++i) timers[static_cast<std::size_t>(i)].id = i;
    std::uint64_t order = 0;
    for (int step = 0; step < 3000; ++step) {
      const int id = static_cast<int>(random() % timers.size());
      TestTimer& timer = timers[static_cast<std::size_t>(id)];
      const auto forget = [&] {
        std::erase_if(model, [id](const Expected& e) { return e.id == id; });
      };
      switch (random() % 4) {
        case 0:
        case 1: {
          const std::int64_t span = std::int64_t{1} << (random() % 24);
          const std::int64_t tick =
              now - 3 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(span + 3));
          wheel.Start(timer, {tick * kTick});
          forget();
          model.push_back({std::max(tick, now + 1), order++, id});
          break;
        }
        case 2:
          wheel.Cancel(timer);
          forget();
          break;
        default: {
          now += static_cast<std::int64_t>(random() % (std::uint64_t{1} << (random() % 18)));
          std::vector<Expected> due;
          for (const Expected& e : model) {
            if (e.tick <= now) due.push_back(e);
          }
          std::erase_if(model, [now](const Expected& e) { return e.tick <= now; });
          std::sort(due.begin(), due.end(), [](const Expected& a, const Expected& b) {
            return std::pair(a.tick, a.order) < std::pair(b.tick, b.order);
          });
          std::vector<int> expected;
          for (const Expected& e : due) expected.push_back(e.id);
          ASSERT_EQ(Advance(wheel, now), expected) << "seed " << seed << " step " << step;
        }
      }
      ASSERT_EQ(wheel.armed_count(), model.size());
      const auto next = wheel.NextDeadline();
      ASSERT_EQ(next.has_value(), !model.empty());
      if (next) {
        for (const Expected& e : model) ASSERT_LE(next->ns, e.tick * kTick);
      }
    }
  }
}

}  // namespace
}  // namespace ringscale::core::engine

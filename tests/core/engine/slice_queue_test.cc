#include "core/engine/slice_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

namespace ringscale::core::engine {
namespace {

TEST(SliceQueue, BehavesAsADeque) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::minstd_rand random(seed);
    SliceQueue queue;
    std::deque<std::string> expected;
    for (int step = 0; step < 20'000; ++step) {
      // Longer and shorter in turn, up to some thousand.
      const bool grows = step / 4000 % 2 == 0;
      if (random() % 10 < (grows ? 7 : 4)) {
        expected.push_back(std::to_string(step));
        queue.Push(SharedSlice::Own(expected.back()));
      } else {
        const std::size_t count = random() % 3 % (expected.size() + 1);
        queue.Drop(count);
        expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(count));
      }
      ASSERT_EQ(queue.size(), expected.size());
      ASSERT_EQ(queue.empty(), expected.empty());
      if (!expected.empty()) {
        const std::size_t i = random() % expected.size();
        ASSERT_EQ(queue[i].bytes, expected[i]);
        ASSERT_EQ(queue[0].bytes, expected[0]);
      }
    }
  }
}

TEST(SliceQueue, LetsGoOfWhatItDrops) {
  SliceQueue queue;
  const SharedSlice shared = SharedSlice::Own("shared");
  for (int i = 0; i < 3; ++i) queue.Push(shared);
  EXPECT_EQ(shared.owner.use_count(), 4);
  queue.Drop(1);
  EXPECT_EQ(shared.owner.use_count(), 3);
  queue.Push(shared);
  queue.Drop(3);
  EXPECT_EQ(shared.owner.use_count(), 1);
}

}  // namespace
}  // namespace ringscale::core::engine

// Free memory goes back to the kernel when a storm of connections has ended.
#include <gtest/gtest.h>

#include <memory>

#include "tests/support/fake_loop.h"
#include "tools/serverd/front/heap_trim.h"

namespace ringscale::serverd {
namespace {

class HeapTrimTest : public ::testing::Test {
 protected:
  void Connections(int count) {
    for (int i = 0; i < count; ++i) trim->Count();
  }
  testing::FakeLoop loop;
  int trims = 0;
  std::unique_ptr<HeapTrim> trim = std::make_unique<HeapTrim>(
      loop, HeapTrim::Limits{.storm = 80, .quiet = core::Seconds(2)}, [this] { ++trims; });
};

TEST_F(HeapTrimTest, OnceWhenTheStormIsOver) {
  for (int second = 0; second < 10; ++second) {
    Connections(50);
    loop.Advance(core::Seconds(1));
    EXPECT_EQ(trims, 0) << "in the middle of it";
  }
  loop.Advance(core::Seconds(4));
  EXPECT_EQ(trims, 1);
  loop.Advance(core::Seconds(60));
  EXPECT_EQ(trims, 1);
  Connections(80);
  loop.Advance(core::Seconds(2));
  EXPECT_EQ(trims, 2) << "the next storm";
}

TEST_F(HeapTrimTest, ATrickleDoesNotPutItOff) {
  Connections(80);
  for (int i = 0; i < 4; ++i) {
    loop.Advance(core::Millis(500));
    Connections(1);
  }
  EXPECT_EQ(trims, 1);
}

TEST_F(HeapTrimTest, NotForAFew) {
  Connections(79);
  loop.Advance(core::Seconds(60));
  EXPECT_EQ(trims, 0);
}

TEST_F(HeapTrimTest, GoesWithItsFront) {
  Connections(80);
  trim.reset();
  loop.Advance(core::Seconds(60));
  EXPECT_EQ(trims, 0);
}

}  // namespace
}  // namespace ringscale::serverd

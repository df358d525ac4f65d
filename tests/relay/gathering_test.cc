#include "relay/app/gathering.h"

#include <gtest/gtest.h>

namespace ringscale::relay {
namespace {

// Turns of `receives` each, `interval` apart, for `time`.
void Turns(Gathering& gathering, core::Instant& now, core::Duration interval,
           std::uint32_t receives, core::Duration time) {
  for (const core::Instant end = now + time; now < end;) {
    now = now + interval;
    gathering.OnTurn(now, receives);
  }
}

class GatheringTest : public testing::Test {
 protected:
  Gathering gathering;
  core::Instant now{1'000'000'000};
};

TEST_F(GatheringTest, QuietShardNeverPauses) {
  Turns(gathering, now, core::Micros(200), 1, core::Millis(200));
  EXPECT_EQ(gathering.pause(), core::Duration{});
}

TEST_F(GatheringTest, ManyTurnsOfOnePacketBeginToGather) {
  Turns(gathering, now, core::Micros(50), 1, core::Millis(10));
  EXPECT_EQ(gathering.pause(), Gathering::kPause);
}

TEST_F(GatheringTest, GoesOnWhileThePauseBringsSeveral) {
  Turns(gathering, now, core::Micros(50), 1, core::Millis(10));
  Turns(gathering, now, core::Micros(200), 4, core::Millis(50));
  EXPECT_EQ(gathering.pause(), Gathering::kPause);
}

TEST_F(GatheringTest, EndsWhenLittleComes) {
  Turns(gathering, now, core::Micros(50), 1, core::Millis(10));
  Turns(gathering, now, core::Micros(250), 1, core::Millis(10));
  EXPECT_EQ(gathering.pause(), core::Duration{});
}

TEST_F(GatheringTest, EndsWhenPacketsComeTogetherByThemselves) {
  Turns(gathering, now, core::Micros(50), 1, core::Millis(10));
  Turns(gathering, now, core::Micros(200), 100, core::Millis(10));
  EXPECT_EQ(gathering.pause(), core::Duration{});
  Turns(gathering, now, core::Micros(50), 10, core::Millis(50));
  EXPECT_EQ(gathering.pause(), core::Duration{});
}

TEST_F(GatheringTest, TurnsWithoutReceivesDoNotCount) {
  for (int i = 0; i < 1000; ++i) {
    now = now + core::Micros(10);
    gathering.OnTurn(now, 0);
  }
  EXPECT_EQ(gathering.pause(), core::Duration{});
}

// A burst after a long silence is averaged with the silence, not taken for load.
TEST_F(GatheringTest, FirstPacketAfterSilenceIsNotDelayed) {
  Turns(gathering, now, core::Micros(50), 1, core::Millis(10));
  now = now + core::Seconds(1);
  gathering.OnTurn(now, 1);
  EXPECT_EQ(gathering.pause(), core::Duration{});
}

}  // namespace
}  // namespace ringscale::relay

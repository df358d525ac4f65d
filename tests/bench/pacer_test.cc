#include "bench/lib/pacer.h"

#include <gtest/gtest.h>

namespace ringscale::bench {
namespace {

using core::Instant;
using core::Micros;
using core::Millis;
using core::Seconds;

TEST(Pacer, SpreadsASecondEvenly) {
  const Instant start{1'000};
  Pacer pacer(1000, 1, start);
  std::uint64_t sent = 0;
  for (Instant now = start; now < start + Seconds(1); now = now + Micros(100)) {
    while (pacer.Due(now) > 0) {
      EXPECT_LE(pacer.Next(), now);
      pacer.Take();
      ++sent;
    }
    EXPECT_GT(pacer.Next(), now);
  }
  EXPECT_EQ(sent, 1000u);
}

TEST(Pacer, BurstsKeepTheRate) {
  const Instant start{};
  Pacer pacer(1000, 10, start);
  EXPECT_EQ(pacer.Due(start), 1u);
  pacer.Take();
  EXPECT_EQ(pacer.Due(start + Millis(9)), 0u);
  EXPECT_EQ(pacer.Next(), start + Millis(10));
  EXPECT_EQ(pacer.Due(start + Millis(10)), 1u);
}

// The schedule goes on while nobody sends: what was meant to be sent is still due.
TEST(Pacer, DoesNotForgetWhatIsLate) {
  const Instant start{};
  Pacer pacer(100, 1, start);
  EXPECT_EQ(pacer.Due(start + Seconds(1)), 101u);
  EXPECT_EQ(pacer.Next(), start);
  pacer.Take(100);
  EXPECT_EQ(pacer.Due(start + Seconds(1)), 1u);
  EXPECT_EQ(pacer.Next(), start + Seconds(1));
}

TEST(Pacer, BeginsAtItsPhase) {
  const Instant start{};
  const Pacer pacer(1000, 1, start, Micros(300));
  EXPECT_EQ(pacer.Due(start + Micros(299)), 0u);
  EXPECT_EQ(pacer.Due(start + Micros(300)), 1u);
}

TEST(Pacer, WithoutARateABurstIsAlwaysDue) {
  Pacer pacer(0, 16, Instant{});
  EXPECT_TRUE(pacer.unlimited());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pacer.Due(Instant{}), 1u);
    pacer.Take();
  }
}

}  // namespace
}  // namespace ringscale::bench

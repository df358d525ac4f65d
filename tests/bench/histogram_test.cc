#include "bench/lib/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace ringscale::bench {
namespace {

using core::Micros;
using core::Millis;
using core::Nanos;
using core::Seconds;

TEST(Histogram, EmptyHasNoQuantiles) {
  const Histogram empty;
  EXPECT_EQ(empty.count(), 0u);
  EXPECT_EQ(empty.Quantile(0.99).ns, 0);
  EXPECT_TRUE(empty.Cumulative().empty());
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (int ns = 0; ns < 64; ++ns) histogram.Add(Nanos(ns));
  EXPECT_EQ(histogram.Quantile(0).ns, 0);
  EXPECT_EQ(histogram.Quantile(0.5).ns, 31);
  EXPECT_EQ(histogram.Quantile(1).ns, 63);
  EXPECT_EQ(histogram.max().ns, 63);
}

// Against the sorted samples: never less, and at most 1/64 more.
TEST(Histogram, QuantilesAreWithinOneBucketOfTheTruth) {
  std::mt19937_64 random(7);
  std::vector<std::int64_t> samples;
  Histogram histogram;
  for (int i = 0; i < 20'000; ++i) {
    const auto ns = static_cast<std::int64_t>(random() >> (random() % 50 + 14));
    const core::Duration value = std::min(Nanos(ns), Histogram::kLongest);
    samples.push_back(value.ns);
    histogram.Add(value);
  }
  std::ranges::sort(samples);
  for (const double fraction : {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(samples.size())));
    const std::int64_t truth = samples[std::max<std::size_t>(rank, 1) - 1];
    const std::int64_t got = histogram.Quantile(fraction).ns;
    EXPECT_GE(got, truth) << fraction;
    EXPECT_LE(got, truth + truth / 64 + 1) << fraction;
  }
}

TEST(Histogram, ClampsWhatIsOutOfRange) {
  Histogram histogram;
  histogram.Add(Nanos(-5));
  histogram.Add(Seconds(3600));
  EXPECT_EQ(histogram.Quantile(0.5).ns, 0);
  EXPECT_EQ(histogram.max(), Histogram::kLongest);
  EXPECT_EQ(histogram.Quantile(1), Histogram::kLongest);
}

TEST(Histogram, MergesAsIfAllHadBeenAddedToOne) {
  Histogram left;
  Histogram right;
  Histogram both;
  for (int i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? left : right).Add(Micros(i * i));
    both.Add(Micros(i * i));
  }
  left.Merge(right);
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.max(), both.max());
  for (const double fraction : {0.1, 0.5, 0.99}) {
    EXPECT_EQ(left.Quantile(fraction), both.Quantile(fraction));
  }
}

TEST(Histogram, CumulativeRisesToOne) {
  Histogram histogram;
  histogram.Add(Millis(1), 3);
  histogram.Add(Millis(20));
  const auto steps = histogram.Cumulative();
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_DOUBLE_EQ(steps[0].fraction, 0.75);
  EXPECT_DOUBLE_EQ(steps[1].fraction, 1.0);
  EXPECT_LT(steps[0].value, steps[1].value);
}

}  // namespace
}  // namespace ringscale::bench

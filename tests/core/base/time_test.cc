#include "core/base/time.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace ringscale::core {
namespace {

TEST(Rfc3339, FormatsWithFractionsOnlyWhenThereAreAny) {
  EXPECT_EQ(FormatRfc3339({0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatRfc3339({1}), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(FormatRfc3339({-1}), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(FormatRfc3339({1'787'392'800'000'000'000}), "2026-08-22T10:00:00Z");
  EXPECT_EQ(FormatRfc3339({1'787'392'800'120'000'000}), "2026-08-22T10:00:00.12Z");
  EXPECT_EQ(FormatRfc3339({std::numeric_limits<std::int64_t>::max()}),
            "2262-04-11T23:47:16.854775807Z");
  EXPECT_EQ(FormatRfc3339({std::numeric_limits<std::int64_t>::min()}),
            "1677-09-21T00:12:43.145224192Z");
}

TEST(Rfc3339, ParsesOffsetsAndFractions) {
  const WallTime ten{1'787'392'800'000'000'000};
  EXPECT_EQ(ParseRfc3339("2026-08-22T10:00:00Z"), ten);
  EXPECT_EQ(ParseRfc3339("2026-08-22T12:00:00+02:00"), ten);
  EXPECT_EQ(ParseRfc3339("2026-08-22T04:30:00-05:30"), ten);
  EXPECT_EQ(ParseRfc3339("2026-08-22T10:00:00-00:00"), ten);
  EXPECT_EQ(ParseRfc3339("2026-08-22T10:00:00.5Z"), ten + Millis(500));
  EXPECT_EQ(ParseRfc3339("2026-08-22T10:00:00.123456789+00:00"), ten + Nanos(123456789));
  // Finer than a nanosecond is cut off.
  EXPECT_EQ(ParseRfc3339("2026-08-22T10:00:00.1234567899999Z"), ten + Nanos(123456789));
  EXPECT_EQ(ParseRfc3339("2024-02-29T00:00:00Z"), WallTime{1'709'164'800'000'000'000});
  EXPECT_EQ(ParseRfc3339("2000-02-29T23:59:59Z"), WallTime{951'868'799'000'000'000});
}

TEST(Rfc3339, RefusesWhatIsMalformedOrImpossible) {
  for (const char* bad : {"",
                          "2026",
                          "2026-08-22",
                          "2026-08-22T10:00:00",
                          "2026-08-22 10:00:00Z",
                          "2026-08-22T10:00Z",
                          "2026-08-22T10:00:00.Z",
                          "2026-08-22T10:00:00,5Z",
                          "2026-08-22T10:00:00z",
                          "2026-08-22T10:00:00+2:00",
                          "2026-08-22T10:00:00+0200",
                          "2026-08-22T10:00:00+24:00",
                          "2026-08-22T10:00:00+02:60",
                          "2026-13-01T00:00:00Z",
                          "2026-00-01T00:00:00Z",
                          "2026-04-31T00:00:00Z",
                          "2026-02-29T00:00:00Z",
                          "2100-02-29T00:00:00Z",
                          "2026-08-00T00:00:00Z",
                          "2026-08-22T24:00:00Z",
                          "2026-08-22T23:60:00Z",
                          "2026-08-22T23:59:60Z",
                          "2026-08-22T10:00:00ZZ",
                          " 2026-08-22T10:00:00Z",
                          "2026-08-22T10:00:00Z ",
                          "+026-08-22T10:00:00Z",
                          "2026-8-22T10:00:00Z",
                          "12026-08-22T10:00:00Z",
                          "2026-08-22T10:00:00.-5Z"}) {
    EXPECT_FALSE(ParseRfc3339(bad).has_value()) << bad;
  }
}

TEST(Rfc3339, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(ParseRfc3339("2262-04-11T23:47:15Z").has_value());
  EXPECT_FALSE(ParseRfc3339("2262-04-11T23:47:17Z").has_value());
  EXPECT_TRUE(ParseRfc3339("1677-09-21T00:12:45Z").has_value());
  EXPECT_FALSE(ParseRfc3339("1677-09-21T00:12:43Z").has_value());
  EXPECT_FALSE(ParseRfc3339("9999-12-31T23:59:59Z").has_value());
  EXPECT_FALSE(ParseRfc3339("0000-01-01T00:00:00Z").has_value());
}

TEST(Rfc3339, KnowsGosZeroTime) {
  EXPECT_TRUE(IsGoZeroTime("0001-01-01T00:00:00Z"));
  EXPECT_TRUE(IsGoZeroTime("0001-01-01T00:00:00+00:00"));
  EXPECT_FALSE(IsGoZeroTime("0002-01-01T00:00:00Z"));
  EXPECT_FALSE(IsGoZeroTime("0001"));
  EXPECT_FALSE(IsGoZeroTime(""));
  EXPECT_FALSE(ParseRfc3339("0001-01-01T00:00:00Z").has_value());
}

TEST(Rfc3339, RoundTripsEveryDay) {
  constexpr std::int64_t kDay = 86'400'000'000'000;
  for (std::int64_t day = -100'000; day <= 106'000; ++day) {
    const WallTime time{day * kDay + day * 1'000'003 % kDay};
    const auto parsed = ParseRfc3339(FormatRfc3339(time));
    ASSERT_TRUE(parsed.has_value()) << FormatRfc3339(time);
    ASSERT_EQ(*parsed, time);
  }
}

TEST(Clocks, Advance) {
  const Instant before = MonotonicNow();
  EXPECT_GE(MonotonicNow(), before);
  EXPECT_GT(WallNow().unix_ns, 1'700'000'000'000'000'000);
}

}  // namespace
}  // namespace ringscale::core

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/lib/relay_soak.h"

namespace ringscale::bench {
namespace {

constexpr std::uint64_t kMega = 1'000'000;

// 90 samples, whose memory `rss(second)` says.
template <class Rss>
SoakResult WithMemory(Rss&& rss) {
  SoakResult result;
  result.received = 1;
  result.before = {.descriptors = 20};
  result.after = {.descriptors = 20};
  for (int second = 0; second < 90; ++second) {
    result.samples.push_back({.at = static_cast<double>(second), .rss_bytes = rss(second)});
  }
  return result;
}

TEST(SoakVerdict, MemoryThatWobblesIsFlat) {
  const SoakResult result = WithMemory(
      [](int second) { return 100 * kMega + static_cast<std::uint64_t>(second % 3) * kMega; });
  EXPECT_LT(result.memory_rise(), 1e6);
  EXPECT_TRUE(result.Complaints().empty());
}

TEST(SoakVerdict, WhatGrowsInTheFirstThirdIsWarmUp) {
  const SoakResult result = WithMemory([](int second) {
    return (second < 30 ? 10 + 3 * static_cast<std::uint64_t>(second) : 100) * kMega;
  });
  EXPECT_NEAR(result.memory_rise(), 0, 1);
  EXPECT_TRUE(result.Complaints().empty());
}

TEST(SoakVerdict, MemoryThatGrowsIsNot) {
  const SoakResult result = WithMemory(
      [](int second) { return 100 * kMega + static_cast<std::uint64_t>(second) * kMega / 5; });
  EXPECT_NEAR(result.memory_rise(), 59 * 0.2e6, 1);
  ASSERT_EQ(result.Complaints().size(), 1u);
  EXPECT_EQ(result.Complaints().front(), "memory grew by 11.8 MB");
}

TEST(SoakVerdict, EveryWrongThingIsNamed) {
  SoakResult result = WithMemory([](int) { return 100 * kMega; });
  result.corrupt = 1;
  result.misplaced = 2;
  result.foreign = 3;
  result.cut_off = 4;
  result.received = 0;
  result.after.descriptors = 25;
  EXPECT_EQ(result.Complaints(),
            (std::vector<std::string>{
                "1 packets with wrong content", "2 packets repeated or out of order",
                "3 packets to the wrong client", "4 well-behaved clients closed by the relay",
                "no packet arrived", "5 descriptors leaked"}));
}

TEST(SoakVerdict, ARunWithoutPacketsProvesNothing) {
  SoakResult result;
  EXPECT_EQ(result.memory_rise(), 0);
  EXPECT_EQ(result.Complaints(), std::vector<std::string>{"no packet arrived"});
}

}  // namespace
}  // namespace ringscale::bench

// Every mode of the load generator against a relay: that it gets through and that
// its counts hang together. No figure is judged.
#include <gtest/gtest.h>

#include "bench/lib/relay_runs.h"
#include "bench/lib/relay_throughput.h"
#include "tests/bench/live_relay.h"

namespace ringscale::bench {
namespace {

const ProgressFn kSilent = [](const std::string&) {};

class RelayModes : public testing::Test {
 protected:
  // A load that any machine carries, for a short time.
  static ThroughputOptions Light() {
    ThroughputOptions options;
    options.pairs = 4;
    options.bits_per_second = 2e6;
    options.warm_up = core::Millis(100);
    options.duration = core::Millis(300);
    return options;
  }
  static LatencyOptions LightProbe() {
    LatencyOptions options;
    options.bits_per_second = 1e6;
    options.realtime = false;
    return options;
  }
  static void ExpectSound(const core::Result<ThroughputResult>& result) {
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_GT(result->attempted, 0u);
    EXPECT_GT(result->delivered, 0u);
    EXPECT_LE(result->delivered, result->offered);
    EXPECT_GT(result->latency.count(), 0u);
    EXPECT_EQ(result->corrupt, 0u);
    EXPECT_EQ(result->misplaced, 0u);
    EXPECT_EQ(result->closed, 0u);
  }

  tests::LiveRelay relay_;
  RelayTarget target_ = relay_.Target("one");
};

TEST_F(RelayModes, Throughput) {
  ExpectSound(MeasureThroughput(target_, Light(), kSilent));
}

TEST_F(RelayModes, ThroughputOnThreads) {
  ThroughputOptions options = Light();
  options.threads = 2;
  options.coalesce = 4;
  ExpectSound(MeasureThroughput(target_, options, kSilent));
}

TEST_F(RelayModes, FanIn) {
  ThroughputOptions options = Light();
  options.receivers = 1;
  const auto result = MeasureThroughput(target_, options, kSilent);
  ExpectSound(result);
}

TEST_F(RelayModes, SlowReceivers) {
  ThroughputOptions options = Light();
  options.slow_pairs = 2;
  options.slow_bytes_per_second = 1'000'000;
  const auto result = MeasureThroughput(target_, options, kSilent);
  ExpectSound(result);
  EXPECT_EQ(result->slow_pairs, 2u);
  EXPECT_GT(result->slow_delivered, 0u);
}

TEST_F(RelayModes, Mesh) {
  tests::LiveRelay other;
  tests::LiveRelay::Link(relay_, other);
  ThroughputOptions options = Light();
  options.receivers_at = other.Target("two");
  ExpectSound(MeasureThroughput(target_, options, kSilent));
}

TEST_F(RelayModes, MeshWithoutALinkDeliversNothing) {
  tests::LiveRelay other;
  ThroughputOptions options = Light();
  options.receivers_at = other.Target("two");
  const auto result = MeasureThroughput(target_, options, kSilent);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_GT(result->offered, 0u);
  EXPECT_EQ(result->delivered, 0u);
}

TEST_F(RelayModes, Overload) {
  OverloadOptions options;
  options.throughput = Light();
  options.throughput.coalesce = 16;
  options.first_bits = 1e9;
  options.growth = 100;  // the second rate is beyond every machine
  const auto result = MeasureOverload(target_, options, kSilent);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_GE(result->ramp.size(), 1u);
  EXPECT_LE(result->ramp.size(), 2u);
  EXPECT_GT(result->peak_bits, 0);
  EXPECT_GT(result->share(), 0);
  EXPECT_GT(result->overload.Bits(result->overload.attempted), 2.5 * result->peak_bits);
}

TEST_F(RelayModes, LatencyAndLogins) {
  ConnectOptions options;
  options.latency = LightProbe();
  options.phase = core::Millis(300);
  const auto result = MeasureConnect(target_, options, kSilent);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  for (const LatencyResult* phase : {&result->alone, &result->during}) {
    EXPECT_GT(phase->delays.count(), 0u);
    EXPECT_EQ(phase->wrong, 0u);
  }
  EXPECT_EQ(result->logins.failed, 0u) << result->logins.first_failure;
}

TEST_F(RelayModes, StormAndIdle) {
  StormOptions options;
  options.latency = LightProbe();
  options.logins.total = 50;
  options.settle = core::Millis(50);
  const auto storm = MeasureStorm(target_, options, kSilent);
  ASSERT_TRUE(storm.has_value()) << storm.error().message;
  EXPECT_EQ(storm->first.done, 50u);
  EXPECT_EQ(storm->again.done, 50u);
  EXPECT_EQ(storm->lost, 0u);
  EXPECT_GT(storm->before.delays.count(), 0u);
  EXPECT_LT(storm->first_began, storm->dropped);
  EXPECT_LT(storm->dropped, storm->back);

  options.drop = false;
  const auto idle = MeasureStorm(target_, options, kSilent);
  ASSERT_TRUE(idle.has_value()) << idle.error().message;
  EXPECT_EQ(idle->first.done, 50u);
  EXPECT_EQ(idle->again.done, 0u);
  EXPECT_EQ(idle->lost, 0u);
}

TEST_F(RelayModes, Stun) {
  StunOptions options;
  options.duration = core::Millis(100);
  const auto result = MeasureStun(target_, options);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_GT(result->answers, 0u);
  EXPECT_EQ(result->wrong, 0u);
}

TEST_F(RelayModes, NobodyThereIsAnError) {
  {
    const tests::LiveRelay gone;
    target_ = gone.Target("gone");
  }
  EXPECT_FALSE(MeasureThroughput(target_, Light(), kSilent).has_value());
  EXPECT_FALSE(MeasureConnect(target_, {}, kSilent).has_value());
}

}  // namespace
}  // namespace ringscale::bench

#include "core/obs/metrics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "core/obs/histogram.h"

namespace ringscale::core {
namespace {

using Kind = MetricsRegistry::Kind;

TEST(Metrics, RendersFamiliesOnce) {
  MetricsRegistry registry;
  Counter packets;
  Gauge clients;
  registry.Add("ringscale_packets_total", Kind::kCounter, "Packets.", {{"lane", "disco"}},
               [&] { return static_cast<double>(packets.Value()); });
  registry.Add("ringscale_clients", Kind::kGauge, "Connected clients.", {},
               [&] { return static_cast<double>(clients.Value()); });
  registry.Add("ringscale_packets_total", Kind::kCounter, "ignored", {{"lane", "data"}},
               [] { return 3.0; });
  packets.Add(12'345'678'901);
  clients.Set(5);
  clients.Add(-7);
  EXPECT_EQ(registry.Render(),
            "# HELP ringscale_clients Connected clients.\n"
            "# TYPE ringscale_clients gauge\n"
            "ringscale_clients -2\n"
            "# HELP ringscale_packets_total Packets.\n"
            "# TYPE ringscale_packets_total counter\n"
            "ringscale_packets_total{lane=\"data\"} 3\n"
            "ringscale_packets_total{lane=\"disco\"} 12345678901\n");
}

TEST(Metrics, AddsEqualLabelsInAnyOrder) {
  MetricsRegistry registry;
  registry.Add("a", Kind::kCounter, "h", {{"x", "1"}, {"y", "2"}}, [] { return 10.0; });
  registry.Add("a", Kind::kCounter, "h", {{"y", "2"}, {"x", "1"}}, [] { return 5.0; });
  EXPECT_TRUE(registry.Render().contains("a{x=\"1\",y=\"2\"} 15\n"));
}

TEST(Metrics, Escapes) {
  MetricsRegistry registry;
  registry.Add("a", Kind::kGauge, "back\\slash \"quote\"\nline", {{"l", "q\" b\\ n\n"}},
               [] { return 0.5; });
  EXPECT_EQ(registry.Render(),
            "# HELP a back\\\\slash \"quote\"\\nline\n"
            "# TYPE a gauge\n"
            "a{l=\"q\\\" b\\\\ n\\n\"} 0.5\n");
}

TEST(Metrics, WritesSpecialValues) {
  MetricsRegistry registry;
  registry.Add("a", Kind::kGauge, "h", {}, [] { return std::nan(""); });
  registry.Add("b", Kind::kGauge, "h", {}, [] { return std::numeric_limits<double>::infinity(); });
  registry.Add("c", Kind::kGauge, "h", {}, [] { return -std::numeric_limits<double>::infinity(); });
  registry.Add("d", Kind::kGauge, "h", {}, [] { return 1e300; });
  registry.Add("e", Kind::kGauge, "h", {}, [] { return 1000000.0; });
  const std::string text = registry.Render();
  EXPECT_TRUE(text.contains("a NaN\n"));
  EXPECT_TRUE(text.contains("b +Inf\n"));
  EXPECT_TRUE(text.contains("c -Inf\n"));
  EXPECT_TRUE(text.contains("d 1e+300\n"));
  EXPECT_TRUE(text.contains("e 1000000\n"));
}

TEST(MetricsDeathTest, BadNamesStop) {
  MetricsRegistry registry;
  EXPECT_DEATH(registry.Add("1a", Kind::kGauge, "", {}, [] { return 0.0; }), "");
  EXPECT_DEATH(registry.Add("a", Kind::kGauge, "", {{"b-c", ""}}, [] { return 0.0; }), "");
}

TEST(Metrics, HistogramsAddUpAndCumulate) {
  static constexpr std::array<std::uint32_t, 3> kBounds = {0, 2, 10};
  Histogram<3> one(kBounds);
  Histogram<3> other(kBounds);
  for (const std::uint64_t value : {0, 1, 2, 2, 3, 10}) one.Observe(value);
  other.Observe(11);
  other.Observe(1'000'000);
  MetricsRegistry registry;
  for (const auto* histogram : {&one, &other}) {
    registry.AddHistogram("sizes", "How \\ large.", {kBounds.begin(), kBounds.end()}, [histogram] {
      HistogramValues values;
      histogram->AddTo(values);
      return values;
    });
  }
  EXPECT_EQ(registry.Render(),
            "# HELP sizes How \\\\ large.\n# TYPE sizes histogram\n"
            "sizes_bucket{le=\"0\"} 1\nsizes_bucket{le=\"2\"} 4\nsizes_bucket{le=\"10\"} 6\n"
            "sizes_bucket{le=\"+Inf\"} 8\nsizes_sum 1000029\nsizes_count 8\n");
}

TEST(Metrics, CountersCount) {
  Counter counter;
  SharedCounter shared;
  counter.Add();
  counter.Add(4);
  shared.Add();
  shared.Add(2);
  EXPECT_EQ(counter.Value(), 5u);
  EXPECT_EQ(shared.Value(), 3u);
}

}  // namespace
}  // namespace ringscale::core

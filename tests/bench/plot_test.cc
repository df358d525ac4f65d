#include "bench/lib/plot.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ringscale::bench {
namespace {

TEST(Plot, AxisHoldsWhatItWasFitTo) {
  for (const Scale scale : {Scale::kLinear, Scale::kLogarithmic}) {
    Axis axis{.label = "x", .scale = scale};
    axis.Fit({30, 7, 4200});
    EXPECT_LE(axis.low, 7);
    EXPECT_GE(axis.high, 4200);
    EXPECT_LT(axis.Place(7), axis.Place(30));
    EXPECT_LT(axis.Place(30), axis.Place(4200));
  }
}

TEST(Plot, AxisOfNothingOrOfOneValueCanBeDrawn) {
  for (const Scale scale : {Scale::kLinear, Scale::kLogarithmic}) {
    for (const std::vector<double>& values :
         {std::vector<double>{}, std::vector<double>{5}, std::vector<double>{0}}) {
      Axis axis{.label = "x", .scale = scale};
      axis.Fit(values);
      EXPECT_LT(axis.low, axis.high);
      EXPECT_FALSE(axis.Ticks(5).empty());
    }
  }
}

TEST(Plot, TicksLieOnTheAxisAndAreNotMany) {
  for (const Scale scale : {Scale::kLinear, Scale::kLogarithmic}) {
    for (const double high : {0.7, 9.0, 123.0, 45'678.0, 3e6}) {
      for (const std::size_t most : {3u, 5u, 12u}) {
        Axis axis{.label = "x", .scale = scale};
        axis.Fit({0.05, high});
        const auto ticks = axis.Ticks(most);
        EXPECT_GE(ticks.size(), 2u) << high;
        EXPECT_LE(ticks.size(), most + 2) << high;
        for (const double tick : ticks) {
          EXPECT_GE(tick, axis.low * 0.99) << high;
          EXPECT_LE(tick, axis.high * 1.01) << high;
        }
        EXPECT_TRUE(std::ranges::is_sorted(ticks));
      }
    }
  }
}

TEST(Plot, NinesGiveTheTailRoom) {
  const Axis axis{.label = "percent", .scale = Scale::kNines};
  EXPECT_DOUBLE_EQ(axis.Place(0), 0);
  EXPECT_NEAR(axis.Place(90), 0.25, 1e-9);
  EXPECT_NEAR(axis.Place(99), 0.5, 1e-9);
  EXPECT_NEAR(axis.Place(99.9), 0.75, 1e-9);
  EXPECT_DOUBLE_EQ(axis.Place(100), 1);
}

TEST(Plot, NumbersAreReadable) {
  EXPECT_EQ(NumberText(0), "0");
  EXPECT_EQ(NumberText(0.5), "0.5");
  EXPECT_EQ(NumberText(99.99), "99.99");
  EXPECT_EQ(NumberText(100), "100");
  EXPECT_EQ(NumberText(1234), "1,234");
  EXPECT_EQ(NumberText(1'234'567), "1,234,567");
  Axis axis{.label = "t", .micros = true};
  EXPECT_EQ(axis.TickText(50), "50 µs");
  EXPECT_EQ(axis.TickText(1000), "1 ms");
  EXPECT_EQ(axis.TickText(2.5e6), "2.5 s");
}

// Two spans near each other: their names are on different lines.
TEST(Plot, NamesOfSpansDoNotOverlap) {
  Axis x{.label = "s"};
  Axis y{.label = "us"};
  x.Fit({0, 100});
  y.Fit({1});
  const auto apart = [&](double second) {
    const std::string svg = Plot(
        x, y, {.lines = {}, .spans = {{1, 2, "clients log in"}, {second, second + 1, "cut off"}}},
        {.width = 600, .height = 200});
    const auto height_of = [&](const char* name) {
      const std::size_t begin = svg.rfind(" y=\"", svg.find(name));
      return begin == std::string::npos ? -1 : std::stod(svg.substr(begin + 4));
    };
    return height_of("clients log in<") - height_of("cut off<");
  };
  EXPECT_GE(apart(3), 12);
  EXPECT_EQ(apart(50), 0);
}

TEST(Plot, NamesCannotBecomeMarkup) {
  const Curve curve{.relay = "<i>", .what = {}, .points = {{1, 2}, {2, 3}}};
  Axis x{.label = "<x>"};
  Axis y{.label = "\"y\""};
  x.Fit({1, 2});
  y.Fit({2, 3});
  const std::string svg =
      Plot(x, y, {.lines = {{&curve, 0, "<i>"}}, .spans = {{1, 2, "<s>"}}, .dots = true},
           {.width = 300, .height = 200});
  for (const char* markup : {"<i>", "<x>", "<s>", "\"\"y"}) {
    EXPECT_EQ(svg.find(markup), std::string::npos) << markup;
  }
  EXPECT_NE(svg.find("&lt;i&gt;: 2 at 1"), std::string::npos) << svg;
}

}  // namespace
}  // namespace ringscale::bench

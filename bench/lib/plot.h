// Plots as SVG text for an HTML page. Colours, fonts and line styles are classes of
// the page's style sheet: c0 to c7, dashed, ideal, grid, axis, span, middle, end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/lib/relay_report.h"

namespace ringscale::bench {

enum class Scale : std::uint8_t {
  kLinear,       // from 0
  kLogarithmic,  // 1-2-5 steps
  kNines,        // percent, with as much room from 99 to 99.9 as from 90 to 99
};

struct Axis {
  std::string label;
  Scale scale = Scale::kLinear;
  bool micros = false;  // ticks as 10 us, 1 ms, 1 s
  double low = 0;
  double high = 1;

  // Makes the axis hold these values.
  void Fit(const std::vector<double>& values);
  // Where a value lies, 0 to 1.
  [[nodiscard]] double Place(double value) const;
  // At most about `most` of them.
  [[nodiscard]] std::vector<double> Ticks(std::size_t most) const;
  [[nodiscard]] std::string TickText(double tick) const;
};

inline constexpr std::size_t kPlotColours = 8;

struct PlotLine {
  const Curve* curve = nullptr;
  std::size_t colour = 0;
  std::string name;  // for what is shown when a dot is pointed at
};

struct PlotSize {
  double width = 0;
  double height = 0;
};

struct PlotContent {
  std::vector<PlotLine> lines;
  std::vector<ChartSpan> spans;
  bool dots = false;   // marks at the points
  bool ideal = false;  // a line where y is x
};

// The <svg> element.
[[nodiscard]] std::string Plot(const Axis& x, const Axis& y, const PlotContent& content,
                               PlotSize size);

// "12,300"; few digits behind the point.
[[nodiscard]] std::string NumberText(double value);

}  // namespace ringscale::bench

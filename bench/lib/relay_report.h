// What runs of ringscale-bench relay found: figures and plots. Made from results in
// relay_figures.h; printed as a table, as JSON, and as a page.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace ringscale::bench {

// How a figure is called. `title` is empty for those that only JSON holds.
struct FigureKind {
  std::string_view key;  // in JSON
  std::string_view title;
  std::string_view unit;
  int digits = 0;
};

struct Figure {
  const FigureKind* kind = nullptr;
  double value = 0;  // negative: not known, or there is none in this phase
};

// One row: one relay in one phase of one run. All rows of a mode have the same
// figures in the same order.
struct Record {
  std::string mode;  // "throughput"
  std::string relay;
  std::string phase;  // "idle"; may be empty
  std::vector<Figure> figures;
  std::string remarks;  // what must not be overlooked; may be empty

  // Null when the record has no such figure.
  [[nodiscard]] const Figure* Find(std::string_view key) const;
};

enum class ChartKind : std::uint8_t {
  kDelivered,      // Mbit/s over Mbit/s attempted
  kCpu,            // server's CPU s/GB over Mbit/s attempted
  kDelayOverLoad,  // us over Mbit/s attempted
  kDistribution,   // percent of packets over us
  kOverTime,       // us over seconds
};
inline constexpr std::size_t kChartKinds = 5;

struct Point {
  double x = 0;
  double y = 0;
};

struct Curve {
  std::string relay;       // decides the colour
  std::string what;        // beside the relay's name, "p99"; may be empty
  bool secondary = false;  // dashed: the relay's other curve in that chart
  std::vector<Point> points;
};

// A stretch of the x axis with a meaning: "clients log in".
struct ChartSpan {
  double from = 0;
  double to = 0;
  std::string name;
};

struct Chart {
  std::string mode;
  ChartKind kind = ChartKind::kDelivered;
  std::string subject;  // what it is of when there are several of a kind; may be empty
  std::vector<Curve> curves;
  std::vector<ChartSpan> spans;
};

struct RelayReport {
  std::string command;  // that made it
  std::vector<Record> records;
  std::vector<Chart> charts;

  // The chart, made when there is none yet; valid until the next call.
  Chart& ChartOf(std::string_view mode, ChartKind kind, std::string_view subject = {});
  // What further runs found.
  void Add(RelayReport more);
};

// Every figure there is.
[[nodiscard]] std::span<const FigureKind> FigureKinds();

// Head and rows of the table of one mode; printed as rows come in.
[[nodiscard]] std::string TableHead(const Record& record);
[[nodiscard]] std::string TableRow(const Record& record);
// As tables and the page print it: "-" when it is not known.
[[nodiscard]] std::string FigureText(const Figure& figure);

[[nodiscard]] std::string ToJson(const RelayReport& report);
// What ToJson wrote. kInvalid or kLimit for anything else.
[[nodiscard]] core::Result<RelayReport> ReadReport(std::string_view json);

// One page that needs nothing else: tables and plots, in light and dark, for wide
// and narrow screens.
[[nodiscard]] std::string ToHtml(const RelayReport& report);

}  // namespace ringscale::bench

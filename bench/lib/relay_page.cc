// The page of a report: text, tables and SVG, so that one file is all there is to
// keep or to send. Each plot is there twice, for wide and for narrow screens, because
// text that shrinks with its picture cannot be read on a phone.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "bench/lib/plot.h"
#include "bench/lib/relay_report.h"
#include "core/http/html.h"

namespace ringscale::bench {
namespace {

using core::http::EscapeHtml;

constexpr PlotSize kWide{.width = 860, .height = 340};
constexpr PlotSize kNarrow{.width = 360, .height = 300};

constexpr std::pair<std::string_view, std::string_view> kModes[] = {
    {"throughput", "Throughput"},
    {"fan-in", "Many senders to few receivers"},
    {"slow", "Beside slow receivers"},
    {"mesh", "From one relay to another"},
    {"overload", "Overload"},
    {"latency", "Latency"},
    {"connect", "Latency while clients log in"},
    {"storm", "Reconnect storm"},
    {"idle", "Idle clients"},
    {"stun", "STUN"},
    {"tcp", "TCP inside the tunnel"},
};

struct ChartText {
  std::string_view title;
  std::string_view y;  // what goes up
  std::string_view x;
  bool load;  // x is what was offered: a single point says no more than the table
};
constexpr ChartText kCharts[] = {
    {"Delivered over offered", "Mbit/s delivered", "Mbit/s that senders attempted", true},
    {"The server's CPU over load", "CPU seconds per GB delivered", "Mbit/s that senders attempted",
     true},
    {"One-way delay over load", "from the write to the read", "Mbit/s that senders attempted",
     true},
    {"Distribution of one-way delays", "% of packets that took no longer", "delay", false},
    {"Delay of established traffic over time", "longest delay in each 100 ms",
     "seconds since the start", false},
};
static_assert(std::size(kCharts) == kChartKinds);

const ChartText& TextOf(const Chart& chart) {
  return kCharts[static_cast<std::size_t>(chart.kind)];
}

// Everywhere the same colour for a relay.
class Colours {
 public:
  explicit Colours(const RelayReport& report) {
    for (const Chart& chart : report.charts) {
      for (const Curve& curve : chart.curves) {
        if (std::ranges::find(names_, curve.relay) == names_.end()) names_.push_back(curve.relay);
      }
    }
  }
  [[nodiscard]] std::size_t Of(const std::string& relay) const {
    const auto at = std::ranges::find(names_, relay);
    return static_cast<std::size_t>(at - names_.begin()) % kPlotColours;
  }

 private:
  std::vector<std::string> names_;
};

std::string NameOf(const Curve& curve) {
  return curve.what.empty() ? curve.relay : curve.relay + ", " + curve.what;
}

// Axes that hold all charts of that mode and kind, so that they can be compared.
std::pair<Axis, Axis> AxesOf(const RelayReport& report, const Chart& chart) {
  std::vector<double> xs;
  std::vector<double> ys;
  for (const Chart& other : report.charts) {
    if (other.mode != chart.mode || other.kind != chart.kind) continue;
    for (const Curve& curve : other.curves) {
      for (const Point& point : curve.points) {
        xs.push_back(point.x);
        ys.push_back(point.y);
      }
    }
  }
  const ChartText& text = TextOf(chart);
  Axis x{.label = std::string(text.x)};
  Axis y{.label = std::string(text.y)};
  const auto wide_range = [](const std::vector<double>& values) {
    constexpr double kWideRange = 12;
    const auto [least, most] = std::ranges::minmax_element(values);
    return least != values.end() && *least > 0 && *most > kWideRange * *least;
  };
  if (text.load && wide_range(xs)) x.scale = Scale::kLogarithmic;
  switch (chart.kind) {
    case ChartKind::kDelivered:
      y.scale = x.scale;  // so that "all of it" is a straight line
      break;
    case ChartKind::kCpu:
      if (wide_range(ys)) y.scale = Scale::kLogarithmic;
      break;
    case ChartKind::kDistribution:
      x.scale = Scale::kLogarithmic;
      x.micros = true;
      y.scale = Scale::kNines;
      break;
    case ChartKind::kDelayOverLoad:
    case ChartKind::kOverTime:
      y.scale = Scale::kLogarithmic;
      y.micros = true;
      break;
  }
  x.Fit(xs);
  y.Fit(ys);
  return {x, y};
}

std::string Legend(const Chart& chart, const Colours& colours, bool ideal) {
  std::string html = "<ul class=\"legend\">";
  const auto entry = [&](const std::string& classes, const std::string& name) {
    html += fmt::format(
        "<li><svg viewBox=\"0 0 26 10\" width=\"26\" height=\"10\" aria-hidden=\"true\">"
        "<polyline class=\"{}\" points=\"0,5 26,5\"/></svg>{}</li>",
        classes, EscapeHtml(name));
  };
  std::set<std::string> named;  // further rounds look the same
  for (const Curve& curve : chart.curves) {
    const std::string name = NameOf(curve);
    if (!named.insert(name).second) continue;
    entry(fmt::format("c{}{}", colours.Of(curve.relay), curve.secondary ? " dashed" : ""), name);
  }
  if (ideal) entry("ideal", "all of it");
  return html + "</ul>\n";
}

std::string ChartPart(const RelayReport& report, const Chart& chart, const Colours& colours) {
  const ChartText& text = TextOf(chart);
  const auto [x, y] = AxesOf(report, chart);
  PlotContent content{.lines = {}, .spans = chart.spans, .dots = text.load};
  content.ideal = chart.kind == ChartKind::kDelivered;
  for (const Curve& curve : chart.curves) {
    content.lines.push_back({&curve, colours.Of(curve.relay), NameOf(curve)});
  }
  std::string html =
      fmt::format("<figure>\n<figcaption><h3>{}{}</h3><p>{}</p></figcaption>\n", text.title,
                  chart.subject.empty() ? "" : ": " + EscapeHtml(chart.subject), text.y);
  html += Legend(chart, colours, content.ideal);
  html += "<div class=\"wide\">" + Plot(x, y, content, kWide) + "</div>\n";
  return html + "<div class=\"narrow\">" + Plot(x, y, content, kNarrow) + "</div>\n</figure>\n";
}

// Whether there is a curve that is more than a point.
bool HasLine(const Chart& chart) {
  return std::ranges::any_of(chart.curves,
                             [](const Curve& curve) { return curve.points.size() > 1; });
}

// A sweep's delays are clearer over its load than as a distribution for each rate.
bool IsShown(const RelayReport& report, const Chart& chart) {
  if (TextOf(chart).load || chart.kind != ChartKind::kDistribution) return HasLine(chart);
  return HasLine(chart) && std::ranges::none_of(report.charts, [&](const Chart& other) {
           return other.mode == chart.mode && other.kind == ChartKind::kDelayOverLoad &&
                  HasLine(other);
         });
}

std::string Table(const std::vector<const Record*>& records) {
  const Record& first = *records.front();
  std::string head = "<tr><th scope=\"col\">relay</th>";
  if (!first.phase.empty()) head += "<th scope=\"col\" class=\"text\">phase</th>";
  const auto shown = [](const Figure& figure) { return !figure.kind->title.empty(); };
  for (const Figure& figure : first.figures) {
    if (!shown(figure)) continue;
    head += fmt::format("<th scope=\"col\">{}<small>{}</small></th>", figure.kind->title,
                        figure.kind->unit);
  }
  std::string html = "<div class=\"table\"><table>\n" + head + "<th></th></tr>\n";
  for (const Record* record : records) {
    html += "<tr><th scope=\"row\">" + EscapeHtml(record->relay) + "</th>";
    if (!first.phase.empty()) html += "<td class=\"text\">" + EscapeHtml(record->phase) + "</td>";
    for (const Figure& figure : record->figures) {
      if (!shown(figure)) continue;
      html += "<td>" + FigureText(figure) + "</td>";
    }
    html += "<td class=\"text remark\">" + EscapeHtml(record->remarks) + "</td></tr>\n";
  }
  return html + "</table></div>\n";
}

std::string Part(const RelayReport& report, std::string_view mode, const Colours& colours) {
  std::vector<const Record*> records;
  for (const Record& record : report.records) {
    if (record.mode == mode) records.push_back(&record);
  }
  if (records.empty()) return {};
  const auto* title =
      std::ranges::find(kModes, mode, &std::pair<std::string_view, std::string_view>::first);
  std::string html =
      fmt::format("<section>\n<h2>{}</h2>\n",
                  title == std::end(kModes) ? EscapeHtml(mode) : std::string(title->second));
  html += Table(records);
  for (const Chart& chart : report.charts) {
    if (chart.mode == mode && IsShown(report, chart)) html += ChartPart(report, chart, colours);
  }
  return html + "</section>\n";
}

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--back:#fff;--text:#1c1f23;--quiet:#5b636d;--grid:#e4e7eb;
--panel:#f5f6f8;--span:#fbefd5;--warn:#a33a00;
--c0:#1f6feb;--c1:#d1570a;--c2:#15803d;--c3:#8442c4;--c4:#be2f6e;--c5:#0b7f8c;--c6:#86602f;--c7:#5f6873}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--text:#e5e8ec;--quiet:#9aa4af;
--grid:#2b3139;--panel:#1c2026;--span:#37301c;--warn:#ffb08a;
--c0:#6aa6ff;--c1:#ff9d57;--c2:#55cf8d;--c3:#c59cf5;--c4:#ff8dbb;--c5:#4fd0dd;--c6:#d3a877;--c7:#a6aeb8}}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1.5rem 1rem 3rem;
color:var(--text);background:var(--back)}
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.2rem;margin:2.5rem 0 .75rem}
h3{font-size:1rem;margin:0}
pre{margin:0;padding:.6rem .8rem;background:var(--panel);border-radius:6px;font-size:.8rem;
white-space:pre-wrap;overflow-wrap:anywhere}
.table{overflow-x:auto}
table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{font-weight:600;vertical-align:bottom}th small{display:block;font-weight:400;color:var(--quiet)}
th:first-child,.text{text-align:left}.remark{color:var(--warn)}
figure{margin:1.5rem 0 0;max-width:58rem}figcaption p{margin:0;color:var(--quiet);font-size:.85rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;margin:.4rem 0;padding:0;
font-size:.85rem}.legend svg{margin-right:.4rem;vertical-align:middle}
.wide svg,.narrow svg{display:block;width:100%;height:auto}.narrow{display:none}
@media (max-width:600px){.wide{display:none}.narrow{display:block}}
svg text{font:12px system-ui,sans-serif;fill:var(--quiet)}svg .label{fill:var(--text)}
.middle{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--grid)}.axis{fill:none;stroke:var(--quiet)}.span{fill:var(--span)}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}
.ideal{stroke:var(--quiet);stroke-width:1.2;stroke-dasharray:2 3}
)";

std::string Style() {
  std::string style(kStyle);
  for (std::size_t i = 0; i < kPlotColours; ++i) {
    style += fmt::format("polyline.c{0}{{stroke:var(--c{0})}}circle.c{0}{{fill:var(--c{0})}}\n", i);
  }
  return style;
}

}  // namespace

std::string ToHtml(const RelayReport& report) {
  const Colours colours(report);
  std::vector<std::string_view> modes;  // in order of appearance
  for (const Record& record : report.records) {
    if (std::ranges::find(modes, record.mode) == modes.end()) modes.push_back(record.mode);
  }
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>Relays under load</title>\n<style>" +
      Style() + "</style></head>\n<body>\n<h1>Relays under load</h1>\n<pre>" +
      EscapeHtml(report.command) + "</pre>\n";
  for (const std::string_view mode : modes) html += Part(report, mode, colours);
  return html + "</body></html>\n";
}

}  // namespace ringscale::bench

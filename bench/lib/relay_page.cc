// The page of a report: text, tables and SVG written by hand, so that one file is
// all there is to keep or to send.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "bench/lib/relay_report.h"

namespace ringscale::bench {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 320;
constexpr double kLeft = 64;
constexpr double kRight = 12;
constexpr double kTop = 12;
constexpr double kBottom = 44;
constexpr std::string_view kColours[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                         "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"};

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

struct Point {
  double x = 0;
  double y = 0;
};

struct Curve {
  std::string name;
  std::vector<Point> points;
  bool dots = false;  // marks at the points
};

// A stretch of the x axis with a meaning: "logging in".
struct Span {
  double from = 0;
  double to = 0;
  std::string name;
};

struct Axis {
  std::string label;
  bool logarithmic = false;
  double low = 0;
  double high = 1;

  void Fit(const std::vector<Curve>& curves, double Point::* coordinate) {
    bool any = false;
    for (const Curve& curve : curves) {
      for (const Point& point : curve.points) {
        const double value = point.*coordinate;
        if (logarithmic && value <= 0) continue;
        low = any ? std::min(low, value) : value;
        high = any ? std::max(high, value) : value;
        any = true;
      }
    }
    if (logarithmic) {
      low = any ? std::pow(10, std::floor(std::log10(low))) : 1;
      high = any ? std::pow(10, std::ceil(std::log10(high))) : 10;
      if (high <= low) high = low * 10;
    } else {
      low = 0;
      high = any && high > 0 ? high * 1.05 : 1;
    }
  }
  // 0 to 1.
  [[nodiscard]] double Place(double value) const {
    const double place = logarithmic
                             ? std::log10(std::max(value, low) / low) / std::log10(high / low)
                             : (value - low) / (high - low);
    return std::clamp(place, 0.0, 1.0);
  }
  [[nodiscard]] std::vector<double> Ticks() const {
    std::vector<double> ticks;
    if (logarithmic) {
      for (double tick = low; tick <= high * 1.001; tick *= 10) ticks.push_back(tick);
      return ticks;
    }
    double step = std::pow(10, std::floor(std::log10(high / 4)));
    for (const double factor : {2.0, 5.0, 10.0}) {
      if (high / step <= 7) break;
      step = std::pow(10, std::floor(std::log10(high / 4))) * factor;
    }
    for (double tick = 0; tick <= high; tick += step) ticks.push_back(tick);
    return ticks;
  }
};

std::string Plot(Axis x, Axis y, const std::vector<Curve>& curves,
                 const std::vector<Span>& spans = {}) {
  x.Fit(curves, &Point::x);
  y.Fit(curves, &Point::y);
  const auto px = [&](double value) { return kLeft + x.Place(value) * (kWidth - kLeft - kRight); };
  const auto py = [&](double value) {
    return kHeight - kBottom - y.Place(value) * (kHeight - kTop - kBottom);
  };
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n", kWidth, kHeight);
  for (const Span& span : spans) {
    svg += fmt::format(
        "<rect class=\"span\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        px(span.from), kTop, std::max(px(span.to) - px(span.from), 1.0), kHeight - kTop - kBottom,
        px(span.from) + 4, kTop + 14, Escape(span.name));
  }
  for (const double tick : x.Ticks()) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"middle\" x=\"{0:.1f}\" y=\"{3:.1f}\">{4:g}</text>\n",
        px(tick), kTop, kHeight - kBottom, kHeight - kBottom + 16, tick);
  }
  for (const double tick : y.Ticks()) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"end\" x=\"{3:.1f}\" y=\"{4:.1f}\">{5:g}</text>\n",
        kLeft, kWidth - kRight, py(tick), kLeft - 6, py(tick) + 4, tick);
  }
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const std::string_view colour = kColours[i % std::size(kColours)];
    std::string line;
    for (const Point& point : curves[i].points) {
      line += fmt::format("{:.1f},{:.1f} ", px(point.x), py(point.y));
      if (curves[i].dots) {
        svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>", px(point.x),
                           py(point.y), colour);
      }
    }
    svg +=
        fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" points=\"{}\"/>\n",
                    colour, line);
  }
  svg += fmt::format("<text class=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                     (kLeft + kWidth - kRight) / 2, kHeight - 8, Escape(x.label));
  svg += fmt::format(
      "<text class=\"middle\" transform=\"translate(14 {:.1f}) rotate(-90)\">{}</text>\n",
      (kTop + kHeight - kBottom) / 2, Escape(y.label));
  svg += "</svg>\n<p class=\"legend\">";
  for (std::size_t i = 0; i < curves.size(); ++i) {
    svg += fmt::format("<span style=\"color:{}\">&#9632;</span> {} &nbsp; ",
                       kColours[i % std::size(kColours)], Escape(curves[i].name));
  }
  return svg + "</p>\n";
}

Curve Distribution(const std::string& name, const Histogram& delays) {
  Curve curve{.name = name, .points = {}};
  for (const auto& step : delays.Cumulative()) {
    curve.points.push_back({static_cast<double>(step.value.ns) / 1e3, step.fraction * 100});
  }
  return curve;
}

Curve OverTime(const std::string& name, const LatencyResult& result) {
  Curve curve{.name = name, .points = {}};
  for (const LatencyPoint& point : result.series) {
    curve.points.push_back({point.seconds, static_cast<double>(point.max.ns) / 1e3});
  }
  return curve;
}

const Axis kDelayAcross{.label = "one-way delay, microseconds", .logarithmic = true};
const Axis kPercent{.label = "percent of packets"};
const Axis kSeconds{.label = "seconds"};
const Axis kWorst{.label = "worst delay in 100 ms, us", .logarithmic = true};

std::string ThroughputPart(const RelayReport& report) {
  if (report.throughput.empty()) return {};
  std::map<std::string, Curve> delivered;
  std::map<std::string, Curve> cost;
  std::vector<Curve> distributions;
  for (const auto& row : report.throughput) {
    const ThroughputResult& r = row.result;
    const double offered = r.Bits(r.attempted) / 1e6;
    delivered[row.relay].points.push_back({offered, r.Bits(r.in_time) / 1e6});
    if (r.cpu_per_gb() >= 0) cost[row.relay].points.push_back({offered, r.cpu_per_gb()});
    if (distributions.size() < std::size(kColours)) {
      distributions.push_back(
          Distribution(fmt::format("{} at {:.0f} Mbit/s", row.relay, offered), r.latency));
    }
  }
  const auto curves = [](std::map<std::string, Curve>& by_name) {
    std::vector<Curve> out;
    for (auto& [name, curve] : by_name) {
      std::ranges::sort(curve.points, {}, &Point::x);
      curve.name = name;
      curve.dots = true;
      out.push_back(std::move(curve));
    }
    return out;
  };
  std::string html = "<h2>Throughput</h2>\n<pre>" + ThroughputHead();
  for (const auto& row : report.throughput) html += Escape(TableRow(row));
  html += "</pre>\n<h3>Delivered over offered</h3>\n";
  html += Plot({.label = "attempted, Mbit/s"}, {.label = "delivered, Mbit/s"}, curves(delivered));
  if (!cost.empty()) {
    html += "<h3>The server's CPU</h3>\n";
    html += Plot({.label = "attempted, Mbit/s"}, {.label = "CPU seconds a GB"}, curves(cost));
  }
  return html + "<h3>One-way delay</h3>\n" + Plot(kDelayAcross, kPercent, distributions);
}

std::string ConnectPart(const RelayReport& report) {
  if (report.connect.empty()) return {};
  std::string html = "<h2>Latency</h2>\n<pre>";
  std::vector<Curve> distributions;
  std::vector<Curve> series;
  std::vector<Span> spans;
  for (const auto& row : report.connect) {
    html += Escape(TableRow(row));
    distributions.push_back(Distribution(row.relay, row.result.alone.delays));
    Curve time = OverTime(row.relay, row.result.alone);
    if (row.with_logins) {
      distributions.push_back(
          Distribution(row.relay + " while logging in", row.result.during.delays));
      const Curve rest = OverTime(row.relay, row.result.during);
      time.points.insert(time.points.end(), rest.points.begin(), rest.points.end());
      if (spans.empty() && !rest.points.empty()) {
        spans.push_back({row.result.logins_began, rest.points.back().x, "clients log in"});
      }
    }
    series.push_back(std::move(time));
  }
  return html + "</pre>\n<h3>Distribution</h3>\n" + Plot(kDelayAcross, kPercent, distributions) +
         "<h3>Over time</h3>\n" + Plot(kSeconds, kWorst, series, spans);
}

std::string StormPart(const RelayReport& report) {
  if (report.storm.empty()) return {};
  std::string html = "<h2>Storm</h2>\n<pre>";
  for (const auto& row : report.storm) html += Escape(TableRow(row));
  html += "</pre>\n<h3>Established traffic meanwhile</h3>\n";
  for (const auto& row : report.storm) {
    std::vector<Span> spans = {{row.result.first_began,
                                row.result.first_began + row.result.first.seconds,
                                "clients log in"}};
    if (row.result.back > 0) spans.push_back({row.result.dropped, row.result.back, "cut off"});
    html += Plot(kSeconds, kWorst, {OverTime(row.relay, row.result.delays)}, spans);
  }
  return html;
}

std::string TcpPart(const RelayReport& report) {
  if (report.tcp.empty()) return {};
  std::string html = "<h2>TCP inside the tunnel</h2>\n<pre>" + TcpHead();
  for (const auto& row : report.tcp) html += Escape(TableRow(row));
  return html + "</pre>\n";
}

std::string StunPart(const RelayReport& report) {
  if (report.stun.empty()) return {};
  std::string html = "<h2>STUN</h2>\n<pre>";
  for (const auto& row : report.stun) html += Escape(TableRow(row));
  return html + "</pre>\n";
}

}  // namespace

std::string ToHtml(const RelayReport& report) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<title>ringscale-bench relay</title>\n<style>"
         "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em;"
         "color:#222;background:#fff}"
         "pre{overflow-x:auto;font-size:12px;background:#f6f6f6;padding:.8em}"
         "svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#444}"
         ".middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#e2e2e2}"
         ".span{fill:#fff1d6}.legend{font-size:13px}"
         "</style></head>\n<body>\n<h1>Relays under load</h1>\n<p><code>" +
         Escape(report.command) + "</code></p>\n" + ThroughputPart(report) + ConnectPart(report) +
         StormPart(report) + StunPart(report) + TcpPart(report) + "</body></html>\n";
}

}  // namespace ringscale::bench

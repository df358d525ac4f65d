#include "bench/lib/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/http/html.h"

namespace ringscale::bench {
namespace {

using core::http::EscapeHtml;

constexpr double kLeft = 58;
constexpr double kRight = 26;  // half of the last tick's text
constexpr double kTop = 10;
constexpr double kNoteHeight = 16;   // of a row of names of spans, above the plot
constexpr double kNoteLetter = 6.6;  // the most that a letter of these takes
constexpr double kBottom = 42;
constexpr double kTickWidth = 62;   // that the text of a tick may take
constexpr double kTickHeight = 34;  // that a row of them may take
constexpr double kMostNines = 4;    // 99.99 %

constexpr double kSteps[] = {1, 2, 5, 10};

// The greatest 1, 2 or 5 times a power of ten that is not above `value`.
double NiceBelow(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  double nice = power;
  for (const double step : kSteps) {
    if (step * power <= value * (1 + 1e-9)) nice = step * power;
  }
  return nice;
}

double NiceAbove(double value) {
  const double below = NiceBelow(value);
  if (below >= value * (1 - 1e-9)) return below;
  const double power = std::pow(10, std::floor(std::log10(below)));
  for (const double step : kSteps) {
    if (step * power > below * (1 + 1e-9)) return step * power;
  }
  return 10 * power;
}

double Nines(double percent) {
  return percent >= 100 ? kMostNines : std::min(-std::log10(1 - percent / 100), kMostNines);
}

// Where the name of a span is written.
struct Note {
  double x = 0;
  std::size_t row = 0;  // from the plot upwards
};

// Names begin where their spans do, unless they would leave the plot; one that would
// run into another goes a row higher.
std::vector<Note> PlaceNotes(const std::vector<ChartSpan>& spans, const Axis& x, double left,
                             double right) {
  std::vector<Note> notes;
  std::vector<double> ends;  // of each row
  for (const ChartSpan& span : spans) {
    const double width = kNoteLetter * static_cast<double>(span.name.size());
    const double at = left + x.Place(span.from) * (right - left);
    Note note{.x = std::max(std::min(at, right - width), left)};
    while (note.row < ends.size() && ends[note.row] > note.x) ++note.row;
    if (note.row == ends.size()) ends.push_back(0);
    ends[note.row] = note.x + width;
    notes.push_back(note);
  }
  return notes;
}

}  // namespace

void Axis::Fit(const std::vector<double>& values) {
  if (scale == Scale::kNines) return;
  bool any = false;
  for (const double value : values) {
    if (scale == Scale::kLogarithmic && value <= 0) continue;
    low = any ? std::min(low, value) : value;
    high = any ? std::max(high, value) : value;
    any = true;
  }
  if (scale == Scale::kLogarithmic) {
    constexpr double kMargin = 1.08;
    low = any ? low / kMargin : 1;
    high = any ? high * kMargin : 10;
    if (high < low * 10) {  // too little for ticks to be sure of
      low = NiceBelow(low);
      high = std::max(NiceAbove(high), low * 10);
    }
  } else {
    low = 0;
    high = any && high > 0 ? high * 1.04 : 1;
  }
}

double Axis::Place(double value) const {
  double place = 0;
  switch (scale) {
    case Scale::kLinear:
      place = (value - low) / (high - low);
      break;
    case Scale::kLogarithmic:
      place = std::log10(std::max(value, low) / low) / std::log10(high / low);
      break;
    case Scale::kNines:
      place = Nines(value) / kMostNines;
      break;
  }
  return std::clamp(place, 0.0, 1.0);
}

std::vector<double> Axis::Ticks(std::size_t most) const {
  std::vector<double> ticks;
  switch (scale) {
    case Scale::kNines:
      return {0, 50, 90, 99, 99.9, 99.99};
    case Scale::kLinear: {
      const double step = NiceAbove((high - low) / static_cast<double>(most));
      for (int i = 0; i * step <= high; ++i) ticks.push_back(i * step);
      return ticks;
    }
    case Scale::kLogarithmic:
      break;
  }
  // Each power of ten, or every second, ...; with steps between where there is room,
  // or where there would be no two ticks else.
  const std::vector<double> steps[] = {{1}, {1, 3}, {1, 2, 5}};
  const double decades = std::log10(high / low);
  const int every = std::max(1, static_cast<int>(std::ceil(decades / static_cast<double>(most))));
  const int first = static_cast<int>(std::floor(std::log10(low)));
  for (const std::vector<double>& finer : steps) {
    std::vector<double> found;
    for (int power = first; std::pow(10, power) <= high * 1.001; power += every) {
      for (const double step : finer) {
        const double tick = step * std::pow(10, power);
        if (tick >= low * 0.999 && tick <= high * 1.001) found.push_back(tick);
      }
    }
    if (ticks.size() >= 2 && (found.size() > most || every > 1)) break;
    ticks = std::move(found);
  }
  return ticks;
}

std::string NumberText(double value) {
  // Six digits tell all that a plot shows; the point stays where it is.
  std::string text = fmt::format("{:.{}f}", value, std::abs(value) >= 100 ? 0 : 2);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
  }
  const std::size_t point = std::min(text.find('.'), text.size());
  for (std::size_t at = point; at > 3 + (value < 0 ? 1u : 0u); at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string Axis::TickText(double tick) const {
  if (!micros) return NumberText(tick);
  if (tick >= 1e6 * 0.999) return NumberText(tick / 1e6) + " s";
  if (tick >= 1e3 * 0.999) return NumberText(tick / 1e3) + " ms";
  return NumberText(tick) + " µs";
}

std::string Plot(const Axis& x, const Axis& y, const PlotContent& content, PlotSize size) {
  const double right = size.width - kRight;
  const std::vector<Note> notes = PlaceNotes(content.spans, x, kLeft, right);
  std::size_t note_rows = 0;
  for (const Note& note : notes) note_rows = std::max(note_rows, note.row + 1);
  const double top = kTop + kNoteHeight * static_cast<double>(note_rows);
  const double bottom = size.height - kBottom;
  const auto px = [&](double value) { return kLeft + x.Place(value) * (right - kLeft); };
  const auto py = [&](double value) { return bottom - y.Place(value) * (bottom - top); };
  std::string svg = fmt::format("<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\">\n",
                                size.width, size.height, EscapeHtml(y.label + " over " + x.label));
  for (std::size_t i = 0; i < notes.size(); ++i) {
    const ChartSpan& span = content.spans[i];
    svg += fmt::format(
        "<rect class=\"span\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        px(span.from), top, std::max(px(span.to) - px(span.from), 1.0), bottom - top, notes[i].x,
        top - 5 - kNoteHeight * static_cast<double>(notes[i].row), EscapeHtml(span.name));
  }
  const auto ticks = [](double room, double each) {
    return std::max<std::size_t>(static_cast<std::size_t>(room / each), 2);
  };
  for (const double tick : x.Ticks(ticks(right - kLeft, kTickWidth))) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"middle\" x=\"{0:.1f}\" y=\"{3:.1f}\">{4}</text>\n",
        px(tick), top, bottom, bottom + 16, x.TickText(tick));
  }
  for (const double tick : y.Ticks(ticks(bottom - top, kTickHeight))) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"end\" x=\"{3:.1f}\" y=\"{4:.1f}\">{5}</text>\n",
        kLeft, right, py(tick), kLeft - 7, py(tick) + 4, y.TickText(tick));
  }
  svg += fmt::format("<path class=\"axis\" d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\"/>\n", kLeft, top,
                     bottom, right);
  if (content.ideal) {
    const double from = std::max(x.low, y.low);
    const double to = std::min(x.high, y.high);
    svg += fmt::format(
        "<line class=\"ideal\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
        px(from), py(from), px(to), py(to));
  }
  for (const PlotLine& line : content.lines) {
    std::string points;
    std::string dots;
    for (const Point& point : line.curve->points) {
      points += fmt::format("{:.1f},{:.1f} ", px(point.x), py(point.y));
      if (!content.dots) continue;
      dots += fmt::format(
          "<circle class=\"c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}: {} at {}</title>"
          "</circle>\n",
          line.colour, px(point.x), py(point.y), EscapeHtml(line.name), y.TickText(point.y),
          x.TickText(point.x));
    }
    svg += fmt::format("<polyline class=\"c{}{}\" points=\"{}\"/>\n{}", line.colour,
                       line.curve->secondary ? " dashed" : "", points, dots);
  }
  svg += fmt::format("<text class=\"middle label\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                     (kLeft + right) / 2, size.height - 6, EscapeHtml(x.label));
  return svg + "</svg>\n";
}

}  // namespace ringscale::bench

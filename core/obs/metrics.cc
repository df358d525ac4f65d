#include "core/obs/metrics.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <map>

namespace ringscale::core {
namespace {

bool IsNameCharacter(char c, bool first, bool colon_allowed) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || (c == ':' && colon_allowed) || (!first && c >= '0' && c <= '9');
}

bool IsValidName(std::string_view name, bool colon_allowed) {
  if (name.empty()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!IsNameCharacter(name[i], i == 0, colon_allowed)) return false;
  }
  return true;
}

void AppendEscaped(std::string& out, std::string_view text, bool escape_quote) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && escape_quote) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void AppendValue(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
    return;
  }
  char digits[64];
  // Whole numbers that a double holds exactly are written as such, not as 1e+06.
  constexpr double kExact = 9007199254740992.0;
  const bool whole = std::abs(value) < kExact && value == std::trunc(value);
  const auto end =
      whole ? std::to_chars(digits, digits + sizeof digits, static_cast<std::int64_t>(value)).ptr
            : std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

std::string RenderLabels(const MetricLabels& labels) {
  if (labels.empty()) return {};
  std::string out = "{";
  for (const auto& [key, value] : labels) {
    if (out.size() > 1) out += ',';
    out += key;
    out += "=\"";
    AppendEscaped(out, value, true);
    out += '"';
  }
  out += '}';
  return out;
}

void AppendHead(std::string& out, std::string_view name, std::string_view help,
                std::string_view type) {
  out.append("# HELP ").append(name).append(" ");
  AppendEscaped(out, help, false);
  out.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

void AppendLine(std::string& out, std::string_view name, std::string_view labels, double value) {
  out.append(name).append(labels).append(" ");
  AppendValue(out, value);
  out += '\n';
}

}  // namespace

void MetricsRegistry::Add(std::string name, Kind kind, std::string help, MetricLabels labels,
                          std::function<double()> read) {
  assert(IsValidName(name, true));
  std::sort(labels.begin(), labels.end());
  for (const auto& label : labels) assert(IsValidName(label.first, false));
  const std::lock_guard lock(mutex_);
  samples_.push_back({std::move(name), kind, std::move(help), std::move(labels), std::move(read)});
}

void MetricsRegistry::AddHistogram(std::string name, std::string help,
                                   std::vector<std::uint32_t> bounds,
                                   std::function<HistogramValues()> read) {
  assert(IsValidName(name, true));
  const std::lock_guard lock(mutex_);
  histograms_.push_back({std::move(name), std::move(help), std::move(bounds), std::move(read)});
}

std::string MetricsRegistry::Render() const {
  const std::lock_guard lock(mutex_);
  struct Family {
    const Sample* first = nullptr;
    std::map<std::string, double> values;  // by rendered labels
  };
  std::map<std::string_view, Family> families;
  for (const Sample& sample : samples_) {
    Family& family = families[sample.name];
    if (family.first == nullptr) family.first = &sample;
    family.values[RenderLabels(sample.labels)] += sample.read();
  }
  std::string out;
  for (const auto& [name, family] : families) {
    AppendHead(out, name, family.first->help,
               family.first->kind == Kind::kCounter ? "counter" : "gauge");
    for (const auto& [labels, value] : family.values) AppendLine(out, name, labels, value);
  }
  struct HistogramFamily {
    const HistogramSample* first = nullptr;
    HistogramValues values;
  };
  std::map<std::string_view, HistogramFamily> histograms;
  for (const HistogramSample& sample : histograms_) {
    HistogramFamily& family = histograms[sample.name];
    if (family.first == nullptr) family.first = &sample;
    const HistogramValues values = sample.read();
    family.values.counts.resize(sample.bounds.size() + 1);
    for (std::size_t i = 0; i < std::min(values.counts.size(), family.values.counts.size()); ++i) {
      family.values.counts[i] += values.counts[i];
    }
    family.values.sum += values.sum;
  }
  for (const auto& [name, family] : histograms) {
    AppendHead(out, name, family.first->help, "histogram");
    const std::string base(name);
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < family.values.counts.size(); ++i) {
      count += family.values.counts[i];
      const auto& bounds = family.first->bounds;
      const std::string bound = i < bounds.size() ? std::to_string(bounds[i]) : "+Inf";
      AppendLine(out, base + "_bucket", RenderLabels({{"le", bound}}), static_cast<double>(count));
    }
    AppendLine(out, base + "_sum", "", static_cast<double>(family.values.sum));
    AppendLine(out, base + "_count", "", static_cast<double>(count));
  }
  return out;
}

}  // namespace ringscale::core

#include "tools/serverd/config/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace ringscale::serverd {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t size;
};
// Falling, as they are written.
constexpr Unit kTimeUnits[] = {{"y", 365LL * 86'400'000},
                               {"w", 7LL * 86'400'000},
                               {"d", 86'400'000},
                               {"h", 3'600'000},
                               {"m", 60'000},
                               {"s", 1000},
                               {"ms", 1}};
constexpr std::int64_t kMaxMillis = 100LL * 365 * 86'400'000;
constexpr Unit kSizeUnits[] = {
    {"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"", 1}};
constexpr std::int64_t kMaxBytes = 1LL << 50;

// Removes a run of digits from the front.
std::optional<std::int64_t> TakeNumber(std::string_view& text) {
  std::int64_t number = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

// Edits (insert, delete, replace, swap of neighbours) between two short words.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string Describe(std::string_view text) {
  constexpr std::size_t kMax = 80;
  std::string cut(text.substr(0, kMax));
  if (cut.size() < text.size()) cut += "...";
  return Quote(cut);
}

std::string Describe(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kText:
      return Describe(value.text);
    case Value::Kind::kInteger:
      return std::to_string(value.integer);
    case Value::Kind::kBool:
      return value.boolean ? "true" : "false";
    case Value::Kind::kList:
      return value.items.empty() ? "an empty list" : "a list";
    case Value::Kind::kTable:
      return "a section";
    case Value::Kind::kOther:
      return value.text;
  }
  return {};
}

std::optional<bool> AsBool(const Value& value) {
  if (value.kind == Value::Kind::kBool) return value.boolean;
  if (!value.untyped) return std::nullopt;
  if (value.text == "true" || value.text == "1") return true;
  if (value.text == "false" || value.text == "0") return false;
  return std::nullopt;
}

std::optional<std::int64_t> AsInteger(const Value& value) {
  if (value.kind == Value::Kind::kInteger) return value.integer;
  if (!value.untyped) return std::nullopt;
  std::string_view text = value.text;
  const auto number = TakeNumber(text);
  return text.empty() ? number : std::nullopt;
}

std::optional<core::Duration> ParseDuration(std::string_view text) {
  if (text == "0") return core::Duration{};
  if (text.empty()) return std::nullopt;
  std::int64_t millis = 0;
  const Unit* unit = std::begin(kTimeUnits);
  while (!text.empty()) {
    const auto number = TakeNumber(text);
    if (!number) return std::nullopt;
    const auto letters = std::min(text.find_first_of("0123456789"), text.size());
    const std::string_view name = text.substr(0, letters);
    text.remove_prefix(letters);
    unit = std::find_if(unit, std::end(kTimeUnits), [&](const Unit& u) { return u.name == name; });
    if (unit == std::end(kTimeUnits) || *number > kMaxMillis / unit->size) return std::nullopt;
    millis += *number * unit->size;
    if (millis > kMaxMillis) return std::nullopt;
    ++unit;
  }
  return core::Millis(millis);
}

std::string FormatDuration(core::Duration duration) {
  std::int64_t millis = duration.millis();
  if (millis == 0) return "0";
  for (const Unit& unit : kTimeUnits) {
    if (millis % unit.size == 0) return std::to_string(millis / unit.size) + std::string(unit.name);
  }
  return {};
}

std::optional<std::uint64_t> ParseSize(std::string_view text) {
  const auto number = TakeNumber(text);
  const auto* unit = std::ranges::find(kSizeUnits, text, &Unit::name);
  if (!number || unit == std::end(kSizeUnits) || *number > kMaxBytes / unit->size) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*number * unit->size);
}

std::string FormatSize(std::uint64_t bytes) {
  for (const Unit& unit : kSizeUnits) {
    const auto size = static_cast<std::uint64_t>(unit.size);
    if (bytes != 0 && bytes % size == 0) {
      return std::to_string(bytes / size) + std::string(unit.name);
    }
  }
  return "0";
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04X", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongest = 64;
  std::string_view best;
  if (word.size() > kLongest) return best;
  // One error in four letters is still a typing error.
  std::size_t limit = std::clamp<std::size_t>(word.size() / 4, 1, 3);
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = Distance(word, candidate);
    if (distance > limit || (distance == limit && !best.empty())) continue;
    best = candidate;
    limit = distance;
  }
  return best;
}

}  // namespace ringscale::serverd

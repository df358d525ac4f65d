// Values as the sources of the configuration give them, and the texts in which
// people write durations and sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"

namespace ringscale::serverd {

struct Value {
  enum class Kind : std::uint8_t { kText, kInteger, kBool, kList, kTable, kOther };
  Kind kind = Kind::kText;
  std::string text;  // kText; for kOther what it is ("a date")
  std::int64_t integer = 0;
  bool boolean = false;
  std::vector<Value> items;        // kList and kTable
  std::vector<std::string> names;  // kTable: of the items
  // From the environment or a flag, where text stands for every kind.
  bool untyped = false;

  static Value Untyped(std::string text) {
    Value value;
    value.text = std::move(text);
    value.untyped = true;
    return value;
  }
};

// For "found ..." in messages; cut when long.
std::string Describe(const Value& value);
std::string Describe(std::string_view text);

std::optional<bool> AsBool(const Value& value);
std::optional<std::int64_t> AsInteger(const Value& value);

// "90d", "1h30m", "500ms", "0": numbers with units ms, s, m, h, d, w, y (365 days),
// each at most once and falling. At most 100 years.
std::optional<core::Duration> ParseDuration(std::string_view text);
// The shortest such text.
std::string FormatDuration(core::Duration duration);

// "512MiB": a number with KiB, MiB, GiB or TiB, or plain bytes.
std::optional<std::uint64_t> ParseSize(std::string_view text);
std::string FormatSize(std::uint64_t bytes);

// A TOML string.
std::string Quote(std::string_view text);

// The candidate that a mistyped `word` most likely meant; empty when none is near.
std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace ringscale::serverd

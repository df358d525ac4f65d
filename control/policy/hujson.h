// HuJSON (JWCC): JSON with // and /* */ comments and trailing commas, as people
// write policies. Every value keeps its place in the text. Strict otherwise:
// RFC 8259, valid UTF-8, no member name twice. Bounded in size, depth and number
// of values; never throws.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/error.h"

namespace ringscale::control::policy {

struct HuMember;

struct HuValue {
  enum class Kind : std::uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  Position at;
  std::string text;  // of a string: its characters; of a number: as written
  std::vector<HuValue> items;
  std::vector<HuMember> members;

  [[nodiscard]] bool is_null() const { return kind == Kind::kNull; }
  [[nodiscard]] bool is_string() const { return kind == Kind::kString; }
  [[nodiscard]] bool is_array() const { return kind == Kind::kArray; }
  [[nodiscard]] bool is_object() const { return kind == Kind::kObject; }
  // The value as plain compact JSON.
  void Write(std::string& out) const;
};

struct HuMember {
  std::string name;
  Position at;
  HuValue value;
};

struct HuLimits {
  std::size_t max_bytes = std::size_t{4} * 1024 * 1024;
  std::size_t max_depth = 32;
  std::size_t max_values = 500'000;
};

Checked<HuValue> ParseHuJson(std::string_view text, const HuLimits& limits = {});

// What the kind is called in an error: "string", "array", ...
std::string_view KindName(HuValue::Kind kind);

}  // namespace ringscale::control::policy

#include <algorithm>
#include <charconv>
#include <optional>

#include "control/policy/program.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

// Versions compare number by number, anything else as text: "1.9" < "1.10".
int CompareVersions(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    const auto part = [](std::string_view& text) {
      const auto end = std::min(text.find_first_of(".-"), text.size());
      const std::string_view head = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      return head;
    };
    const std::string_view left = part(a);
    const std::string_view right = part(b);
    std::uint64_t x = 0;
    std::uint64_t y = 0;
    const auto number = [](std::string_view text, std::uint64_t& out) {
      if (text.empty()) return true;  // a missing part counts as zero
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
      return error == std::errc{} && end == text.data() + text.size();
    };
    if (number(left, x) && number(right, y)) {
      if (x != y) return x < y ? -1 : 1;
    } else if (left != right) {
      return left < right ? -1 : 1;
    }
  }
  return 0;
}

// The attributes that a server knows without an agent on the device; empty: not of this
// one, nullopt: of none.
std::optional<std::string> AttributeOf(std::string_view name, const PolicyNode& node) {
  if (name == "node:os") return node.os;
  if (name == "node:osVersion") return node.os_version;
  if (name == "node:tsVersion") return node.client_version;
  if (name == "node:tsReleaseTrack") {
    // Releases have an even minor version.
    const std::string_view version = node.client_version;
    const auto dot = version.find('.');
    if (dot == std::string_view::npos) return "";
    int minor = 0;
    std::from_chars(version.data() + dot + 1, version.data() + version.size(), minor);
    return minor % 2 == 0 ? "stable" : "unstable";
  }
  if (name == "ip:address" || name == "node:ip") return node.v4.valid() ? node.v4.text() : "";
  return std::nullopt;
}

bool Meets(const PostureCondition& condition, const std::string& value) {
  const auto compare = [&](std::string_view wanted) {
    if (condition.attribute == "node:os") return Lower(value).compare(Lower(wanted));
    return CompareVersions(value, wanted);
  };
  const auto is = [&](const std::string& wanted) { return compare(wanted) == 0; };
  switch (condition.op) {
    case PostureCondition::Op::kIsSet:
      return !value.empty();
    case PostureCondition::Op::kNotSet:
      return value.empty();
    default:
      break;
  }
  // An attribute that is not known meets no comparison.
  if (value.empty()) return false;
  switch (condition.op) {
    case PostureCondition::Op::kEqual:
      return is(condition.values[0]);
    case PostureCondition::Op::kNotEqual:
      return !is(condition.values[0]);
    case PostureCondition::Op::kLess:
      return compare(condition.values[0]) < 0;
    case PostureCondition::Op::kLessEqual:
      return compare(condition.values[0]) <= 0;
    case PostureCondition::Op::kGreater:
      return compare(condition.values[0]) > 0;
    case PostureCondition::Op::kGreaterEqual:
      return compare(condition.values[0]) >= 0;
    case PostureCondition::Op::kIn:
      return std::ranges::any_of(condition.values, is);
    case PostureCondition::Op::kNotIn:
      return std::ranges::none_of(condition.values, is);
    default:
      return false;
  }
}

}  // namespace

bool IsKnownAttribute(std::string_view name) {
  return AttributeOf(name, {}).has_value();
}

bool MeetsPosture(const std::vector<PostureCondition>& posture, const PolicyNode& node) {
  return std::ranges::all_of(posture, [&](const PostureCondition& condition) {
    return Meets(condition, AttributeOf(condition.attribute, node).value_or(""));
  });
}

bool MeetsPosture(const std::vector<PostureCondition>& posture,
                  const PostureAttributes& attributes) {
  return std::ranges::all_of(posture, [&](const PostureCondition& condition) {
    const auto at = attributes.find(condition.attribute);
    return Meets(condition, at == attributes.end() ? "" : at->second);
  });
}

}  // namespace ringscale::control::policy

#include "control/state/tags.h"

#include <algorithm>

#include "core/base/sort_unique.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kIntro = "tag:";
constexpr std::size_t kMaxTag = 255;

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

bool IsTag(std::string_view text) {
  if (!text.starts_with(kIntro) || text.size() > kMaxTag) return false;
  text.remove_prefix(kIntro.size());
  return !text.empty() && IsLetter(text.front()) && std::ranges::all_of(text, [](char c) {
    return IsLetter(c) || (c >= '0' && c <= '9') || c == '-';
  });
}

core::Result<std::vector<std::string>> NormalizeTags(std::vector<std::string> tags) {
  for (const auto& tag : tags) {
    const std::string quoted = "\"" + tag.substr(0, kMaxTag) + "\"";
    if (!tag.starts_with(kIntro)) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "tag must start with the string 'tag:', got " + quoted);
    }
    if (std::ranges::any_of(tag, [](char c) { return c >= 'A' && c <= 'Z'; })) {
      return core::Fail(core::ErrorCode::kInvalid, "tag should be lowercase, got " + quoted);
    }
    if (!IsTag(tag)) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "tag " + quoted + " must be 'tag:', a letter, then letters, digits, '-'");
    }
  }
  core::SortUnique(tags);
  return tags;
}

core::Error TagsRefused(const std::vector<std::string>& tags) {
  std::string list;
  for (const auto& tag : tags) {
    if (!list.empty()) list += ' ';
    list += tag;
  }
  return {core::ErrorCode::kPermission,
          "requested tags [" + list + "] are invalid or not permitted"};
}

}  // namespace ringscale::control

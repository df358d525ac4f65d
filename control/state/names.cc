#include "control/state/names.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace ringscale::control {
namespace {

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsAlnum(char c) {
  return IsLetter(c) || IsDigit(c);
}
char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// "stem-12" as stem and 12. A number is written without leading zeros.
struct Numbered {
  std::string_view stem;
  std::uint64_t number;
};
std::optional<Numbered> SplitNumber(std::string_view name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string_view::npos || dash + 1 == name.size() || name[dash + 1] == '0') {
    return std::nullopt;
  }
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(name.data() + dash + 1, name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return Numbered{name.substr(0, dash), number};
}

}  // namespace

std::string SanitizeHostname(std::string_view hostname) {
  for (std::string_view suffix : {".local", ".localdomain", ".lan"}) {
    if (hostname.ends_with(suffix)) hostname.remove_suffix(suffix.size());
  }
  hostname = hostname.substr(0, kMaxLabel);
  while (!hostname.empty() && !IsAlnum(hostname.front())) hostname.remove_prefix(1);
  while (!hostname.empty() && !IsAlnum(hostname.back())) hostname.remove_suffix(1);
  std::string label;
  for (char c : hostname) {
    if (IsAlnum(c) || c == '-') {
      label.push_back(Lower(c));
    } else if (c == ' ' || c == '.' || c == '@' || c == '_') {
      label.push_back('-');
    }
  }
  return label.empty() ? "node" : label;
}

std::string NumberedName(std::string_view base, std::uint64_t number) {
  const std::string suffix = "-" + std::to_string(number);
  std::string name(base.substr(0, kMaxLabel - suffix.size()));
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name + suffix;
}

bool IsAutomaticName(std::string_view given_name, std::string_view hostname) {
  const std::string base = SanitizeHostname(hostname);
  if (given_name == base) return true;
  const auto split = SplitNumber(given_name);
  return split && NumberedName(base, split->number) == given_name;
}

core::Result<> CheckGivenName(std::string_view name, std::string_view base_domain) {
  const auto fail = [&](std::string_view why) {
    return core::Fail(
        core::ErrorCode::kInvalid,
        "node name \"" + std::string(name.substr(0, 2 * kMaxLabel)) + "\" " + std::string(why));
  };
  if (name.empty()) return core::Fail(core::ErrorCode::kInvalid, "node name is empty");
  if (name.size() > kMaxLabel) return fail("is too long, max length is 63 bytes");
  const bool characters =
      std::ranges::all_of(name, [](char c) { return (IsAlnum(c) && Lower(c) == c) || c == '-'; });
  if (!characters || name.front() == '-' || name.back() == '-') {
    return fail(
        "is no DNS label: lower case letters, digits and hyphens only, a letter or digit at both "
        "ends");
  }
  // The dot between and the one at the end count too.
  if (!base_domain.empty() && name.size() + base_domain.size() + 2 > kMaxFqdn) {
    return fail("is too long, max length with the domain is 255 bytes");
  }
  return {};
}

core::Result<> CheckUserName(std::string_view name) {
  const auto fail = [&](std::string_view why) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "user name \"" + std::string(name.substr(0, 255)) + "\" " + std::string(why));
  };
  if (name.size() < 2) return fail("is too short, min length is 2");
  if (name.size() > 255) return fail("is too long, max length is 255");
  if (!IsLetter(name.front())) return fail("must begin with a letter");
  int at_signs = 0;
  for (char c : name) {
    if (c == '@') {
      if (++at_signs > 1) return fail("may hold one '@' only");
    } else if (!IsAlnum(c) && c != '-' && c != '.' && c != '_') {
      return fail("may hold only letters, digits, '-', '.', '_' and one '@'");
    }
  }
  return {};
}

bool NameIndex::Add(std::string_view name) {
  return taken_.emplace(name).second;
}

void NameIndex::Remove(std::string_view name) {
  const auto it = taken_.find(name);
  if (it == taken_.end()) return;
  taken_.erase(it);
  const auto split = SplitNumber(name);
  if (!split) return;
  if (name.size() + 1 >= kMaxLabel) {
    // Perhaps shortened, and then its base cannot be told from it.
    next_.clear();
    return;
  }
  const auto next = next_.find(split->stem);
  if (next == next_.end()) return;
  next->second = std::min(next->second, split->number);
  if (next->second <= 1) next_.erase(next);
}

std::string NameIndex::FirstFree(const std::string& base) {
  if (!Taken(base)) return base;
  const auto known = next_.find(base);
  std::uint64_t number = known == next_.end() ? 1 : known->second;
  std::string name = NumberedName(base, number);
  while (Taken(name)) name = NumberedName(base, ++number);
  if (number > 1) next_.insert_or_assign(base, number);
  return name;
}

}  // namespace ringscale::control

#include "tools/ctl/duration.h"

#include <array>
#include <charconv>
#include <string>

namespace ringscale::ctl {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ns;
};
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::array kUnits = {
    Unit{"y", 365 * 86'400 * kSecond},
    Unit{"w", 7 * 86'400 * kSecond},
    Unit{"d", 86'400 * kSecond},
    Unit{"h", 3'600 * kSecond},
    Unit{"m", 60 * kSecond},
    Unit{"s", kSecond},
    Unit{"ms", 1'000'000},
};

}  // namespace

core::Result<core::Duration> ParseDuration(std::string_view text) {
  const auto fail = [text] {
    return core::Fail(core::ErrorCode::kInvalid,
                      "\"" + std::string(text) +
                          "\" is not a duration: write a number and a unit (y, w, d, h, m, s, "
                          "ms), for example 24h, 90d or 1h30m");
  };
  if (text == "0") return core::Duration{};
  if (text.empty()) return fail();
  std::string_view rest = text;
  std::size_t next_unit = 0;
  std::int64_t total = 0;
  while (!rest.empty()) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{} || number < 0 || rest.front() == '-') return fail();
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const std::size_t letters = std::min(rest.find_first_of("0123456789"), rest.size());
    const std::string_view unit = rest.substr(0, letters);
    rest.remove_prefix(letters);
    while (next_unit < kUnits.size() && kUnits[next_unit].name != unit) ++next_unit;
    if (next_unit == kUnits.size()) return fail();
    std::int64_t part = 0;
    if (__builtin_mul_overflow(number, kUnits[next_unit].ns, &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return fail();
    }
    ++next_unit;
  }
  return core::Duration{total};
}

}  // namespace ringscale::ctl

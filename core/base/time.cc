#include "core/base/time.h"

#include <time.h>

#include <limits>

namespace ringscale::core {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kSecondsPerDay = 86'400;

std::int64_t ReadClock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * kNanosPerSecond + now.tv_nsec;
}

// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back
// (H. Hinnant, "chrono-compatible low-level date algorithms").
constexpr std::int64_t DaysFromCivil(std::int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

struct CivilDate {
  int year = 0;
  int month = 0;
  int day = 0;
};

constexpr CivilDate CivilFromDays(std::int64_t days) {
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const int day = static_cast<int>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  const int month = static_cast<int>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  return {static_cast<int>(year_of_era + era * 400 + (month <= 2 ? 1 : 0)), month, day};
}

static_assert(DaysFromCivil(1970, 1, 1) == 0);
static_assert(DaysFromCivil(2000, 3, 1) == 11'017);

constexpr int DaysInMonth(int year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

void AppendDigits(std::string& out, std::int64_t value, int width) {
  char digits[20];
  for (int i = width - 1; i >= 0; --i) {
    digits[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  out.append(digits, static_cast<std::size_t>(width));
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // Exactly `width` decimal digits.
  bool Digits(int width, int& value) {
    value = 0;
    for (int i = 0; i < width; ++i) {
      if (!AtDigit()) return false;
      value = value * 10 + (text_[position_++] - '0');
    }
    return true;
  }
  bool Literal(char c) {
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  [[nodiscard]] bool AtDigit() const {
    return position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9';
  }
  [[nodiscard]] bool AtEnd() const { return position_ == text_.size(); }

 private:
  std::string_view text_;
  std::size_t position_ = 0;
};

struct ParsedTime {
  int year = 0;
  std::int64_t unix_seconds = 0;
  std::int64_t nanos = 0;
};

// "+hh:mm", "-hh:mm" or "Z", as seconds to subtract to reach UTC.
bool ScanOffset(Scanner& scanner, std::int64_t& seconds) {
  if (scanner.Literal('Z')) {
    seconds = 0;
    return true;
  }
  const bool negative = scanner.Literal('-');
  if (!negative && !scanner.Literal('+')) return false;
  int hours = 0;
  int minutes = 0;
  if (!scanner.Digits(2, hours) || !scanner.Literal(':') || !scanner.Digits(2, minutes)) {
    return false;
  }
  if (hours > 23 || minutes > 59) return false;
  seconds = (negative ? -1 : 1) * (hours * 3600 + minutes * 60);
  return true;
}

// Digits beyond the ninth are cut off, as Go does.
bool ScanFraction(Scanner& scanner, std::int64_t& nanos) {
  nanos = 0;
  if (!scanner.Literal('.')) return true;
  if (!scanner.AtDigit()) return false;
  std::int64_t unit = kNanosPerSecond / 10;
  int digit = 0;
  while (scanner.AtDigit()) {
    scanner.Digits(1, digit);
    nanos += digit * unit;
    unit /= 10;
  }
  return true;
}

std::optional<ParsedTime> ScanRfc3339(std::string_view text) {
  Scanner scanner(text);
  ParsedTime out;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const bool date = scanner.Digits(4, out.year) && scanner.Literal('-') &&
                    scanner.Digits(2, month) && scanner.Literal('-') && scanner.Digits(2, day);
  if (!date || month < 1 || month > 12 || day < 1 || day > DaysInMonth(out.year, month)) {
    return std::nullopt;
  }
  const bool time = scanner.Literal('T') && scanner.Digits(2, hour) && scanner.Literal(':') &&
                    scanner.Digits(2, minute) && scanner.Literal(':') && scanner.Digits(2, second);
  if (!time || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  std::int64_t offset = 0;
  if (!ScanFraction(scanner, out.nanos) || !ScanOffset(scanner, offset) || !scanner.AtEnd()) {
    return std::nullopt;
  }
  out.unix_seconds = DaysFromCivil(out.year, month, day) * kSecondsPerDay + hour * 3600 +
                     minute * 60 + second - offset;
  return out;
}

}  // namespace

Instant MonotonicNow() {
  return {ReadClock(CLOCK_MONOTONIC)};
}
WallTime WallNow() {
  return {ReadClock(CLOCK_REALTIME)};
}

std::string FormatRfc3339(WallTime time) {
  std::int64_t seconds = time.unix_ns / kNanosPerSecond;
  std::int64_t nanos = time.unix_ns % kNanosPerSecond;
  if (nanos < 0) {
    nanos += kNanosPerSecond;
    --seconds;
  }
  std::int64_t days = seconds / kSecondsPerDay;
  std::int64_t of_day = seconds % kSecondsPerDay;
  if (of_day < 0) {
    of_day += kSecondsPerDay;
    --days;
  }
  const CivilDate date = CivilFromDays(days);
  std::string out;
  out.reserve(30);
  AppendDigits(out, date.year, 4);
  out += '-';
  AppendDigits(out, date.month, 2);
  out += '-';
  AppendDigits(out, date.day, 2);
  out += 'T';
  AppendDigits(out, of_day / 3600, 2);
  out += ':';
  AppendDigits(out, of_day / 60 % 60, 2);
  out += ':';
  AppendDigits(out, of_day % 60, 2);
  if (nanos != 0) {
    out += '.';
    AppendDigits(out, nanos, 9);
    while (out.back() == '0') out.pop_back();
  }
  out += 'Z';
  return out;
}

std::optional<WallTime> ParseRfc3339(std::string_view text) {
  const auto parsed = ScanRfc3339(text);
  if (!parsed || parsed->year == 1) return std::nullopt;
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  // One second short of the edges on both sides, so that adding nanos is safe.
  if (parsed->unix_seconds >= kMax / kNanosPerSecond ||
      parsed->unix_seconds <= -(kMax / kNanosPerSecond)) {
    return std::nullopt;
  }
  return WallTime{parsed->unix_seconds * kNanosPerSecond + parsed->nanos};
}

bool IsGoZeroTime(std::string_view text) {
  const auto parsed = ScanRfc3339(text);
  return parsed && parsed->year == 1;
}

}  // namespace ringscale::core

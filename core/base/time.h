// Time as plain values that are passed in, so that the simulation can own it.
// Nothing below tools/ reads a clock except core/engine (once per turn) and the
// kernel rings of core/io for their own waits.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringscale::core {

struct Duration {
  std::int64_t ns = 0;
  auto operator<=>(const Duration&) const = default;
  [[nodiscard]] constexpr std::int64_t millis() const { return ns / 1'000'000; }
  [[nodiscard]] constexpr double seconds() const { return static_cast<double>(ns) / 1e9; }
};
constexpr Duration Nanos(std::int64_t n) {
  return {n};
}
constexpr Duration Micros(std::int64_t n) {
  return {n * 1'000};
}
constexpr Duration Millis(std::int64_t n) {
  return {n * 1'000'000};
}
constexpr Duration Seconds(std::int64_t n) {
  return {n * 1'000'000'000};
}
constexpr Duration operator+(Duration a, Duration b) {
  return {a.ns + b.ns};
}
constexpr Duration operator-(Duration a, Duration b) {
  return {a.ns - b.ns};
}
constexpr Duration operator*(Duration a, std::int64_t n) {
  return {a.ns * n};
}

// A point on the monotonic clock.
struct Instant {
  std::int64_t ns = 0;
  auto operator<=>(const Instant&) const = default;
};
constexpr Instant operator+(Instant a, Duration d) {
  return {a.ns + d.ns};
}
constexpr Instant operator-(Instant a, Duration d) {
  return {a.ns - d.ns};
}
constexpr Duration operator-(Instant a, Instant b) {
  return {a.ns - b.ns};
}

// A point of civil time: nanoseconds since 1970-01-01T00:00:00Z. Zero-valued
// times of the wire ("0001-01-01T00:00:00Z") are std::nullopt in our types.
struct WallTime {
  std::int64_t unix_ns = 0;
  auto operator<=>(const WallTime&) const = default;
};
constexpr WallTime operator+(WallTime a, Duration d) {
  return {a.unix_ns + d.ns};
}
constexpr Duration operator-(WallTime a, WallTime b) {
  return {a.unix_ns - b.unix_ns};
}

Instant MonotonicNow();
WallTime WallNow();

// RFC 3339 in UTC: "2026-08-22T10:00:00Z", with fractional seconds only when
// there are any (at most nine digits, trailing zeros dropped).
std::string FormatRfc3339(WallTime time);
// Accepts any numeric offset and fraction. nullopt when malformed or outside
// what WallTime can hold; Go's zero time gives nullopt too (see IsGoZeroTime).
std::optional<WallTime> ParseRfc3339(std::string_view text);
// True for year 1 in any spelling: Go's "no time".
bool IsGoZeroTime(std::string_view text);

}  // namespace ringscale::core

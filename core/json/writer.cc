#include "core/json/writer.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace ringscale::core::json {
namespace {

// What a byte needs: nothing, an escape, or a look at the whole UTF-8 sequence.
enum Class : std::uint8_t { kPlain, kEscape, kSequence };

constexpr std::array<std::uint8_t, 256> kClasses = [] {
  std::array<std::uint8_t, 256> classes{};
  for (std::size_t c = 0; c < 0x20; ++c) classes[c] = kEscape;
  for (const char c : {'"', '\\', '<', '>', '&'}) classes[static_cast<unsigned char>(c)] = kEscape;
  for (std::size_t c = 0x80; c < 0x100; ++c) classes[c] = kSequence;
  return classes;
}();

constexpr char kHex[] = "0123456789abcdef";

void AppendEscape(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

// Length of the valid UTF-8 sequence at text[at], 0 when there is none.
std::size_t SequenceLength(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogate
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;   // overlong
    if (first == 0xF4 && byte(1) >= 0x90) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

}  // namespace

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  std::size_t start = 0;
  std::size_t at = 0;
  const auto flush = [&] { out.append(text, start, at - start); };
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    const std::uint8_t kind = kClasses[c];
    if (kind == kPlain) {
      ++at;
      continue;
    }
    if (kind == kEscape) {
      flush();
      AppendEscape(out, c);
      start = ++at;
      continue;
    }
    const std::size_t length = SequenceLength(text, at);
    if (length == 0) {
      flush();
      out += "\\ufffd";
      start = ++at;
    } else if (length == 3 && c == 0xE2 && text[at + 1] == '\x80' &&
               (text[at + 2] == '\xA8' || text[at + 2] == '\xA9')) {
      flush();
      out += text[at + 2] == '\xA8' ? "\\u2028" : "\\u2029";
      start = at += 3;
    } else {
      at += length;
    }
  }
  flush();
  out += '"';
}

Writer& Writer::Value(double value) {
  if (!std::isfinite(value)) return Null();
  Comma();
  // Large ones with an exponent: as plain digits they would read as integers, and
  // most parsers refuse those beyond 64 bits.
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (value == 0 && std::signbit(value)) {  // "-0" would read as an integer without a sign
    out_.append("-0.0");
    return *this;
  }
  char digits[32];
  const auto end =
      std::abs(value) < kExactIntegers
          ? std::to_chars(digits, digits + sizeof digits, value).ptr
          : std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific).ptr;
  out_.append(digits, end);
  return *this;
}

}  // namespace ringscale::core::json

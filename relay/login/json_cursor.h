// A strict reader of one small JSON text (RFC 8259) that walks it once, front to
// back. Strings of invalid UTF-8 are passed through. Nothing is allocated except
// the strings that are asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringscale::relay {

class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : rest_(text) {}

  // Every call skips white space first. The ones that return bool or optional
  // fail on anything else than what they are named after.
  [[nodiscard]] bool Take(char punctuation);
  [[nodiscard]] bool TakeWord(std::string_view word);  // true, false, null
  std::optional<std::string> TakeString();
  std::optional<std::int64_t> TakeInteger();  // no fraction, no exponent
  [[nodiscard]] bool SkipValue() { return SkipValue(0); }
  [[nodiscard]] bool AtEnd();

 private:
  static constexpr int kMaxDepth = 64;

  void SkipSpace();
  bool SkipValue(int depth);
  bool SkipNumber();
  // With `out` null the string is only checked.
  bool ReadString(std::string* out);
  bool ReadEscape(std::string* out);
  std::optional<std::uint32_t> ReadFourHex();

  std::string_view rest_;
};

}  // namespace ringscale::relay

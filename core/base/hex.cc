#include "core/base/hex.h"

#include <cstddef>

namespace ringscale::core {
namespace {

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool AllDigits(std::string_view text) {
  for (const char c : text) {
    if (DigitValue(c) < 0) return false;
  }
  return true;
}

}  // namespace

std::string HexEncode(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

bool HexDecodeTo(std::string_view text, MutableBytes out) {
  if (text.size() != out.size() * 2 || !AllDigits(text)) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(DigitValue(text[2 * i]) << 4 | DigitValue(text[2 * i + 1]));
  }
  return true;
}

std::optional<std::vector<std::uint8_t>> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::uint8_t> out(text.size() / 2);
  if (!HexDecodeTo(text, out)) return std::nullopt;
  return out;
}

}  // namespace ringscale::core

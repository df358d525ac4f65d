#include "relay/login/json_cursor.h"

#include <charconv>
#include <system_error>

namespace ringscale::relay {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

void AppendUtf8(std::string& out, std::uint32_t code) {
  const auto byte = [&out](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6);
    byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  }
}

constexpr std::uint32_t kReplacement = 0xfffd;

}  // namespace

void JsonCursor::SkipSpace() {
  const std::size_t at = rest_.find_first_not_of(" \t\r\n");
  rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
}

bool JsonCursor::Take(char punctuation) {
  SkipSpace();
  if (!rest_.starts_with(punctuation)) return false;
  rest_.remove_prefix(1);
  return true;
}

bool JsonCursor::TakeWord(std::string_view word) {
  SkipSpace();
  if (!rest_.starts_with(word)) return false;
  rest_.remove_prefix(word.size());
  return true;
}

bool JsonCursor::AtEnd() {
  SkipSpace();
  return rest_.empty();
}

std::optional<std::string> JsonCursor::TakeString() {
  std::string out;
  if (!ReadString(&out)) return std::nullopt;
  return out;
}

std::optional<std::int64_t> JsonCursor::TakeInteger() {
  SkipSpace();
  const std::string_view start = rest_;
  if (!SkipNumber()) return std::nullopt;
  const std::string_view number = start.substr(0, start.size() - rest_.size());
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
  return value;
}

bool JsonCursor::SkipNumber() {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t first = at;
    while (at < rest_.size() && IsDigit(rest_[at])) ++at;
    return at - first;
  };
  if (at < rest_.size() && rest_[at] == '-') ++at;
  const std::size_t integer = at;
  const std::size_t length = digits();
  if (length == 0 || (length > 1 && rest_[integer] == '0')) return false;
  if (at < rest_.size() && rest_[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < rest_.size() && (rest_[at] == 'e' || rest_[at] == 'E')) {
    ++at;
    if (at < rest_.size() && (rest_[at] == '+' || rest_[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  rest_.remove_prefix(at);
  return true;
}

std::optional<std::uint32_t> JsonCursor::ReadFourHex() {
  if (rest_.size() < 4) return std::nullopt;
  std::uint32_t value = 0;
  const std::string_view digits = rest_.substr(0, 4);
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, 16);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  rest_.remove_prefix(4);
  return value;
}

bool JsonCursor::ReadEscape(std::string* out) {
  if (rest_.empty()) return false;
  const char kind = rest_.front();
  rest_.remove_prefix(1);
  char plain = 0;
  switch (kind) {
    case '"':
    case '\\':
    case '/':
      plain = kind;
      break;
    case 'b':
      plain = '\b';
      break;
    case 'f':
      plain = '\f';
      break;
    case 'n':
      plain = '\n';
      break;
    case 'r':
      plain = '\r';
      break;
    case 't':
      plain = '\t';
      break;
    case 'u': {
      auto code = ReadFourHex();
      if (!code) return false;
      if (*code >= 0xdc00 && *code < 0xe000) {
        code = kReplacement;
      } else if (*code >= 0xd800 && *code < 0xdc00) {
        const std::string_view before = rest_;
        std::optional<std::uint32_t> low;
        if (rest_.starts_with("\\u")) {
          rest_.remove_prefix(2);
          low = ReadFourHex();
          if (!low) return false;
        }
        if (low && *low >= 0xdc00 && *low < 0xe000) {
          code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
        } else {
          code = kReplacement;  // half a pair; what follows stands for itself
          rest_ = before;
        }
      }
      if (out != nullptr) AppendUtf8(*out, *code);
      return true;
    }
    default:
      return false;
  }
  if (out != nullptr) out->push_back(plain);
  return true;
}

bool JsonCursor::ReadString(std::string* out) {
  SkipSpace();
  if (!rest_.starts_with('"')) return false;
  rest_.remove_prefix(1);
  while (!rest_.empty()) {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '"') return true;
    if (static_cast<unsigned char>(c) < 0x20) return false;
    if (c == '\\') {
      if (!ReadEscape(out)) return false;
    } else if (out != nullptr) {
      out->push_back(c);
    }
  }
  return false;
}

bool JsonCursor::SkipValue(int depth) {
  if (depth > kMaxDepth) return false;
  SkipSpace();
  if (rest_.empty()) return false;
  switch (rest_.front()) {
    case '"':
      return ReadString(nullptr);
    case 't':
      return TakeWord("true");
    case 'f':
      return TakeWord("false");
    case 'n':
      return TakeWord("null");
    case '[':
      rest_.remove_prefix(1);
      if (Take(']')) return true;
      do {
        if (!SkipValue(depth + 1)) return false;
      } while (Take(','));
      return Take(']');
    case '{':
      rest_.remove_prefix(1);
      if (Take('}')) return true;
      do {
        if (!ReadString(nullptr) || !Take(':') || !SkipValue(depth + 1)) return false;
      } while (Take(','));
      return Take('}');
    default:
      return SkipNumber();
  }
}

}  // namespace ringscale::relay

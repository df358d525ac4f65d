#include "control/policy/hujson.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_set>

#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// The length of the UTF-8 sequence that `text` begins with; 0 when it is none.
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies above U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

void AppendUtf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

class Reader {
 public:
  Reader(std::string_view text, const HuLimits& limits) : text_(text), limits_(limits) {}

  Checked<HuValue> Document() {
    if (text_.size() > limits_.max_bytes) {
      return Refuse({}, "policy is too large: " + std::to_string(text_.size()) +
                            " bytes, the limit is " + std::to_string(limits_.max_bytes));
    }
    HuValue value;
    if (auto done = Value(value, 0); !done) return std::unexpected(std::move(done.error()));
    if (auto done = Skip(); !done) return std::unexpected(std::move(done.error()));
    if (at_ < text_.size()) return Refuse(Here(), "unexpected text after the policy");
    return value;
  }

 private:
  [[nodiscard]] bool More() const { return at_ < text_.size(); }
  [[nodiscard]] char Peek() const { return text_[at_]; }

  // Lines and columns are counted only as far as somebody asks, and from where
  // the last one asked.
  Position Here() {
    for (; counted_ < at_; ++counted_) {
      const auto byte = static_cast<unsigned char>(text_[counted_]);
      if (byte == '\n') {
        ++position_.line;
        position_.column = 1;
      } else if ((byte & 0xc0) != 0x80) {
        ++position_.column;
      }
    }
    return position_;
  }

  std::string Found() {
    if (!More()) return "the end of the policy";
    const std::size_t length = SequenceLength(text_.substr(at_));
    if (length == 0) return "a byte that is not UTF-8";
    return Quoted(text_.substr(at_, length));
  }

  // White space and comments.
  Checked<> Skip() {
    while (More()) {
      const char c = Peek();
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else if (c == '/') {
        if (auto done = Comment(); !done) return done;
      } else {
        break;
      }
    }
    return {};
  }

  Checked<> Comment() {
    const Position start = Here();
    const std::string_view rest = text_.substr(at_);
    std::size_t length = 0;
    if (rest.starts_with("//")) {
      length = std::min(rest.find('\n'), rest.size());
    } else if (rest.starts_with("/*")) {
      const auto end = rest.find("*/", 2);
      if (end == std::string_view::npos) return Refuse(start, "comment is not closed");
      length = end + 2;
    } else {
      return Refuse(start, "a comment begins with // or /*");
    }
    for (const std::size_t end = at_ + length; at_ < end;) {
      const std::size_t sequence = SequenceLength(text_.substr(at_, end - at_));
      if (sequence == 0) return Refuse(Here(), "invalid UTF-8 in a comment");
      at_ += sequence;
    }
    return {};
  }

  Checked<> Value(HuValue& out, std::size_t depth) {
    if (auto done = Skip(); !done) return done;
    out.at = Here();
    if (depth > limits_.max_depth) {
      return Refuse(out.at, "nested too deep: the limit is " + std::to_string(limits_.max_depth));
    }
    if (++values_ > limits_.max_values) {
      return Refuse(out.at, "too many values: the limit is " + std::to_string(limits_.max_values));
    }
    if (!More()) return Refuse(out.at, "unexpected end of the policy, a value was expected");
    const char c = Peek();
    if (c == '{') return Object(out, depth);
    if (c == '[') return Array(out, depth);
    if (c == '"') {
      out.kind = HuValue::Kind::kString;
      return String(out.text);
    }
    if (c == '-' || IsDigit(c)) return Number(out);
    return Word(out);
  }

  Checked<> Word(HuValue& out) {
    const std::string_view rest = text_.substr(at_);
    std::size_t length = 0;
    while (length < rest.size() && rest[length] >= 'a' && rest[length] <= 'z') ++length;
    const std::string_view word = rest.substr(0, length);
    if (word == "true" || word == "false") {
      out.kind = HuValue::Kind::kBool;
      out.boolean = word == "true";
    } else if (word == "null") {
      out.kind = HuValue::Kind::kNull;
    } else {
      return Refuse(out.at, "unexpected " + Found() + ", a value was expected");
    }
    at_ += length;
    return {};
  }

  Checked<> Number(HuValue& out) {
    out.kind = HuValue::Kind::kNumber;
    const std::size_t start = at_;
    const auto digits = [&] {
      const std::size_t first = at_;
      while (More() && IsDigit(Peek())) ++at_;
      return at_ - first;
    };
    if (Peek() == '-') ++at_;
    const std::size_t integer = at_;
    if (digits() == 0) return Refuse(out.at, "a number needs digits");
    if (text_[integer] == '0' && at_ - integer > 1) {
      return Refuse(out.at, "a number must not begin with a zero");
    }
    if (More() && Peek() == '.') {
      ++at_;
      if (digits() == 0) return Refuse(out.at, "a number needs digits after the point");
    }
    if (More() && (Peek() == 'e' || Peek() == 'E')) {
      ++at_;
      if (More() && (Peek() == '+' || Peek() == '-')) ++at_;
      if (digits() == 0) return Refuse(out.at, "a number needs digits in its exponent");
    }
    out.text = text_.substr(start, at_ - start);
    return {};
  }

  std::optional<std::uint32_t> HexCode() {
    if (text_.size() - at_ < 4) return std::nullopt;
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      code <<= 4;
      if (IsDigit(c)) {
        code |= static_cast<std::uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        code |= static_cast<std::uint32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        code |= static_cast<std::uint32_t>(c - 'A' + 10);
      } else {
        return std::nullopt;
      }
    }
    return code;
  }

  Checked<> Escape(std::string& out) {
    const Position start = Here();
    ++at_;
    if (!More()) return Refuse(start, "string is not closed");
    const char c = text_[at_++];
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
    if (const auto found = kNames.find(c); found != std::string_view::npos) {
      out += kMeaning[found];
      return {};
    }
    if (c != 'u') return Refuse(start, "unknown escape in a string");
    auto code = HexCode();
    if (!code) return Refuse(start, "\\u needs four hexadecimal digits");
    if (*code >= 0xd800 && *code < 0xe000) {
      const bool paired = *code < 0xdc00 && text_.substr(at_).starts_with("\\u");
      if (paired) at_ += 2;
      const auto low = paired ? HexCode() : std::nullopt;
      if (!low || *low < 0xdc00 || *low > 0xdfff) {
        return Refuse(start, "half of a surrogate pair in a string");
      }
      code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
    }
    AppendUtf8(out, *code);
    return {};
  }

  Checked<> String(std::string& out) {
    const Position start = Here();
    ++at_;
    while (More() && Peek() != '"') {
      if (Peek() == '\\') {
        if (auto done = Escape(out); !done) return done;
        continue;
      }
      if (static_cast<unsigned char>(Peek()) < 0x20) {
        return Refuse(Here(), "a string must not contain line breaks or control characters");
      }
      const std::size_t length = SequenceLength(text_.substr(at_));
      if (length == 0) return Refuse(Here(), "invalid UTF-8 in a string");
      out += text_.substr(at_, length);
      at_ += length;
    }
    if (!More()) return Refuse(start, "string is not closed");
    ++at_;
    return {};
  }

  // After an element: a comma, or the end. True: more may follow.
  Checked<bool> Separator(char close, const char* what) {
    if (auto done = Skip(); !done) return std::unexpected(std::move(done.error()));
    if (More() && Peek() == ',') {
      ++at_;
      if (auto done = Skip(); !done) return std::unexpected(std::move(done.error()));
      return true;
    }
    if (More() && Peek() == close) return false;
    return Refuse(Here(), std::string("unexpected ") + Found() + " after " + what +
                              ", a comma or \"" + close + "\" was expected");
  }

  Checked<> Array(HuValue& out, std::size_t depth) {
    out.kind = HuValue::Kind::kArray;
    ++at_;
    if (auto done = Skip(); !done) return done;
    while (!(More() && Peek() == ']')) {
      if (auto done = Value(out.items.emplace_back(), depth + 1); !done) return done;
      auto more = Separator(']', "an element");
      if (!more) return std::unexpected(std::move(more.error()));
      if (!*more) break;
    }
    ++at_;
    return {};
  }

  Checked<> Object(HuValue& out, std::size_t depth) {
    out.kind = HuValue::Kind::kObject;
    ++at_;
    if (auto done = Skip(); !done) return done;
    std::unordered_set<std::string> names;
    while (!(More() && Peek() == '}')) {
      HuMember& member = out.members.emplace_back();
      member.at = Here();
      if (!More() || Peek() != '"') {
        return Refuse(member.at, "unexpected " + Found() + ", a member name was expected");
      }
      if (auto done = String(member.name); !done) return done;
      if (!names.insert(member.name).second) {
        return Refuse(member.at, "duplicate member name " + Quoted(member.name));
      }
      if (auto done = Skip(); !done) return done;
      if (!More() || Peek() != ':') {
        return Refuse(Here(), "unexpected " + Found() + " after a member name, \":\" was expected");
      }
      ++at_;
      if (auto done = Value(member.value, depth + 1); !done) return done;
      auto more = Separator('}', "a member");
      if (!more) return std::unexpected(std::move(more.error()));
      if (!*more) break;
    }
    ++at_;
    return {};
  }

  std::string_view text_;
  HuLimits limits_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
  std::size_t counted_ = 0;
  Position position_{1, 1};
};

}  // namespace

Checked<HuValue> ParseHuJson(std::string_view text, const HuLimits& limits) {
  return Reader(text, limits).Document();
}

std::string_view KindName(HuValue::Kind kind) {
  switch (kind) {
    case HuValue::Kind::kNull:
      return "null";
    case HuValue::Kind::kBool:
      return "bool";
    case HuValue::Kind::kNumber:
      return "number";
    case HuValue::Kind::kString:
      return "string";
    case HuValue::Kind::kArray:
      return "array";
    case HuValue::Kind::kObject:
      return "object";
  }
  return "";
}

void HuValue::Write(std::string& out) const {
  switch (kind) {
    case Kind::kNull:
      out += "null";
      break;
    case Kind::kBool:
      out += boolean ? "true" : "false";
      break;
    case Kind::kNumber:
      out += text;
      break;
    case Kind::kString:
      core::json::AppendQuoted(out, text);
      break;
    case Kind::kArray:
      out += '[';
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out += ',';
        items[i].Write(out);
      }
      out += ']';
      break;
    case Kind::kObject:
      out += '{';
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (i > 0) out += ',';
        core::json::AppendQuoted(out, members[i].name);
        out += ':';
        members[i].value.Write(out);
      }
      out += '}';
      break;
  }
}

}  // namespace ringscale::control::policy

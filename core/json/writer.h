// Append-only JSON writer. It writes into a string of the caller and allocates
// nothing else; commas and colons are its business, balance is the caller's.
// Escaping is that of Go's encoding/json, so that our output can be compared
// byte by byte with what the field's tools write. One thread.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringscale::core::json {

// Appends `text` as a quoted JSON string. Bytes that are not UTF-8 become
// U+FFFD; <, >, &, U+2028 and U+2029 are escaped as Go does.
void AppendQuoted(std::string& out, std::string_view text);

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  Writer& BeginObject() { return Open('{'); }
  Writer& EndObject() { return Close('}'); }
  Writer& BeginArray() { return Open('['); }
  Writer& EndArray() { return Close(']'); }

  // A key of ours: must need no escaping.
  Writer& Key(std::string_view key) {
    Comma();
    out_ += '"';
    out_ += key;
    out_ += "\":";
    comma_ = false;
    return *this;
  }
  // A key chosen by somebody else.
  Writer& ForeignKey(std::string_view key) {
    Comma();
    AppendQuoted(out_, key);
    out_ += ':';
    comma_ = false;
    return *this;
  }
  // A decimal key (maps with integer keys).
  Writer& NumberKey(std::uint64_t key) {
    Comma();
    out_ += '"';
    AppendNumber(key);
    out_ += "\":";
    comma_ = false;
    return *this;
  }

  Writer& Value(std::string_view text) {
    Comma();
    AppendQuoted(out_, text);
    return *this;
  }
  Writer& Value(const char* text) { return Value(std::string_view(text)); }
  Writer& Value(const std::string& text) { return Value(std::string_view(text)); }
  template <std::same_as<bool> Bool>
  Writer& Value(Bool value) {
    Comma();
    out_ += value ? "true" : "false";
    return *this;
  }
  template <std::integral Number>
    requires(!std::same_as<Number, bool> && !std::same_as<Number, char>)
  Writer& Value(Number value) {
    Comma();
    AppendNumber(value);
    return *this;
  }
  // Shortest text that reads back as the same number; not finite becomes null.
  Writer& Value(double value);
  Writer& Null() { return Raw("null"); }
  // Text that is JSON already (one value).
  Writer& Raw(std::string_view value) {
    Comma();
    out_ += value;
    return *this;
  }
  // A string that needs no escaping: keys, addresses, times, base64.
  Writer& Plain(std::string_view text) {
    Comma();
    out_ += '"';
    out_ += text;
    out_ += '"';
    return *this;
  }

  template <class T>
  Writer& Field(std::string_view key, const T& value) {
    Key(key);
    return Value(value);
  }
  Writer& PlainField(std::string_view key, std::string_view value) {
    Key(key);
    return Plain(value);
  }
  Writer& RawField(std::string_view key, std::string_view value) {
    Key(key);
    return Raw(value);
  }

  [[nodiscard]] std::string& out() { return out_; }

 private:
  void Comma() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  Writer& Open(char bracket) {
    Comma();
    out_ += bracket;
    comma_ = false;
    return *this;
  }
  Writer& Close(char bracket) {
    out_ += bracket;
    comma_ = true;
    return *this;
  }
  template <std::integral Number>
  void AppendNumber(Number value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out_.append(digits, end);
  }

  std::string& out_;
  bool comma_ = false;  // the next value or key needs a comma before it
};

}  // namespace ringscale::core::json

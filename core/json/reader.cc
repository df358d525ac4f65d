#include "core/json/reader.h"

#include <simdjson.h>

#include <bit>
#include <utility>

#include "core/json/writer.h"

namespace ringscale::core::json {

namespace dom = simdjson::dom;

// Translates between our opaque handles and simdjson's, which are two words.
struct ValueAccess {
  static_assert(sizeof(dom::element) == sizeof(Value::Handle));
  static_assert(sizeof(dom::array::iterator) == sizeof(Value::Handle));
  static_assert(sizeof(dom::object::iterator) == sizeof(Value::Handle));

  template <class T>
  static Value::Handle Pack(const T& object) {
    return std::bit_cast<Value::Handle>(object);
  }
  template <class T>
  static T Unpack(const Value::Handle& handle) {
    return std::bit_cast<T>(handle);
  }
  static dom::element Element(const Value& value) { return Unpack<dom::element>(value.handle_); }
  static Kind KindOf(dom::element element) {
    switch (element.type()) {
      case dom::element_type::ARRAY:
        return Kind::kArray;
      case dom::element_type::OBJECT:
        return Kind::kObject;
      case dom::element_type::INT64:
        return Kind::kInt;
      case dom::element_type::UINT64:
        return Kind::kUint;
      case dom::element_type::DOUBLE:
        return Kind::kDouble;
      case dom::element_type::STRING:
        return Kind::kString;
      case dom::element_type::BOOL:
        return Kind::kBool;
      case dom::element_type::NULL_VALUE:
        return Kind::kNull;
    }
    return Kind::kMissing;
  }
  static Value Make(dom::element element) {
    Value value;
    value.kind_ = KindOf(element);
    value.handle_ = Pack(element);
    return value;
  }
  template <class Iterator>
  static void Load(Value::Cursor& cursor) {
    const auto at = Unpack<Iterator>(cursor.at);
    cursor.valid = at != Unpack<Iterator>(cursor.end);
    if (!cursor.valid) return;
    dom::element element;
    if constexpr (std::is_same_v<Iterator, dom::object::iterator>) {
      cursor.key = at.key();
      element = at.value();
    } else {
      element = *at;
    }
    cursor.kind = KindOf(element);
    cursor.element = Pack(element);
  }
};

std::optional<bool> Value::AsBool() const {
  if (kind_ != Kind::kBool) return std::nullopt;
  bool value = false;
  if (ValueAccess::Element(*this).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::optional<std::int64_t> Value::AsInt() const {
  if (kind_ != Kind::kInt) return std::nullopt;
  std::int64_t value = 0;
  if (ValueAccess::Element(*this).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> Value::AsUint() const {
  if (kind_ != Kind::kInt && kind_ != Kind::kUint) return std::nullopt;
  std::uint64_t value = 0;
  if (ValueAccess::Element(*this).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::optional<double> Value::AsDouble() const {
  if (kind_ != Kind::kInt && kind_ != Kind::kUint && kind_ != Kind::kDouble) return std::nullopt;
  double value = 0;
  if (ValueAccess::Element(*this).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::optional<std::string_view> Value::AsString() const {
  if (kind_ != Kind::kString) return std::nullopt;
  std::string_view value;
  if (ValueAccess::Element(*this).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

Value Value::operator[](std::string_view key) const {
  Value found;
  Members([&](std::string_view name, Value value) {
    if (name == key) found = value;
    return true;
  });
  return found;
}

std::size_t Value::size() const {
  // simdjson saturates its own count at 2^24-1; documents are bounded well below.
  if (kind_ == Kind::kArray) return dom::array(ValueAccess::Element(*this)).size();
  if (kind_ == Kind::kObject) return dom::object(ValueAccess::Element(*this)).size();
  return 0;
}

Value::Cursor Value::Begin() const {
  Cursor cursor;
  if (kind_ == Kind::kArray) {
    const auto array = ValueAccess::Element(*this).get_array().value_unsafe();
    cursor.at = ValueAccess::Pack(array.begin());
    cursor.end = ValueAccess::Pack(array.end());
    ValueAccess::Load<dom::array::iterator>(cursor);
  } else if (kind_ == Kind::kObject) {
    const auto object = ValueAccess::Element(*this).get_object().value_unsafe();
    cursor.object = true;
    cursor.at = ValueAccess::Pack(object.begin());
    cursor.end = ValueAccess::Pack(object.end());
    ValueAccess::Load<dom::object::iterator>(cursor);
  }
  return cursor;
}

void Value::Next(Cursor& cursor) {
  if (cursor.object) {
    auto at = ValueAccess::Unpack<dom::object::iterator>(cursor.at);
    ++at;
    cursor.at = ValueAccess::Pack(at);
    ValueAccess::Load<dom::object::iterator>(cursor);
  } else {
    auto at = ValueAccess::Unpack<dom::array::iterator>(cursor.at);
    ++at;
    cursor.at = ValueAccess::Pack(at);
    ValueAccess::Load<dom::array::iterator>(cursor);
  }
}

// Recursion is bounded by Limits::max_depth of the parse.
void Value::Write(Writer& writer) const {  // NOLINT(misc-no-recursion)
  switch (kind_) {
    case Kind::kMissing:
    case Kind::kNull:
      writer.Null();
      return;
    case Kind::kBool:
      writer.Value(*AsBool());
      return;
    case Kind::kInt:
      writer.Value(*AsInt());
      return;
    case Kind::kUint:
      writer.Value(*AsUint());
      return;
    case Kind::kDouble:
      writer.Value(*AsDouble());
      return;
    case Kind::kString:
      writer.Value(*AsString());
      return;
    case Kind::kArray:
      writer.BeginArray();
      Elements([&](Value value) {  // NOLINT(misc-no-recursion)
        value.Write(writer);
        return true;
      });
      writer.EndArray();
      return;
    case Kind::kObject:
      writer.BeginObject();
      Members([&](std::string_view key, Value value) {  // NOLINT(misc-no-recursion)
        writer.ForeignKey(key);
        value.Write(writer);
        return true;
      });
      writer.EndObject();
      return;
  }
}

std::string Value::Compact() const {
  std::string text;
  Writer writer(text);
  Write(writer);
  return text;
}

// A parser that is kept gives the memory of a long document back (some 14 bytes for
// each of its bytes) when the next one is short.
constexpr std::size_t kKeptCapacity = 64 * 1024;

struct Parser::Impl {
  dom::parser parser;
  std::size_t depth = 0;
};

Parser::Parser() : impl_(std::make_unique<Impl>()) {}
Parser::Parser(Parser&&) noexcept = default;
Parser& Parser::operator=(Parser&&) noexcept = default;
Parser::~Parser() = default;

Result<Value> Parser::Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.max_bytes) {
    return Fail(ErrorCode::kLimit,
                "JSON document is longer than " + std::to_string(limits.max_bytes) + " bytes");
  }
  // Our depth counts nested containers (an empty innermost one is free); simdjson's
  // counts one more level.
  const std::size_t capacity = impl_->parser.capacity();
  const bool too_large = capacity > kKeptCapacity && text.size() <= kKeptCapacity;
  if (capacity < text.size() || too_large || impl_->depth != limits.max_depth) {
    if (impl_->parser.allocate(std::max<std::size_t>(text.size(), 1024), limits.max_depth + 1) !=
        simdjson::SUCCESS) {
      return Fail(ErrorCode::kUnavailable, "no memory to read JSON");
    }
    impl_->depth = limits.max_depth;
  }
  dom::element root;
  const simdjson::error_code error = impl_->parser.parse(text.data(), text.size(), true).get(root);
  if (error == simdjson::DEPTH_ERROR) {
    return Fail(ErrorCode::kLimit,
                "JSON is nested deeper than " + std::to_string(limits.max_depth) + " levels");
  }
  if (error != simdjson::SUCCESS) {
    return Fail(ErrorCode::kInvalid,
                std::string("not valid JSON: ") + simdjson::error_message(error));
  }
  return ValueAccess::Make(root);
}

}  // namespace ringscale::core::json

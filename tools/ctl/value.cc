#include "tools/ctl/value.h"

#include "core/json/reader.h"

namespace ringscale::ctl {
namespace {

Value Convert(const core::json::Value& source) {
  using core::json::Kind;
  switch (source.kind()) {
    case Kind::kMissing:
    case Kind::kNull:
      return {};
    case Kind::kBool:
      return Value::Bool(source.AsBool().value_or(false));
    case Kind::kInt:
    case Kind::kUint:
    case Kind::kDouble:
      return Value::Number(source.Compact());
    case Kind::kString:
      return Value::String(std::string(source.AsString().value_or("")));
    case Kind::kArray: {
      Value array = Value::Array();
      source.Elements([&array](const core::json::Value& item) {
        array.Append(Convert(item));
        return true;
      });
      return array;
    }
    case Kind::kObject: {
      Value object = Value::Object();
      source.Members([&object](std::string_view name, const core::json::Value& member) {
        object.Set(std::string(name), Convert(member));
        return true;
      });
      return object;
    }
  }
  return {};
}

}  // namespace

Value Value::Bool(bool value) {
  Value out;
  out.kind_ = Kind::kBool;
  out.truth_ = value;
  return out;
}

Value Value::Number(std::string text) {
  Value out;
  out.kind_ = Kind::kNumber;
  out.text_ = std::move(text);
  return out;
}

Value Value::String(std::string text) {
  Value out;
  out.kind_ = Kind::kString;
  out.text_ = std::move(text);
  return out;
}

Value Value::Array(std::vector<Value> items) {
  Value out;
  out.kind_ = Kind::kArray;
  out.items_ = std::move(items);
  return out;
}

Value Value::Strings(const std::vector<std::string>& items) {
  Value out = Array();
  for (const std::string& item : items) out.items_.push_back(String(item));
  return out;
}

Value Value::Object(std::vector<Member> members) {
  Value out;
  out.kind_ = Kind::kObject;
  out.members_ = std::move(members);
  return out;
}

core::Result<Value> Value::Parse(std::string_view json) {
  core::json::Parser parser;
  // What Exchange takes at most; the reader bounds the depth.
  auto root = parser.Parse(json, {.max_bytes = 64 * 1024 * 1024});
  if (!root) return core::Forward(root);
  return Convert(*root);
}

const Value& Value::operator[](std::string_view name) const {
  static const Value none;
  for (const Member& member : members_) {
    if (member.first == name) return member.second;
  }
  return none;
}

std::vector<std::string> Value::strings() const {
  std::vector<std::string> out;
  out.reserve(items_.size());
  for (const Value& item : items_) out.push_back(item.text());
  return out;
}

void Value::Set(std::string name, Value value) {
  members_.emplace_back(std::move(name), std::move(value));
}

}  // namespace ringscale::ctl

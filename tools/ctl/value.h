// A JSON document in memory, members in the order of the text. Small documents
// only: what the API answers to a command.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace ringscale::ctl {

class Value {
 public:
  enum class Kind : unsigned char { kNull, kBool, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, Value>;

  Value() = default;
  static Value Bool(bool value);
  static Value Number(std::string text);  // as written in JSON
  static Value String(std::string text);
  static Value Array(std::vector<Value> items = {});
  static Value Strings(const std::vector<std::string>& items);
  static Value Object(std::vector<Member> members = {});

  static core::Result<Value> Parse(std::string_view json);

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_null() const { return kind_ == Kind::kNull; }
  // Accessors give an empty value where the kind is another one or the member is
  // missing: an answer of a newer or older server must not crash a command.
  [[nodiscard]] const std::string& text() const { return text_; }  // string or number
  [[nodiscard]] bool truth() const { return truth_; }
  [[nodiscard]] const std::vector<Value>& items() const { return items_; }
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  [[nodiscard]] const Value& operator[](std::string_view name) const;
  // The items of an array of strings.
  [[nodiscard]] std::vector<std::string> strings() const;

  void Set(std::string name, Value value);  // appends a member
  void Append(Value item) { items_.push_back(std::move(item)); }

 private:
  Kind kind_ = Kind::kNull;
  bool truth_ = false;
  std::string text_;
  std::vector<Value> items_;
  std::vector<Member> members_;
};

}  // namespace ringscale::ctl

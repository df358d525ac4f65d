// Reading JSON that somebody else wrote: bounded in size and depth, strict
// (RFC 8259, UTF-8), never throwing. A thin layer over simdjson's DOM that keeps
// its headers out of ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::core::json {

class Writer;

enum class Kind : std::uint8_t {
  kMissing,  // no such member or element
  kNull,
  kBool,
  kInt,     // fits std::int64_t
  kUint,    // above that, fits std::uint64_t
  kDouble,  // written with a fraction or an exponent
  kString,
  kArray,
  kObject,
};

// A handle to one value of a parsed document, cheap to copy; valid as long as
// the document (and for Parser: until its next Parse).
class Value {
 public:
  Value() = default;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool missing() const { return kind_ == Kind::kMissing; }
  [[nodiscard]] bool is_null() const { return kind_ == Kind::kNull; }
  // Missing or null: what Go leaves at its zero value.
  [[nodiscard]] bool absent() const { return missing() || is_null(); }
  [[nodiscard]] bool is_object() const { return kind_ == Kind::kObject; }
  [[nodiscard]] bool is_array() const { return kind_ == Kind::kArray; }

  // nullopt when the value is of another kind or does not fit.
  [[nodiscard]] std::optional<bool> AsBool() const;
  [[nodiscard]] std::optional<std::int64_t> AsInt() const;
  [[nodiscard]] std::optional<std::uint64_t> AsUint() const;
  [[nodiscard]] std::optional<double> AsDouble() const;  // any number
  [[nodiscard]] std::optional<std::string_view> AsString() const;

  // The member of an object; missing when there is none or this is no object.
  // Of several members with that key the last one counts, as in Go.
  [[nodiscard]] Value operator[](std::string_view key) const;
  // Number of elements or members; 0 for scalars.
  [[nodiscard]] std::size_t size() const;

  // Calls `visit(Value)` per element / `visit(std::string_view key, Value)` per
  // member, in order; stops early when it returns false.
  template <class Visit>
  void Elements(Visit&& visit) const {
    if (kind_ != Kind::kArray) return;
    for (Cursor at = Begin(); at.valid; Next(at)) {
      if (!visit(at.value())) return;
    }
  }
  template <class Visit>
  void Members(Visit&& visit) const {
    if (kind_ != Kind::kObject) return;
    for (Cursor at = Begin(); at.valid; Next(at)) {
      if (!visit(at.key, at.value())) return;
    }
  }

  // Writes the value as compact JSON.
  void Write(Writer& writer) const;
  [[nodiscard]] std::string Compact() const;

 private:
  friend class Parser;
  friend struct ValueAccess;
  using Handle = std::array<std::uintptr_t, 2>;
  struct Cursor {
    Handle at{};
    Handle end{};
    Handle element{};
    Kind kind = Kind::kMissing;
    std::string_view key;
    bool valid = false;
    bool object = false;
    [[nodiscard]] Value value() const {
      Value result;
      result.kind_ = kind;
      result.handle_ = element;
      return result;
    }
  };
  [[nodiscard]] Cursor Begin() const;
  static void Next(Cursor& cursor);

  Handle handle_{};
  Kind kind_ = Kind::kMissing;
};

struct Limits {
  std::size_t max_bytes = 1024 * 1024;
  std::size_t max_depth = 32;
};

// Owns the memory of one parsed document and reuses it for the next.
class Parser {
 public:
  Parser();
  Parser(Parser&&) noexcept;
  Parser& operator=(Parser&&) noexcept;
  ~Parser();

  // kLimit when too long or too deep, else kInvalid. The text is copied.
  Result<Value> Parse(std::string_view text, const Limits& limits = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringscale::core::json

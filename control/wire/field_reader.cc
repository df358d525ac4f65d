#include "control/wire/field_reader.h"

#include <limits>

namespace ringscale::control {

using core::ErrorCode;
using core::json::Value;

void FieldReader::Read(std::string_view key, Value value, bool& out) {
  if (value.absent()) return;
  if (const auto parsed = value.AsBool()) {
    out = *parsed;
  } else {
    Refuse(key, "true or false");
  }
}

void FieldReader::Read(std::string_view key, Value value, std::uint32_t& out) {
  if (value.absent()) return;
  const auto parsed = value.AsUint();
  if (parsed && *parsed <= std::numeric_limits<std::uint32_t>::max()) {
    out = static_cast<std::uint32_t>(*parsed);
  } else {
    Refuse(key, "a small non-negative number");
  }
}

void FieldReader::Read(std::string_view key, Value value, std::string& out, std::size_t max_bytes) {
  if (value.absent()) return;
  const auto text = value.AsString();
  if (!text) {
    Refuse(key, "a string");
  } else if (text->size() > max_bytes) {
    RefuseTooLong(key, max_bytes);
  } else {
    out = *text;
  }
}

void FieldReader::Read(std::string_view key, Value value, std::optional<core::WallTime>& out) {
  if (value.absent()) return;
  const auto text = value.AsString();
  if (!text) {
    Refuse(key, "a time (RFC 3339)");
    return;
  }
  out.reset();
  if (core::IsGoZeroTime(*text)) return;
  out = core::ParseRfc3339(*text);
  if (!out) Refuse(key, "a time (RFC 3339)");
}

void FieldReader::ReadObject(std::string_view key, Value value, std::string& out,
                             std::size_t max_bytes) {
  if (value.absent()) return;
  if (!value.is_object()) {
    Refuse(key, "an object");
    return;
  }
  std::string text = value.Compact();
  if (text.size() > max_bytes) {
    RefuseTooLong(key, max_bytes);
    return;
  }
  out = std::move(text);
}

void FieldReader::Refuse(std::string_view key, std::string_view expected) {
  if (error_) return;
  error_ = core::Error{ErrorCode::kInvalid, std::string(what_) + ": " + std::string(key) +
                                                " must be " + std::string(expected)};
}

void FieldReader::RefuseTooLong(std::string_view key, std::size_t max_bytes) {
  if (error_) return;
  error_ =
      core::Error{ErrorCode::kLimit, std::string(what_) + ": " + std::string(key) +
                                         " is longer than " + std::to_string(max_bytes) + " bytes"};
}

}  // namespace ringscale::control

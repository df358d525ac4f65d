// Reads the members of one JSON object into typed fields with the rules of Go's
// encoding/json: null and absent leave the zero value, a wrong type is an error
// for the whole message, unknown members are ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/json/reader.h"

namespace ringscale::control {

class FieldReader {
 public:
  // `what` names the message in errors ("register request").
  explicit FieldReader(std::string_view what) : what_(what) {}

  void Read(std::string_view key, core::json::Value value, bool& out);
  void Read(std::string_view key, core::json::Value value, std::uint32_t& out);
  void Read(std::string_view key, core::json::Value value, std::string& out, std::size_t max_bytes);
  // Text form of a key; the all-zero form is the zero key.
  template <class Key>
    requires requires { Key::Parse(std::string_view()); }
  void Read(std::string_view key, core::json::Value value, Key& out) {
    if (value.absent()) return;
    const auto text = value.AsString();
    const auto parsed = text ? Key::Parse(*text) : std::nullopt;
    if (!parsed) {
      Refuse(key, "a key in text form");
      return;
    }
    out = *parsed;
  }
  // Go's zero time gives nullopt.
  void Read(std::string_view key, core::json::Value value, std::optional<core::WallTime>& out);
  // An object, kept as compact JSON; `max_bytes` counts that text.
  void ReadObject(std::string_view key, core::json::Value value, std::string& out,
                  std::size_t max_bytes);

  // Only the first problem is kept.
  void Refuse(std::string_view key, std::string_view expected);
  void RefuseTooLong(std::string_view key, std::size_t max_bytes);

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  [[nodiscard]] const core::Error& error() const { return *error_; }

 private:
  std::string_view what_;
  std::optional<core::Error> error_;
};

}  // namespace ringscale::control

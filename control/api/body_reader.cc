#include "control/api/body_reader.h"

#include <algorithm>

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxErrors = 20;

}  // namespace

BodyReader::BodyReader(std::string_view body) {
  if (body.empty()) return;
  auto root = parser_.Parse(body);
  if (!root) {
    malformed_ = true;
    errors_.push_back({root.error().message, "body"});
  } else if (!root->is_object()) {
    malformed_ = true;
    errors_.push_back({"expected object", "body"});
  } else {
    root_ = *root;
  }
}

core::json::Value BodyReader::Take(std::string_view name) {
  taken_.emplace_back(name);
  return malformed_ ? core::json::Value() : root_[name];
}

void BodyReader::Complain(std::string_view name, std::string message) {
  errors_.push_back({std::move(message), "body." + std::string(name)});
}

std::string BodyReader::String(std::string_view name) {
  const core::json::Value value = Take(name);
  if (value.absent()) return "";
  const auto text = value.AsString();
  if (!text) Complain(name, "expected string");
  return std::string(text.value_or(""));
}

bool BodyReader::Bool(std::string_view name) {
  const core::json::Value value = Take(name);
  if (value.absent()) return false;
  const auto flag = value.AsBool();
  if (!flag) Complain(name, "expected boolean");
  return flag.value_or(false);
}

std::vector<std::string> BodyReader::Strings(std::string_view name) {
  const core::json::Value value = Take(name);
  std::vector<std::string> out;
  if (value.absent()) return out;
  if (!value.is_array()) {
    Complain(name, "expected array");
    return out;
  }
  value.Elements([&](const core::json::Value& item) {
    const auto text = item.AsString();
    if (!text) Complain(name, "expected array of strings");
    out.emplace_back(text.value_or(""));
    return text.has_value();
  });
  return out;
}

std::optional<core::WallTime> BodyReader::Time(std::string_view name) {
  const core::json::Value value = Take(name);
  if (value.absent()) return std::nullopt;
  const auto text = value.AsString();
  if (text && core::IsGoZeroTime(*text)) return std::nullopt;
  const auto time = text ? core::ParseRfc3339(*text) : std::nullopt;
  if (!time) Complain(name, "expected string to be RFC 3339 date-time");
  return time;
}

std::optional<AdminResponse> BodyReader::Refusal() {
  if (malformed_) return Problem(400, "invalid request body", errors_);
  root_.Members([this](std::string_view name, const core::json::Value&) {
    if (std::ranges::find(taken_, name) == taken_.end()) {
      Complain(name.substr(0, 100), "unexpected property");
    }
    return errors_.size() < kMaxErrors;
  });
  if (errors_.empty()) return std::nullopt;
  return Problem(422, "validation failed", errors_);
}

}  // namespace ringscale::control

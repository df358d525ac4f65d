// The members of a request's JSON object. Every member is optional; unknown ones
// and wrong types are collected, so that one answer names all mistakes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/api/admin_request.h"
#include "control/api/problem.h"
#include "core/base/time.h"
#include "core/json/reader.h"

namespace ringscale::control {

class BodyReader {
 public:
  // An empty body is an empty object.
  explicit BodyReader(std::string_view body);

  [[nodiscard]] std::string String(std::string_view name);
  [[nodiscard]] bool Bool(std::string_view name);
  [[nodiscard]] std::vector<std::string> Strings(std::string_view name);
  // nullopt when absent, null or Go's zero time.
  [[nodiscard]] std::optional<core::WallTime> Time(std::string_view name);

  // After all members were asked for: what is wrong with the body, if anything.
  [[nodiscard]] std::optional<AdminResponse> Refusal();

 private:
  core::json::Value Take(std::string_view name);
  void Complain(std::string_view name, std::string message);

  core::json::Parser parser_;
  core::json::Value root_;
  bool malformed_ = false;
  std::vector<std::string> taken_;
  std::vector<ProblemError> errors_;
};

}  // namespace ringscale::control

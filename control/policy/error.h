// What is wrong with a policy, and where. The message is the hosted service's
// wording where that is known, so that tools which look for it keep working.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringscale::control::policy {

// A place in the policy's text; lines and columns count from 1, columns in
// characters. Line 0: the document as a whole.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  auto operator<=>(const Position&) const = default;
};

struct PolicyError {
  Position at;
  std::string message;
  // One line each: what is allowed, or which test failed and why.
  std::vector<std::string> details;

  // "line 3, column 7: message", then the details, each on a line of its own.
  [[nodiscard]] std::string text() const;
};

template <class T = void>
using Checked = std::expected<T, PolicyError>;

[[nodiscard]] inline std::unexpected<PolicyError> Refuse(Position at, std::string message,
                                                         std::vector<std::string> details = {}) {
  return std::unexpected(PolicyError{at, std::move(message), std::move(details)});
}

// "text" in double quotes, with control characters and quotes escaped as in Go.
[[nodiscard]] std::string Quoted(std::string_view text);

}  // namespace ringscale::control::policy

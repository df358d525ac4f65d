// Errors as values. Every fallible call of the project returns Result<T>.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace ringscale::core {

// What kind of trouble it is; decides exit codes and HTTP statuses. The message
// says what was wrong and what to do, in words for the person who reads it.
enum class ErrorCode : std::uint8_t {
  kInvalid,  // malformed input
  kNotFound,
  kExists,
  kConflict,  // valid, but not in this state
  kPermission,
  kLimit,        // a configured bound was reached
  kUnavailable,  // try again later
  kIo,           // the operating system refused
  kCorrupt,      // stored or authenticated bytes are damaged
  kTimeout,
  kClosed,
  kUnsupported,
  kInternal,
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <class T = void>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

// An operating-system failure: "<what>: <strerror(errno_value)>".
[[nodiscard]] std::unexpected<Error> FailErrno(std::string what, int errno_value);

// Passes the error of one call on as the error of another, whatever their types.
template <class T>
[[nodiscard]] std::unexpected<Error> Forward(Result<T>& result) {
  return std::unexpected<Error>(std::move(result.error()));
}
template <class T>
[[nodiscard]] std::unexpected<Error> Forward(Result<T>&& result) {
  return std::unexpected<Error>(std::move(result.error()));
}

}  // namespace ringscale::core

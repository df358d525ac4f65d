// HTTP/1.1 requests (RFC 9112), parsed as the bytes come. Sans-IO and strict:
// whatever two parsers could read differently is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/http/header.h"

namespace ringscale::core::http {

struct HttpRequest {
  std::string method;
  std::string target;  // as received
  std::string path;    // begins with '/', not percent-decoded; "*" for OPTIONS *
  std::string query;   // after '?', without it
  bool http10 = false;
  bool keep_alive = true;  // what the client wants of the connection afterwards
  std::vector<Header> headers;
  std::string body;

  [[nodiscard]] std::string_view header(std::string_view lower_name) const {
    return FindHeader(headers, lower_name);
  }
  [[nodiscard]] std::string_view host() const { return header("host"); }
};

// The value of a query parameter, percent-decoded ('+' is a space). Empty when
// absent or badly encoded.
std::string QueryValue(std::string_view query, std::string_view name);
// A path segment or query value; empty when an escape is malformed.
std::string PercentDecode(std::string_view text, bool plus_is_space);

struct H1Limits {
  std::size_t head_bytes = 16 * 1024;  // request line and header fields with their line ends
  std::size_t header_count = 64;
};

class RequestParser {
 public:
  enum class Status : std::uint8_t {
    kNeedMore,
    // The head is complete; said once. Nothing after it was consumed. Set the
    // body limit, or take the connection over (upgrade).
    kHead,
    // The request is complete with its body.
    kComplete,
  };

  explicit RequestParser(H1Limits limits = {}) : limits_(limits) {}

  // Consumes bytes from the front of `bytes`. After an error the connection is
  // to be closed once the refusal is sent.
  std::expected<Status, HttpError> Feed(Bytes& bytes);

  // Bodies above it are refused with 413; none are accepted before it is set.
  void SetBodyLimit(std::size_t limit) { body_limit_ = limit; }
  // The client waits for "100 Continue" before it sends the body.
  [[nodiscard]] bool wants_continue() const { return expect_continue_; }
  [[nodiscard]] bool has_body() const { return chunked_ || content_length_ > 0; }
  // Bytes of the next request have been seen (deadlines differ while idle).
  [[nodiscard]] bool idle() const { return state_ == State::kHead && head_.empty(); }

  [[nodiscard]] HttpRequest& request() { return request_; }
  // For the next request of the connection.
  void Reset();

 private:
  enum class State : std::uint8_t {
    kHead,
    kBodyStart,
    kBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kComplete,
    kFailed,
  };
  using Step = std::expected<Status, HttpError>;

  Step FeedHead(Bytes& bytes);
  Step StartBody();
  Step FeedBody(Bytes& bytes);
  Step FeedChunkLine(Bytes& bytes);
  Step FeedChunkData(Bytes& bytes);
  std::expected<void, HttpError> ParseHead(std::string_view head);
  std::expected<void, HttpError> ParseRequestLine(std::string_view line);
  std::expected<void, HttpError> ParseHeaderLine(std::string_view line);
  std::expected<void, HttpError> InterpretHeaders();

  H1Limits limits_;
  State state_ = State::kHead;
  std::string head_;  // bytes of an incomplete head, later of an incomplete chunk line
  HttpRequest request_;
  std::size_t body_limit_ = 0;
  std::uint64_t content_length_ = 0;
  std::uint64_t remaining_ = 0;  // of the body or of the current chunk
  std::size_t overhead_ = 0;     // empty lines, chunk sizes and trailers: limited
  bool chunked_ = false;
  bool expect_continue_ = false;
};

}  // namespace ringscale::core::http

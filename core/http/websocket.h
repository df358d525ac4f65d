// The server's side of WebSocket (RFC 6455), used as a byte stream: messages are
// binary, their boundaries mean nothing, nothing is compressed. Sans-IO.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/http/h1_request.h"

namespace ringscale::core::http {

// Close codes, RFC 6455 section 7.4.1.
enum class WebSocketClose : std::uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kUnsupportedData = 1003,
  kPolicyViolation = 1008,
  kTooBig = 1009,
  kInternalError = 1011,
};

// Answers an opening handshake with the 101 response that selects `protocol`.
// Fails with the status to answer when the request is not a proper handshake.
// When the client did not offer the protocol, the response selects none: send it
// and then a close with kPolicyViolation (`offered` tells).
struct WebSocketAccepted {
  std::string response;
  bool offered = false;
};
std::expected<WebSocketAccepted, HttpError> AcceptWebSocket(const HttpRequest& request,
                                                            std::string_view protocol);

class WebSocket {
 public:
  struct Limits {
    // A message of all its fragments, and a single frame. The libraries on the
    // other side keep to 32,768.
    std::uint64_t message_bytes = 64 * 1024;
    // Control and empty frames without a byte of data in between.
    std::uint32_t idle_frames = 256;
  };

  WebSocket() = default;
  explicit WebSocket(const Limits& limits) : limits_(limits) {}

  // Unmasks in place and passes on the data as it comes. kClosed after the
  // peer's close frame; any other error is the peer's fault. In both cases send
  // what TakeOutput holds, then close the connection.
  using Sink = std::function<void(MutableBytes data)>;
  Result<> Receive(MutableBytes bytes, const Sink& sink);

  // Pongs and the close frame; bounded by one pong and one close.
  [[nodiscard]] std::string TakeOutput();
  [[nodiscard]] bool has_output() const { return !pong_.empty() || !close_.empty(); }

  // Starts the closing handshake: nothing may be sent after its frame.
  void Close(WebSocketClose code);

  // The header of a binary message of `size` bytes, to be followed by them.
  static void AppendHeader(std::size_t size, std::string& out);
  // Messages that stock clients accept are at most so long.
  static constexpr std::size_t kMaxSend = 32 * 1024;

 private:
  std::unexpected<Error> Broken(WebSocketClose code, std::string text);
  Result<> StartFrame();
  Result<> FinishControl();

  Limits limits_;
  std::array<std::uint8_t, 14> header_{};
  std::uint8_t header_size_ = 0;  // bytes of it received
  std::uint8_t header_needed_ = 2;
  bool in_payload_ = false;
  std::uint8_t opcode_ = 0;
  std::uint8_t mask_offset_ = 0;
  bool final_ = false;
  bool in_message_ = false;  // between the fragments of a message
  bool closed_ = false;
  std::uint64_t remaining_ = 0;
  std::uint64_t message_size_ = 0;
  std::uint32_t idle_frames_ = 0;
  std::array<std::uint8_t, 4> mask_{};
  std::string control_;  // payload of a control frame, at most 125 bytes
  std::string pong_;
  std::string close_;
};

}  // namespace ringscale::core::http

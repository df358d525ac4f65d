#include "core/http/websocket.h"

#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "core/base/base64.h"
#include "core/http/h1_response.h"

namespace ringscale::core::http {
namespace {

constexpr std::uint8_t kContinuation = 0;
constexpr std::uint8_t kText = 1;
constexpr std::uint8_t kBinary = 2;
constexpr std::uint8_t kClose = 8;
constexpr std::uint8_t kPing = 9;
constexpr std::uint8_t kPong = 10;
constexpr std::size_t kMaxControl = 125;
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

std::unexpected<HttpError> Refuse(int status, std::string text) {
  return std::unexpected<HttpError>(HttpError{status, std::move(text)});
}

std::string ControlFrame(std::uint8_t opcode, std::string_view payload) {
  std::string frame;
  frame += static_cast<char>(0x80 | opcode);
  frame += static_cast<char>(payload.size());
  frame += payload;
  return frame;
}

// RFC 6455 section 7.4: what may come over the wire.
bool IsValidCloseCode(std::uint16_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

}  // namespace

std::expected<WebSocketAccepted, HttpError> AcceptWebSocket(const HttpRequest& request,
                                                            std::string_view protocol) {
  if (request.method != "GET" || request.http10 ||
      !HeaderListHas(request.headers, "upgrade", "websocket") ||
      !HeaderListHas(request.headers, "connection", "upgrade")) {
    return Refuse(400, "this is not a WebSocket handshake");
  }
  if (request.header("sec-websocket-version") != "13") {
    return Refuse(426, "the WebSocket version here is 13");
  }
  const std::string_view key = request.header("sec-websocket-key");
  const auto raw_key = Base64Decode(key);
  if (!raw_key || raw_key->size() != 16) return Refuse(400, "malformed Sec-WebSocket-Key");

  std::string seed(key);
  seed += kGuid;
  std::array<std::uint8_t, SHA_DIGEST_LENGTH> digest{};
  SHA1(AsBytes(seed).data(), seed.size(), digest.data());
  const std::string accept = Base64Encode(digest);

  WebSocketAccepted accepted;
  accepted.offered = HeaderListHas(request.headers, "sec-websocket-protocol", protocol);
  if (accepted.offered) {
    accepted.response = SwitchingProtocols({{"Upgrade", "websocket"},
                                            {"Connection", "Upgrade"},
                                            {"Sec-WebSocket-Accept", accept},
                                            {"Sec-WebSocket-Protocol", protocol}});
  } else {
    accepted.response = SwitchingProtocols(
        {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Accept", accept}});
  }
  return accepted;
}

std::unexpected<Error> WebSocket::Broken(WebSocketClose code, std::string text) {
  Close(code);
  return Fail(code == WebSocketClose::kTooBig ? ErrorCode::kLimit : ErrorCode::kInvalid,
              "WebSocket: " + std::move(text));
}

Result<> WebSocket::Receive(MutableBytes bytes, const Sink& sink) {
  if (closed_) return Fail(ErrorCode::kClosed, "WebSocket: closed");
  while (!bytes.empty() || (in_payload_ && remaining_ == 0)) {
    if (!in_payload_) {
      const std::size_t taken = std::min<std::size_t>(header_needed_ - header_size_, bytes.size());
      std::copy_n(bytes.begin(), taken, header_.begin() + header_size_);
      header_size_ = static_cast<std::uint8_t>(header_size_ + taken);
      bytes = bytes.subspan(taken);
      if (header_size_ < header_needed_) return {};
      if (auto started = StartFrame(); !started) return started;
      continue;
    }
    const std::size_t taken =
        static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
    const MutableBytes data = bytes.first(taken);
    for (std::uint8_t& byte : data) {
      byte = static_cast<std::uint8_t>(byte ^ mask_[mask_offset_]);
      mask_offset_ = (mask_offset_ + 1) & 3;
    }
    bytes = bytes.subspan(taken);
    remaining_ -= taken;
    if (opcode_ >= kClose) {
      control_.append(AsText(data));
    } else if (!data.empty()) {
      idle_frames_ = 0;
      sink(data);
    }
    if (remaining_ > 0) return {};
    in_payload_ = false;
    if (opcode_ >= kClose) {
      if (auto done = FinishControl(); !done) return done;
    } else if (final_) {
      in_message_ = false;
      message_size_ = 0;
    }
  }
  return {};
}

// Called whenever header_needed_ bytes of the header are there; the first two
// bytes tell how long it really is.
Result<> WebSocket::StartFrame() {
  const std::uint8_t length7 = header_[1] & 0x7f;
  if (header_needed_ == 2) {
    if ((header_[0] & 0x70) != 0) return Broken(WebSocketClose::kProtocolError, "reserved bit set");
    if ((header_[1] & 0x80) == 0) return Broken(WebSocketClose::kProtocolError, "unmasked frame");
    header_needed_ = static_cast<std::uint8_t>(6 + (length7 == 126 ? 2 : length7 == 127 ? 8 : 0));
    return {};
  }
  opcode_ = header_[0] & 0x0f;
  final_ = (header_[0] & 0x80) != 0;
  remaining_ = length7;
  if (length7 == 126) remaining_ = LoadBe16(&header_[2]);
  if (length7 == 127) remaining_ = LoadBe64(&header_[2]);
  if ((length7 == 126 && remaining_ < 126) || (length7 == 127 && remaining_ < 65536)) {
    return Broken(WebSocketClose::kProtocolError, "length not in its shortest form");
  }
  std::copy_n(header_.begin() + (header_needed_ - 4), 4, mask_.begin());
  mask_offset_ = 0;
  header_size_ = 0;
  header_needed_ = 2;
  in_payload_ = true;

  if (opcode_ >= kClose) {
    if (opcode_ > kPong) return Broken(WebSocketClose::kProtocolError, "unknown opcode");
    if (!final_ || remaining_ > kMaxControl) {
      return Broken(WebSocketClose::kProtocolError, "control frame fragmented or too long");
    }
    control_.clear();
  } else {
    if (opcode_ == kText) return Broken(WebSocketClose::kUnsupportedData, "text message");
    if (opcode_ > kBinary) return Broken(WebSocketClose::kProtocolError, "unknown opcode");
    if ((opcode_ == kContinuation) != in_message_) {
      return Broken(WebSocketClose::kProtocolError, "fragment out of place");
    }
    in_message_ = true;
    if (remaining_ > limits_.message_bytes - message_size_) {
      return Broken(WebSocketClose::kTooBig, "message too long");
    }
    message_size_ += remaining_;
  }
  if ((opcode_ >= kClose || remaining_ == 0) && ++idle_frames_ > limits_.idle_frames) {
    return Broken(WebSocketClose::kPolicyViolation, "too many frames without data");
  }
  return {};
}

Result<> WebSocket::FinishControl() {
  if (opcode_ == kPing) {
    // Only the latest ping needs its answer (RFC 6455 section 5.5.3).
    pong_ = ControlFrame(kPong, control_);
    return {};
  }
  if (opcode_ == kPong) return {};
  if (control_.size() == 1) return Broken(WebSocketClose::kProtocolError, "malformed close");
  if (control_.size() >= 2) {
    const std::uint16_t code = LoadBe16(AsBytes(control_).data());
    if (!IsValidCloseCode(code)) {
      return Broken(WebSocketClose::kProtocolError, "malformed close code");
    }
    Close(static_cast<WebSocketClose>(code));
  } else if (close_.empty()) {
    closed_ = true;
    close_ = ControlFrame(kClose, {});
  }
  return Fail(ErrorCode::kClosed, "WebSocket: closed by the peer");
}

void WebSocket::Close(WebSocketClose code) {
  if (closed_) return;
  closed_ = true;
  std::array<std::uint8_t, 2> payload{};
  StoreBe16(payload.data(), static_cast<std::uint16_t>(code));
  close_ = ControlFrame(kClose, AsText(payload));
}

std::string WebSocket::TakeOutput() {
  std::string out = std::exchange(pong_, {});
  out += std::exchange(close_, {});
  return out;
}

void WebSocket::AppendHeader(std::size_t size, std::string& out) {
  std::array<std::uint8_t, 10> header{};
  header[0] = 0x80 | kBinary;
  std::size_t length = 2;
  if (size < 126) {
    header[1] = static_cast<std::uint8_t>(size);
  } else if (size < 65536) {
    header[1] = 126;
    StoreBe16(&header[2], static_cast<std::uint16_t>(size));
    length = 4;
  } else {
    header[1] = 127;
    StoreBe64(&header[2], size);
    length = 10;
  }
  out.append(AsText(Bytes(header).first(length)));
}

}  // namespace ringscale::core::http

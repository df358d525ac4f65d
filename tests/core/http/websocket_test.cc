#include "core/http/websocket.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/websocket_frames.h"

namespace ringscale::core::http {
namespace {

using ringscale::testing::WebSocketFrame;

struct Received {
  std::string data;
  Result<> result;
};

Received Feed(WebSocket& socket, std::string bytes, std::size_t step = SIZE_MAX) {
  Received received;
  for (std::size_t at = 0; at < bytes.size() && received.result; at += step) {
    std::string piece = bytes.substr(at, step);
    received.result = socket.Receive({reinterpret_cast<std::uint8_t*>(piece.data()), piece.size()},
                                     [&](MutableBytes data) { received.data += AsText(data); });
    if (step == SIZE_MAX) break;
  }
  return received;
}

std::string CloseFrame(std::uint16_t code) {
  return {'\x88', '\x02', static_cast<char>(code >> 8), static_cast<char>(code)};
}

HttpRequest Handshake() {
  HttpRequest request;
  request.method = "GET";
  request.headers = {{"upgrade", "websocket"},
                     {"connection", "keep-alive, Upgrade"},
                     {"sec-websocket-version", "13"},
                     {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
                     {"sec-websocket-protocol", "other, derp"}};
  return request;
}

TEST(WebSocket, AcceptsTheHandshakeOfTheStandard) {
  const auto accepted = AcceptWebSocket(Handshake(), "derp");
  ASSERT_TRUE(accepted);
  EXPECT_TRUE(accepted->offered);
  EXPECT_EQ(accepted->response,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: derp\r\n\r\n");
}

TEST(WebSocket, SelectsNoProtocolThatWasNotOffered) {
  const auto accepted = AcceptWebSocket(Handshake(), "tailscale-control-protocol");
  ASSERT_TRUE(accepted);
  EXPECT_FALSE(accepted->offered);
  EXPECT_EQ(accepted->response.find("Sec-WebSocket-Protocol"), std::string::npos);
}

TEST(WebSocket, RefusesBrokenHandshakes) {
  const auto status = [](std::string_view header, std::string_view value) {
    HttpRequest request = Handshake();
    for (Header& h : request.headers) {
      if (h.name == header) h.value = value;
    }
    const auto accepted = AcceptWebSocket(request, "derp");
    return accepted ? 101 : accepted.error().status;
  };
  EXPECT_EQ(status("upgrade", "h2c"), 400);
  EXPECT_EQ(status("connection", "close"), 400);
  EXPECT_EQ(status("sec-websocket-version", "8"), 426);
  EXPECT_EQ(status("sec-websocket-key", "short"), 400);
  EXPECT_EQ(status("sec-websocket-key", "AAAA"), 400);
  HttpRequest post = Handshake();
  post.method = "POST";
  EXPECT_FALSE(AcceptWebSocket(post, "derp"));
}

TEST(WebSocket, JoinsMessagesAndFragmentsInAnyPieces) {
  const std::string bytes = WebSocketFrame(0x82, "hello ") + WebSocketFrame(0x02, "wor") +
                            WebSocketFrame(0x89, "ping") + WebSocketFrame(0x00, "") +
                            WebSocketFrame(0x80, "ld") +
                            WebSocketFrame(0x82, std::string(300, 'x'));
  for (const std::size_t step : {std::size_t{1}, std::size_t{5}, SIZE_MAX}) {
    WebSocket socket;
    const Received received = Feed(socket, bytes, step);
    EXPECT_TRUE(received.result);
    EXPECT_EQ(received.data, "hello world" + std::string(300, 'x'));
    EXPECT_EQ(socket.TakeOutput(), "\x8a\x04ping");
    EXPECT_FALSE(socket.has_output());
  }
}

TEST(WebSocket, AnswersOnlyTheLatestPing) {
  WebSocket socket;
  EXPECT_TRUE(Feed(socket, WebSocketFrame(0x89, "one") + WebSocketFrame(0x89, "two") +
                               WebSocketFrame(0x8a, "pong"))
                  .result);
  EXPECT_EQ(socket.TakeOutput(), "\x8a\x03two");
}

TEST(WebSocket, EchoesTheCloseAndStops) {
  WebSocket socket;
  const Received received = Feed(socket, WebSocketFrame(0x82, "a") + WebSocketFrame(0x88,
                                                                                    "\x03\xe8"
                                                                                    "bye"));
  EXPECT_EQ(received.result.error().code, ErrorCode::kClosed);
  EXPECT_EQ(received.data, "a");
  EXPECT_EQ(socket.TakeOutput(), CloseFrame(1000));
  EXPECT_EQ(Feed(socket, WebSocketFrame(0x82, "late")).result.error().code, ErrorCode::kClosed);
  EXPECT_FALSE(socket.has_output());
}

TEST(WebSocket, EchoesACloseWithoutACode) {
  WebSocket socket;
  EXPECT_EQ(Feed(socket, WebSocketFrame(0x88, "")).result.error().code, ErrorCode::kClosed);
  EXPECT_EQ(socket.TakeOutput(), std::string("\x88\x00", 2));
}

struct Bad {
  std::string name;
  std::string bytes;
  std::uint16_t code;
  friend void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }
};

class WebSocketViolation : public ::testing::TestWithParam<Bad> {};

TEST_P(WebSocketViolation, ClosesWithItsCode) {
  for (const std::size_t step : {std::size_t{1}, SIZE_MAX}) {
    WebSocket socket;
    const Received received = Feed(socket, GetParam().bytes, step);
    ASSERT_FALSE(received.result);
    EXPECT_NE(received.result.error().code, ErrorCode::kClosed);
    EXPECT_EQ(socket.TakeOutput(), CloseFrame(GetParam().code));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, WebSocketViolation,
    ::testing::Values(
        Bad{"Unmasked", WebSocketFrame(0x82, "a", false), 1002},
        Bad{"Text", WebSocketFrame(0x81, "a"), 1003},
        Bad{"ReservedBit", WebSocketFrame(0xc2, "a"), 1002},
        Bad{"UnknownData", WebSocketFrame(0x83, "a"), 1002},
        Bad{"UnknownControl", WebSocketFrame(0x8b, "a"), 1002},
        Bad{"LongPing", WebSocketFrame(0x89, std::string(126, 'a')), 1002},
        Bad{"FragmentedPing", WebSocketFrame(0x09, "a"), 1002},
        Bad{"StrayContinuation", WebSocketFrame(0x80, "a"), 1002},
        Bad{"MessageInMessage", WebSocketFrame(0x02, "a") + WebSocketFrame(0x82, "b"), 1002},
        Bad{"LongLength16", std::string("\x82\xfe\x00\x05", 4) + std::string(9, 'a'), 1002},
        Bad{"LongLength64", std::string("\x82\xff\0\0\0\0\0\0\x01\x00", 10) + "aaaa", 1002},
        Bad{"HugeLength", std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10) + "aaaa",
            1009},
        Bad{"TooLongInFragments",
            WebSocketFrame(0x02, std::string(40'000, 'a')) +
                WebSocketFrame(0x00, std::string(40'000, 'a')),
            1009},
        Bad{"CloseOfOneByte", WebSocketFrame(0x88, "a"), 1002},
        Bad{"CloseCode1005", WebSocketFrame(0x88, "\x03\xed"), 1002},
        Bad{"CloseCode999", WebSocketFrame(0x88, "\x03\xe7"), 1002},
        Bad{"PingFlood",
            [] {
              std::string flood;
              for (int i = 0; i < 300; ++i) flood += WebSocketFrame(0x8a, "");
              return flood;
            }(),
            1008},
        Bad{"EmptyFlood",
            [] {
              std::string flood;
              for (int i = 0; i < 300; ++i) flood += WebSocketFrame(0x82, "");
              return flood;
            }(),
            1008}),
    [](const auto& param) { return param.param.name; });

TEST(WebSocket, WritesTheShortestHeader) {
  const auto header = [](std::size_t size) {
    std::string out;
    WebSocket::AppendHeader(size, out);
    return out;
  };
  EXPECT_EQ(header(0), std::string("\x82\x00", 2));
  EXPECT_EQ(header(125), "\x82\x7d");
  EXPECT_EQ(header(126), std::string("\x82\x7e\x00\x7e", 4));
  EXPECT_EQ(header(65535), "\x82\x7e\xff\xff");
  EXPECT_EQ(header(65536), std::string("\x82\x7f\0\0\0\0\0\x01\0\0", 10));
}

}  // namespace
}  // namespace ringscale::core::http

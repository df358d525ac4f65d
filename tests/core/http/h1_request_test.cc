#include "core/http/h1_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringscale::core::http {
namespace {

using Status = RequestParser::Status;

struct Outcome {
  std::optional<HttpRequest> request;
  int error = 0;
  std::string rest;
};

// Feeds `text` in pieces of `step` bytes.
Outcome Parse(std::string_view text, std::size_t step = SIZE_MAX, std::size_t body_limit = 1024,
              const H1Limits& limits = {}) {
  RequestParser parser(limits);
  Outcome outcome;
  Bytes pending;
  while (true) {
    if (pending.empty() && !text.empty()) {
      pending = AsBytes(text.substr(0, step));
      text.remove_prefix(std::min(step, text.size()));
    }
    const auto status = parser.Feed(pending);
    if (!status) {
      outcome.error = status.error().status;
      EXPECT_FALSE(status.error().text.empty());
      return outcome;
    }
    if (*status == Status::kHead) parser.SetBodyLimit(body_limit);
    if (*status == Status::kComplete) {
      outcome.request = parser.request();
      outcome.rest = std::string(AsText(pending)) + std::string(text);
      return outcome;
    }
    if (*status == Status::kNeedMore && text.empty()) return outcome;
  }
}

constexpr std::string_view kSimple =
    "GET /key?v=145&x=a%20b+c HTTP/1.1\r\nHost: example.com:8080\r\nX-A:  one \r\nx-a: two\r\n\r\n";

TEST(H1Request, ParsesASimpleRequestInAnyPieces) {
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}, SIZE_MAX}) {
    const Outcome outcome = Parse(kSimple, step);
    ASSERT_TRUE(outcome.request) << step;
    const HttpRequest& request = *outcome.request;
    EXPECT_EQ(request.method, "GET");
    EXPECT_EQ(request.path, "/key");
    EXPECT_EQ(request.query, "v=145&x=a%20b+c");
    EXPECT_EQ(request.host(), "example.com:8080");
    EXPECT_EQ(request.header("x-a"), "one");
    EXPECT_TRUE(request.keep_alive);
    EXPECT_EQ(QueryValue(request.query, "v"), "145");
    EXPECT_EQ(QueryValue(request.query, "x"), "a b c");
    EXPECT_EQ(QueryValue(request.query, "y"), "");
    EXPECT_EQ(outcome.rest, "");
  }
}

TEST(H1Request, LeavesTheBytesAfterTheRequest) {
  const Outcome outcome = Parse(std::string(kSimple) + "GET /next");
  ASSERT_TRUE(outcome.request);
  EXPECT_EQ(outcome.rest, "GET /next");
}

TEST(H1Request, TellsTheHeadBeforeTheBody) {
  RequestParser parser;
  Bytes bytes = AsBytes("POST /derp HTTP/1.1\r\nHost: h\r\n\r\nrest");
  EXPECT_EQ(*parser.Feed(bytes), Status::kHead);
  EXPECT_EQ(AsText(bytes), "rest");
  EXPECT_FALSE(parser.has_body());
}

TEST(H1Request, ReadsABodyOfKnownLength) {
  for (const std::size_t step : {std::size_t{1}, SIZE_MAX}) {
    const Outcome outcome =
        Parse("POST /verify HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET", step);
    ASSERT_TRUE(outcome.request);
    EXPECT_EQ(outcome.request->body, "hello");
    EXPECT_EQ(outcome.rest, "GET");
  }
}

TEST(H1Request, ReadsASmallChunkedBody) {
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}, SIZE_MAX}) {
    const Outcome outcome = Parse(
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "5\r\nhello\r\nA;ext=1\r\n, world!!!\r\n0\r\nTrailer: x\r\n\r\nX",
        step);
    ASSERT_TRUE(outcome.request);
    EXPECT_EQ(outcome.request->body, "hello, world!!!");
    EXPECT_EQ(outcome.rest, "X");
  }
}

TEST(H1Request, RefusesBodiesAboveTheLimit) {
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 1, 10).error, 413);
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "6\r\nabcdef\r\n5\r\n",
                  SIZE_MAX, 10)
                .error,
            413);
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "ffffffffffffffff\r\n")
                .error,
            413);
}

TEST(H1Request, RefusesEndlessTinyChunks) {
  std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 10'000; ++i) text += "1\r\nx\r\n";
  EXPECT_EQ(Parse(text, SIZE_MAX, 1 << 20).error, 400);
}

TEST(H1Request, KnowsWhetherTheConnectionStays) {
  const auto keep = [](std::string_view version, std::string_view connection) {
    std::string text = "GET / " + std::string(version) + "\r\nHost: h\r\n";
    if (!connection.empty()) text += "Connection: " + std::string(connection) + "\r\n";
    return Parse(text + "\r\n").request->keep_alive;
  };
  EXPECT_TRUE(keep("HTTP/1.1", ""));
  EXPECT_FALSE(keep("HTTP/1.1", "close"));
  EXPECT_FALSE(keep("HTTP/1.1", "foo, Close"));
  EXPECT_FALSE(keep("HTTP/1.0", ""));
  EXPECT_TRUE(keep("HTTP/1.0", "Keep-Alive"));
}

TEST(H1Request, TakesAbsoluteAndAsteriskTargets) {
  EXPECT_EQ(Parse("GET http://other:1/p?q HTTP/1.1\r\nHost: h\r\n\r\n").request->path, "/p");
  EXPECT_EQ(Parse("GET https://other HTTP/1.1\r\nHost: h\r\n\r\n").request->path, "/");
  EXPECT_EQ(Parse("GET http://other?q=1 HTTP/1.1\r\nHost: h\r\n\r\n").request->query, "q=1");
  EXPECT_EQ(Parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").request->path, "*");
}

TEST(H1Request, SaysWhenTheClientWaitsForContinue) {
  RequestParser parser;
  Bytes bytes =
      AsBytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
  EXPECT_EQ(*parser.Feed(bytes), Status::kHead);
  EXPECT_TRUE(parser.wants_continue());
}

TEST(H1Request, StartsAnewAfterReset) {
  RequestParser parser;
  Bytes bytes = AsBytes("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_EQ(*parser.Feed(bytes), Status::kHead);
  parser.SetBodyLimit(1);
  EXPECT_EQ(*parser.Feed(bytes), Status::kComplete);
  EXPECT_FALSE(parser.idle());
  parser.Reset();
  EXPECT_TRUE(parser.idle());
  bytes = AsBytes("\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(*parser.Feed(bytes), Status::kHead);
  EXPECT_EQ(*parser.Feed(bytes), Status::kComplete);
  EXPECT_EQ(parser.request().path, "/b");
  EXPECT_EQ(parser.request().body, "");
}

struct Bad {
  std::string name;
  std::string text;
  int status;
  friend void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }
};

class H1Malformed : public ::testing::TestWithParam<Bad> {};

TEST_P(H1Malformed, IsRefusedInAnyPieces) {
  for (const std::size_t step : {std::size_t{1}, SIZE_MAX}) {
    EXPECT_EQ(Parse(GetParam().text, step).error, GetParam().status) << step;
  }
}

std::string Post(const std::string& headers) {
  return "POST / HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n";
}

INSTANTIATE_TEST_SUITE_P(
    All, H1Malformed,
    ::testing::Values(
        Bad{"Binary", std::string("\x16\x03\x01", 3), 400}, Bad{"NoVersion", "GET /\r\n\r\n", 400},
        Bad{"ThreeSpaces", "GET / x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"Http2Preface", "PRI * HTTP/2.0\r\n\r\n", 505},
        Bad{"Http12", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
        Bad{"LowerVersion", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"BadMethod", "G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"LongMethod", std::string(40, 'A') + " / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"RelativeTarget", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"Fragment", "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"ControlInTarget", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"HighByteInTarget", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        Bad{"Connect", "CONNECT a:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405},
        Bad{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        Bad{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        Bad{"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        Bad{"HostWithUser", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        Bad{"HostWithQuote", "GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n", 400},
        Bad{"BareLineFeed", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
        Bad{"BareReturnInValue", "GET / HTTP/1.1\r\nHost: h\r\nA: x\ry\r\n\r\n", 400},
        Bad{"NulInValue", std::string("GET / HTTP/1.1\r\nHost: h\r\nA: x\0y\r\n\r\n", 35), 400},
        Bad{"SpaceBeforeColon", Post("Content-Length : 3\r\n"), 400},
        Bad{"Folded", Post("A: b\r\n c\r\n"), 400}, Bad{"NoColon", Post("abc\r\n"), 400},
        Bad{"EmptyName", Post(": x\r\n"), 400},
        Bad{"TwoLengths", Post("Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
        Bad{"LengthList", Post("Content-Length: 3, 3\r\n"), 400},
        Bad{"SignedLength", Post("Content-Length: +3\r\n"), 400},
        Bad{"NegativeLength", Post("Content-Length: -3\r\n"), 400},
        Bad{"HexLength", Post("Content-Length: 0x3\r\n"), 400},
        Bad{"EmptyLength", Post("Content-Length: \r\n"), 400},
        Bad{"HugeLength", Post("Content-Length: 99999999999999999999\r\n"), 400},
        Bad{"LengthAndChunked", Post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
        Bad{"TwoEncodings", Post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 400},
        Bad{"GzipChunked", Post("Transfer-Encoding: gzip, chunked\r\n"), 501},
        Bad{"OddEncoding", Post("Transfer-Encoding: xchunked\r\n"), 501},
        Bad{"ChunkedIn10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        Bad{"BadExpect", Post("Expect: magic\r\n"), 417},
        Bad{"BadChunkSize", Post("Transfer-Encoding: chunked\r\n") + "g\r\n", 400},
        Bad{"EmptyChunkSize", Post("Transfer-Encoding: chunked\r\n") + "\r\n", 400},
        Bad{"BareChunkEnd", Post("Transfer-Encoding: chunked\r\n") + "1\nx\r\n", 400},
        Bad{"ChunkTooLong", Post("Transfer-Encoding: chunked\r\n") + "1\r\nxy\r\n", 400},
        Bad{"EmptyLines", "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400},
        Bad{"HugeHead", "GET /" + std::string(17'000, 'a'), 431},
        Bad{"ManyHeaders", Post([] {
              std::string fields;
              for (int i = 0; i < 64; ++i) fields += "A: b\r\n";
              return fields;
            }()),
            431}),
    [](const auto& param) { return param.param.name; });

TEST(H1Request, AHeadOfExactlyTheLimitIsTaken) {
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
  H1Limits limits;
  limits.head_bytes = 256;
  const std::string text = start + std::string(256 - start.size() - 4, 'a') + "\r\n\r\n";
  ASSERT_EQ(text.size(), 256u);
  EXPECT_TRUE(Parse(text, SIZE_MAX, 0, limits).request);
  EXPECT_TRUE(Parse(text, 1, 0, limits).request);
  EXPECT_EQ(Parse(start + "a" + text.substr(start.size()), SIZE_MAX, 0, limits).error, 431);
}

TEST(H1Request, DecodesPercentEscapes) {
  EXPECT_EQ(PercentDecode("a%2Fb%20", false), "a/b ");
  EXPECT_EQ(PercentDecode("a+b", false), "a+b");
  EXPECT_EQ(PercentDecode("%", false), "");
  EXPECT_EQ(PercentDecode("%4", false), "");
  EXPECT_EQ(PercentDecode("%zz", false), "");
  EXPECT_EQ(QueryValue("a=1&a=2&&b", "a"), "1");
  EXPECT_EQ(QueryValue("a=1&&b", "b"), "");
  EXPECT_EQ(QueryValue("%61=x", "a"), "x");
}

TEST(HttpHeader, JudgesHosts) {
  for (const char* good : {"a", "example.com", "a.b:80", "192.0.2.1", "192.0.2.1:443", "[::1]",
                           "[2001:db8::1]:443", "[::ffff:1.2.3.4]:1", "_x-y.z"}) {
    EXPECT_TRUE(IsValidHost(good)) << good;
  }
  for (const char* bad : {"", ":80", "a:", "a:b", "a:123456", "[::1", "[]", "[::1]x", "[::1]:",
                          "a b", "a/b", "a@b", "a?b", "a#b", "a\"b", "<a>", "::1", "a%b"}) {
    EXPECT_FALSE(IsValidHost(bad)) << bad;
  }
  EXPECT_FALSE(IsValidHost(std::string(300, 'a')));
}

TEST(HttpHeader, FindsListElements) {
  const std::vector<Header> headers{{"connection", "keep-alive,  Upgrade"}, {"a", ""}};
  EXPECT_TRUE(HeaderListHas(headers, "connection", "upgrade"));
  EXPECT_TRUE(HeaderListHas(headers, "connection", "keep-alive"));
  EXPECT_FALSE(HeaderListHas(headers, "connection", "grade"));
  EXPECT_FALSE(HeaderListHas(headers, "a", "upgrade"));
  EXPECT_TRUE(HasHeader(headers, "a"));
  EXPECT_FALSE(HasHeader(headers, "b"));
}

}  // namespace
}  // namespace ringscale::core::http

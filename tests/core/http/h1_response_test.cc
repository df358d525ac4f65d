#include "core/http/h1_response.h"

#include <gtest/gtest.h>

namespace ringscale::core::http {
namespace {

TEST(H1Response, CarriesSecurityHeadersAndLength) {
  ResponseContext context;
  context.now.unix_ns = Seconds(784111777).ns;
  EXPECT_EQ(Serialize(TextResponse(404, "no such page"), context),
            "HTTP/1.1 404 Not Found\r\n"
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 13\r\n"
            "X-Frame-Options: DENY\r\n"
            "Content-Security-Policy: frame-ancestors 'none'\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Referrer-Policy: no-referrer\r\n"
            "\r\n"
            "no such page\n");
}

TEST(H1Response, KeepsSecurityHeadersOfThePage) {
  HttpResponse response;
  response.headers.push_back({"content-security-policy", "default-src 'self'"});
  const std::string text = Serialize(response, {});
  EXPECT_NE(text.find("content-security-policy: default-src 'self'\r\n"), std::string::npos);
  EXPECT_EQ(text.find("frame-ancestors"), std::string::npos);
}

TEST(H1Response, LeavesTheBodyAwayWhereThereIsNone) {
  EXPECT_TRUE(Serialize(TextResponse(200, "x"), {.head_request = true}).ends_with("\r\n\r\n"));
  EXPECT_NE(Serialize(TextResponse(200, "x"), {.head_request = true}).find("Content-Length: 2"),
            std::string::npos);
  HttpResponse empty;
  empty.status = 204;
  EXPECT_EQ(Serialize(empty, {}).find("Content-Length"), std::string::npos);
}

TEST(H1Response, SaysWhatBecomesOfTheConnection) {
  EXPECT_EQ(Serialize({}, {}).find("Connection"), std::string::npos);
  EXPECT_NE(Serialize({}, {.keep_alive = false}).find("Connection: close"), std::string::npos);
  EXPECT_NE(Serialize({}, {.http10 = true}).find("Connection: keep-alive"), std::string::npos);
  EXPECT_NE(Serialize(ErrorResponse({400, "bad"}), {}).find("Connection: close"),
            std::string::npos);
}

TEST(H1Response, DropsHeadersThatWouldSplitIt) {
  HttpResponse response;
  response.headers.push_back({"X-A", "a\r\nSet-Cookie: b"});
  response.headers.push_back({"X\r\nB", "c"});
  response.content_type = "text/plain\r\nX-C: d";
  const std::string text = Serialize(response, {});
  EXPECT_EQ(text.find("Set-Cookie"), std::string::npos);
  EXPECT_EQ(text.find("X-C:"), std::string::npos);
  EXPECT_EQ(text.find("X\r\nB"), std::string::npos);
}

TEST(H1Response, SwitchesProtocols) {
  EXPECT_EQ(SwitchingProtocols({{"Upgrade", "DERP"}, {"Connection", "Upgrade"}}),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n");
}

}  // namespace
}  // namespace ringscale::core::http

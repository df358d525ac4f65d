#include "bench/lib/relay_target.h"

#include <gtest/gtest.h>

namespace ringscale::bench {
namespace {

TEST(RelayTarget, ReadsPlainAndTls) {
  const auto plain = ParseRelayUrl("derp://127.0.0.1:3340");
  ASSERT_TRUE(plain.has_value());
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->address.text(), "127.0.0.1:3340");
  EXPECT_EQ(plain->host, "127.0.0.1:3340");
  EXPECT_EQ(plain->server_name, "127.0.0.1");

  const auto tls = ParseRelayUrl("derps://[::1]:8443/");
  ASSERT_TRUE(tls.has_value());
  EXPECT_TRUE(tls->tls);
  EXPECT_EQ(tls->address.text(), "[::1]:8443");
  EXPECT_EQ(tls->server_name, "::1");
}

TEST(RelayTarget, TlsHasADefaultPort) {
  const auto v4 = ParseRelayUrl("derps://192.0.2.1");
  ASSERT_TRUE(v4.has_value());
  EXPECT_EQ(v4->address.port, 443);
  const auto v6 = ParseRelayUrl("derps://[2001:db8::1]");
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(v6->address.text(), "[2001:db8::1]:443");
}

TEST(RelayTarget, SaysWhatIsWrong) {
  for (const char* url :
       {"", "127.0.0.1:1", "https://127.0.0.1", "derp://", "derp://127.0.0.1",
        "derp://127.0.0.1:", "derp://127.0.0.1:0", "derp://127.0.0.1:65536", "derp://127.0.0.1:1x",
        "derp://127.0.0.1:999999999999", "derps://:443", "derps://[]:443"}) {
    const auto target = ParseRelayUrl(url);
    ASSERT_FALSE(target.has_value()) << url;
    EXPECT_NE(target.error().message.find("derps://"), std::string::npos) << url;
  }
}

}  // namespace
}  // namespace ringscale::bench

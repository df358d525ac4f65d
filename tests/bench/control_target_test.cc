// URLs of servers under load.
#include "bench/lib/control_target.h"

#include <gtest/gtest.h>

#include <string>

namespace ringscale::bench {
namespace {

TEST(ControlTarget, Urls) {
  struct Case {
    const char* url;
    const char* address;
    const char* host;
    const char* server_name;
  };
  for (const Case& c : {
           Case{"http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1"},
           Case{"http://127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1"},
           Case{"http://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "127.0.0.1"},
           Case{"http://[::1]:8080", "[::1]:8080", "[::1]:8080", "::1"},
           Case{"http://[::1]", "[::1]:80", "[::1]", "::1"},
       }) {
    const auto target = ParseTarget(c.url);
    ASSERT_TRUE(target) << c.url << ": " << target.error().message;
    EXPECT_EQ(target->address.text(), c.address);
    EXPECT_EQ(target->host, c.host);
    EXPECT_EQ(target->server_name, c.server_name);
    EXPECT_EQ(target->tls, nullptr);
  }
}

TEST(ControlTarget, HttpsBringsTls) {
  const auto target = ParseTarget("https://127.0.0.1", {.insecure = true});
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(target->address.text(), "127.0.0.1:443");
  EXPECT_NE(target->tls, nullptr);
  EXPECT_NE(target->pool, nullptr);
  EXPECT_FALSE(ParseTarget("https://127.0.0.1", {.ca_file = "/nonexistent.pem"}));
}

TEST(ControlTarget, WhatIsNoUrlIsRefused) {
  for (const char* url : {"", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://:80",
                          "http://127.0.0.1:", "http://127.0.0.1:http", "http://127.0.0.1:99999"}) {
    EXPECT_FALSE(ParseTarget(url)) << url;
  }
}

}  // namespace
}  // namespace ringscale::bench

#include "core/net/trusted_proxies.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringscale::core::net {
namespace {

TrustedProxies Proxies(std::vector<std::string> entries) {
  auto proxies = TrustedProxies::Parse(entries);
  EXPECT_TRUE(proxies.has_value());
  return std::move(*proxies);
}

RequestOrigin From(const char* peer) {
  RequestOrigin request;
  request.peer = SocketAddress::Parse(peer).value();
  return request;
}

TEST(TrustedProxies, ParsesPrefixesAndAddresses) {
  const TrustedProxies proxies = Proxies({"10.1.2.3/8", "::1", "192.0.2.1"});
  const auto contains = [&](const char* ip) {
    return proxies.Contains(IpAddress::Parse(ip).value());
  };
  EXPECT_TRUE(contains("10.255.0.1"));
  EXPECT_TRUE(contains("::1"));
  EXPECT_TRUE(contains("192.0.2.1"));
  EXPECT_FALSE(contains("192.0.2.2"));
  EXPECT_FALSE(contains("::2"));
  EXPECT_FALSE(proxies.Contains({}));
  EXPECT_TRUE(Proxies({}).empty());
  const std::vector<std::string> bad = {"10.0.0.0/8", "nginx"};
  const auto refused = TrustedProxies::Parse(bad);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().message.contains("nginx"));
}

TEST(Origin, WithoutHeadersIsThePeer) {
  const ClientOrigin remote = ResolveOrigin(Proxies({}), From("203.0.113.5:1234"));
  EXPECT_EQ(remote.address.text(), "203.0.113.5:1234");
  EXPECT_FALSE(remote.local);
  EXPECT_FALSE(remote.https);
  EXPECT_FALSE(remote.proxied);
  EXPECT_TRUE(ResolveOrigin(Proxies({}), From("127.0.0.1:1")).local);
  EXPECT_TRUE(ResolveOrigin(Proxies({}), From("[::1]:1")).local);
  EXPECT_TRUE(ResolveOrigin(Proxies({}), RequestOrigin{}).local);  // a Unix socket
  RequestOrigin tls = From("203.0.113.5:1");
  tls.tls = true;
  EXPECT_TRUE(ResolveOrigin(Proxies({}), tls).https);
}

TEST(Origin, HeadersOfStrangersCountForNothingButAgainstLocal) {
  RequestOrigin request = From("127.0.0.1:1");
  request.forwarded_for = "127.0.0.1";
  request.forwarded_proto = "https";
  const ClientOrigin origin = ResolveOrigin(Proxies({}), request);
  EXPECT_FALSE(origin.local);
  EXPECT_FALSE(origin.https);
  EXPECT_FALSE(origin.proxied);
  EXPECT_EQ(origin.address.text(), "127.0.0.1:1");
  request.peer = SocketAddress::Parse("203.0.113.5:1").value();
  EXPECT_EQ(ResolveOrigin(Proxies({"10.0.0.0/8"}), request).address.text(), "203.0.113.5:1");
}

TEST(Origin, TrustedProxiesNameTheClient) {
  RequestOrigin request = From("10.0.0.1:999");
  request.forwarded_for = "198.51.100.7";
  request.forwarded_proto = "HTTPS";
  const ClientOrigin origin = ResolveOrigin(Proxies({"10.0.0.0/8"}), request);
  EXPECT_EQ(origin.address.ip.text(), "198.51.100.7");
  EXPECT_TRUE(origin.https);
  EXPECT_TRUE(origin.proxied);
  EXPECT_FALSE(origin.local);
  request.forwarded_proto = "http";
  EXPECT_FALSE(ResolveOrigin(Proxies({"10.0.0.0/8"}), request).https);
}

TEST(Origin, OnlyTheEndOfTheListIsTrue) {
  const TrustedProxies proxies = Proxies({"10.0.0.0/8", "127.0.0.1"});
  const auto client = [&](const char* list) {
    RequestOrigin request = From("127.0.0.1:1");
    request.forwarded_for = list;
    return ResolveOrigin(proxies, request);
  };
  // What the client wrote itself stands in front.
  EXPECT_EQ(client("127.0.0.1, 198.51.100.7").address.ip.text(), "198.51.100.7");
  EXPECT_FALSE(client("127.0.0.1, 198.51.100.7").local);
  EXPECT_EQ(client("1.1.1.1, 198.51.100.7, 10.0.0.2").address.ip.text(), "198.51.100.7");
  EXPECT_EQ(client("10.0.0.3, 10.0.0.2").address.ip.text(), "10.0.0.3");  // all ours
  EXPECT_TRUE(client("127.0.0.1").local);  // somebody on this machine asked its proxy
  EXPECT_EQ(client(" 198.51.100.7 ").address.ip.text(), "198.51.100.7");
  EXPECT_EQ(client("198.51.100.7:4711").address.ip.text(), "198.51.100.7");
  EXPECT_EQ(client("[2001:db8::7]:4711").address.ip.text(), "2001:db8::7");
  EXPECT_EQ(client("[2001:db8::7]").address.ip.text(), "2001:db8::7");
  EXPECT_EQ(client("2001:db8::7").address.ip.text(), "2001:db8::7");
}

TEST(Origin, WhatNobodyCanReadIsNotLocal) {
  const TrustedProxies proxies = Proxies({"127.0.0.1"});
  for (const char* list : {"", " ", "unknown", "127.0.0.1, unknown", "127.0.0.1,", ",", "_x"}) {
    RequestOrigin request = From("127.0.0.1:1");
    request.forwarded_for = list;
    const ClientOrigin origin = ResolveOrigin(proxies, request);
    EXPECT_FALSE(origin.local) << list;
    EXPECT_EQ(origin.address.ip.text(), "127.0.0.1") << list;
  }
  RequestOrigin request = From("127.0.0.1:1");
  request.forwarded_proto = "https";
  EXPECT_FALSE(ResolveOrigin(proxies, request).local);
}

}  // namespace
}  // namespace ringscale::core::net

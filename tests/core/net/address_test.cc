#include "core/net/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <map>
#include <string>

namespace ringscale::core {
namespace {

TEST(IpAddress, ParsesAndPrints) {
  const std::map<std::string, std::string> texts = {
      {"0.0.0.0", "0.0.0.0"},
      {"100.64.0.1", "100.64.0.1"},
      {"255.255.255.255", "255.255.255.255"},
      {"::", "::"},
      {"::1", "::1"},
      {"FD7A:115C:A1E0::1", "fd7a:115c:a1e0::1"},
      {"2001:0db8:0:0:0:0:0:0001", "2001:db8::1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one zero is not shortened
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // the first of equal runs
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest run
      {"1:0:0:0:0:0:0:0", "1::"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"::1.2.3.4", "::102:304"},
      {"::ffff:1.2.3.4", "1.2.3.4"},
      {"::ffff:102:304", "1.2.3.4"},
      {"64:ff9b::1.2.3.4", "64:ff9b::102:304"}};
  for (const auto& [text, expected] : texts) {
    const auto ip = IpAddress::Parse(text);
    ASSERT_TRUE(ip.has_value()) << text;
    EXPECT_EQ(ip->text(), expected);
    EXPECT_EQ(IpAddress::Parse(ip->text()), ip);
  }
}

TEST(IpAddress, RefusesAnythingElse) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view bad : {""sv,
                                     "1"sv,
                                     "1.2.3"sv,
                                     "1.2.3.4.5"sv,
                                     "1.2.3.256"sv,
                                     "01.2.3.4"sv,
                                     "1.2.3.04"sv,
                                     "1.2.3.4 "sv,
                                     " 1.2.3.4"sv,
                                     "1.2.3.-4"sv,
                                     "0x1.2.3.4"sv,
                                     "1.2.3.4/8"sv,
                                     "1.2.3.4:5"sv,
                                     ":"sv,
                                     ":::"sv,
                                     "1::2::3"sv,
                                     "1:2:3:4:5:6:7"sv,
                                     "1:2:3:4:5:6:7:8:9"sv,
                                     "12345::"sv,
                                     "g::"sv,
                                     "fe80::1%eth0"sv,
                                     "[::1]"sv,
                                     "::1.2.3"sv,
                                     "::1.2.3.256"sv,
                                     "1.2.3.4\0"sv,
                                     "::1\0x"sv,
                                     "localhost"sv,
                                     "1111:2222:3333:4444:5555:6666:7777:8888:1.2.3.4"sv}) {
    EXPECT_FALSE(IpAddress::Parse(bad).has_value()) << bad;
  }
}

TEST(IpAddress, KnowsItsKind) {
  const auto is = [](const char* text, bool loopback, bool is_private) {
    const IpAddress ip = IpAddress::Parse(text).value();
    EXPECT_EQ(ip.is_loopback(), loopback) << text;
    EXPECT_EQ(ip.is_private(), is_private) << text;
  };
  is("127.0.0.1", true, false);
  is("127.255.0.1", true, false);
  is("128.0.0.1", false, false);
  is("::1", true, false);
  is("::2", false, false);
  is("1::1", false, false);
  is("10.0.0.1", false, true);
  is("11.0.0.1", false, false);
  is("172.15.255.255", false, false);
  is("172.16.0.0", false, true);
  is("172.31.255.255", false, true);
  is("172.32.0.0", false, false);
  is("192.168.1.1", false, true);
  is("192.169.1.1", false, false);
  is("100.64.0.1", false, false);
  is("fc00::1", false, true);
  is("fdff::1", false, true);
  is("fe00::1", false, false);
  EXPECT_FALSE(IpAddress{}.valid());
  EXPECT_FALSE(IpAddress{}.is_loopback());
  EXPECT_FALSE(IpAddress{}.is_private());
  EXPECT_EQ(IpAddress{}.text(), "");
  EXPECT_EQ(IpAddress::V4(0x64400001).text(), "100.64.0.1");
}

TEST(IpPrefix, ParsesMasksAndContains) {
  const auto prefix = IpPrefix::Parse("100.64.5.9/10");
  ASSERT_TRUE(prefix.has_value());
  EXPECT_EQ(prefix->text(), "100.64.5.9/10");
  EXPECT_EQ(prefix->Masked().text(), "100.64.0.0/10");
  const auto contains = [](const char* p, const char* ip) {
    return IpPrefix::Parse(p).value().Contains(IpAddress::Parse(ip).value());
  };
  EXPECT_TRUE(contains("100.64.5.9/10", "100.127.255.255"));
  EXPECT_FALSE(contains("100.64.5.9/10", "100.128.0.0"));
  EXPECT_TRUE(contains("0.0.0.0/0", "255.1.2.3"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
  EXPECT_FALSE(contains("::/0", "1.2.3.4"));
  EXPECT_TRUE(contains("::/0", "ffff::"));
  EXPECT_TRUE(contains("1.2.3.4/32", "1.2.3.4"));
  EXPECT_FALSE(contains("1.2.3.4/32", "1.2.3.5"));
  EXPECT_TRUE(contains("fd7a:115c:a1e0::/48", "fd7a:115c:a1e0:ffff::1"));
  EXPECT_FALSE(contains("fd7a:115c:a1e0::/48", "fd7a:115c:a1e1::1"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::"));
  EXPECT_FALSE(IpPrefix::Parse("::/0").value().Contains(IpAddress{}));
  EXPECT_TRUE(IpPrefix::Parse("::/0").value().IsDefaultRoute());
  EXPECT_EQ(IpPrefix::Host(IpAddress::Parse("::1").value()).text(), "::1/128");
  EXPECT_EQ(IpPrefix::Parse("::ffff:10.0.0.0/104").value().text(), "10.0.0.0/8");
}

TEST(IpPrefix, RefusesAnythingElse) {
  for (const char* bad : {"", "/", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8",
                          "1.2.3.4/08", "1.2.3.4/8 ", "1.2.3.4/8/8", "::/129", "::1/1x", "/8",
                          "1.2.3/8", "::ffff:1.2.3.4/95", "1.2.3.4/99999999999"}) {
    EXPECT_FALSE(IpPrefix::Parse(bad).has_value()) << bad;
  }
}

TEST(SocketAddress, ParsesAndPrints) {
  for (const char* text : {"1.2.3.4:5", "0.0.0.0:0", "[::1]:65535", "[2001:db8::1]:443"}) {
    const auto address = SocketAddress::Parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->text(), text);
  }
  EXPECT_EQ(SocketAddress::Parse("[::ffff:1.2.3.4]:5").value().text(), "1.2.3.4:5");
}

TEST(SocketAddress, RefusesAnythingElse) {
  for (const char* bad : {"",
                          ":",
                          ":80",
                          "1.2.3.4",
                          "1.2.3.4:",
                          "1.2.3.4:65536",
                          "1.2.3.4:-1",
                          "1.2.3.4:080",
                          "1.2.3.4:80x",
                          "::1:80",
                          "[::1]",
                          "[::1]80",
                          "[::1]:",
                          "[1.2.3.4]:80",
                          "[]:80",
                          "[::1:80",
                          "::1]:80",
                          "[fe80::1%lo]:80",
                          "host:80",
                          "1.2.3.4:123456"}) {
    EXPECT_FALSE(SocketAddress::Parse(bad).has_value()) << bad;
  }
}

TEST(SocketAddress, ConvertsToNativeAndBack) {
  for (const char* text : {"1.2.3.4:5", "[2001:db8::1]:443"}) {
    const SocketAddress address = SocketAddress::Parse(text).value();
    for (const bool v6_socket : {false, true}) {
      sockaddr_storage native{};
      const socklen_t length = address.ToNative(native, v6_socket);
      const bool v6 = v6_socket || address.ip.is_v6();
      EXPECT_EQ(native.ss_family, v6 ? AF_INET6 : AF_INET);
      EXPECT_EQ(length, v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
      EXPECT_EQ(SocketAddress::FromNative(native), address);
    }
  }
  sockaddr_storage native{};
  SocketAddress::Parse("1.2.3.4:5").value().ToNative(native, true);
  sockaddr_in6 v6{};
  std::memcpy(&v6, &native, sizeof v6);
  EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr));
  // No address is every address.
  EXPECT_EQ(SocketAddress{}.ToNative(native, true), sizeof(sockaddr_in6));
  EXPECT_EQ(SocketAddress::FromNative(native).ip, IpAddress::Parse("::").value());
  native = {};
  native.ss_family = AF_UNIX;
  EXPECT_FALSE(SocketAddress::FromNative(native).ip.valid());
}

TEST(SocketAddress, PrintsLikeInetNtopWhereThatFollowsTheRfc) {
  std::uint64_t dice = 42;
  for (int i = 0; i < 20'000; ++i) {
    IpAddress ip;
    ip.family = IpAddress::Family::kV6;
    for (std::size_t group = 0; group < 8; ++group) {
      dice = dice * 6364136223846793005u + 1442695040888963407u;
      if ((dice >> 62) < 2) continue;  // many zero groups
      ip.bytes[2 * group] = static_cast<std::uint8_t>(dice >> 40 & (dice >> 60 & 1 ? 0xff : 0));
      ip.bytes[2 * group + 1] = static_cast<std::uint8_t>(dice >> 32);
    }
    char text[INET6_ADDRSTRLEN] = {};
    inet_ntop(AF_INET6, ip.bytes.data(), text, sizeof text);
    if (std::strchr(text, '.') != nullptr) continue;  // its dotted form
    ASSERT_EQ(ip.text(), text);
    ASSERT_EQ(IpAddress::Parse(text), ip);
  }
}

}  // namespace
}  // namespace ringscale::core

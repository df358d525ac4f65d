#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/base64.h"
#include "core/base/hex.h"
#include "core/base/keyed_hash.h"
#include "core/base/random.h"

namespace ringscale::core {
namespace {

std::string Text(const std::optional<std::vector<std::uint8_t>>& bytes) {
  return bytes ? std::string(AsText(*bytes)) : "(none)";
}

TEST(Hex, RoundTripsEveryByte) {
  std::vector<std::uint8_t> all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i);
  const std::string text = HexEncode(all);
  EXPECT_TRUE(text.starts_with("000102"));
  EXPECT_TRUE(text.ends_with("fdfeff"));
  EXPECT_EQ(HexDecode(text), all);
  EXPECT_EQ(HexDecode("DEADbeef"), (std::vector<std::uint8_t>{0xde, 0xad, 0xbe, 0xef}));
  EXPECT_EQ(HexDecode(""), std::vector<std::uint8_t>{});
}

TEST(Hex, RefusesAnythingElse) {
  for (const char* bad : {"0", "0g", "0x00", " 00", "00 ", "0:00", "-1"}) {
    EXPECT_FALSE(HexDecode(bad).has_value()) << bad;
  }
  std::vector<std::uint8_t> out = {7, 7};
  EXPECT_FALSE(HexDecodeTo("00", out));
  EXPECT_FALSE(HexDecodeTo("000g", out));
  EXPECT_EQ(out, (std::vector<std::uint8_t>{7, 7}));
  EXPECT_TRUE(HexDecodeTo("0102", out));
  EXPECT_EQ(out, (std::vector<std::uint8_t>{1, 2}));
}

TEST(Base64, FollowsTheVectorsOfRfc4648) {
  const std::map<std::string, std::string> vectors = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(Base64Encode(AsBytes(plain)), encoded);
    EXPECT_EQ(Text(Base64Decode(encoded)), plain);
    std::string unpadded = encoded;
    while (unpadded.ends_with('=')) unpadded.pop_back();
    EXPECT_EQ(Base64UrlEncode(AsBytes(plain)), unpadded);
    EXPECT_EQ(Text(Base64UrlDecode(unpadded)), plain);
  }
  const std::vector<std::uint8_t> high = {0xfb, 0xff, 0xfe};
  EXPECT_EQ(Base64Encode(high), "+//+");
  EXPECT_EQ(Base64UrlEncode(high), "-__-");
  EXPECT_EQ(Base64UrlDecode("-__-"), high);
}

TEST(Base64, IsStrict) {
  for (const char* bad : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg===", "====", "=Zg=", "Zg==Zg==",
                          "Zm 9v", "Zm9v\n", "-__-", "Zm9*", "Z===", "=", "=="}) {
    EXPECT_FALSE(Base64Decode(bad).has_value()) << bad;
  }
  for (const char* bad : {"Z", "Zg==", "Zh", "+//+", "Zm9v="}) {
    EXPECT_FALSE(Base64UrlDecode(bad).has_value()) << bad;
  }
}

TEST(Base64, RoundTripsEveryLength) {
  for (std::size_t length = 0; length < 100; ++length) {
    std::vector<std::uint8_t> bytes(length);
    SecureRandom(bytes);
    EXPECT_EQ(Base64Decode(Base64Encode(bytes)), bytes);
    EXPECT_EQ(Base64UrlDecode(Base64UrlEncode(bytes)), bytes);
  }
}

TEST(Random, FillsAndDiffers) {
  std::vector<std::uint8_t> a(1000);
  std::vector<std::uint8_t> b(1000);
  SecureRandom(a);
  SecureRandom(b);
  EXPECT_NE(a, b);
  EXPECT_NE(SecureRandom64(), SecureRandom64());
  SecureRandom({});
}

TEST(Random, TextUsesTheWholeAlphabetEvenly) {
  EXPECT_EQ(RandomText(0, "ab"), "");
  EXPECT_EQ(RandomText(5, "x"), "xxxxx");
  const std::string text = RandomText(62'000, kAlphanumeric);
  ASSERT_EQ(text.size(), 62'000u);
  std::map<char, int> counts;
  for (const char c : text) ++counts[c];
  EXPECT_EQ(counts.size(), kAlphanumeric.size());
  // 1,000 expected of each; nine standard deviations.
  for (const auto& [c, count] : counts) {
    EXPECT_TRUE(kAlphanumeric.contains(c));
    EXPECT_GT(count, 715);
    EXPECT_LT(count, 1285);
  }
}

// Vectors of the SipHash-1-3 reference implementation: key 00..0f, input 00, 01, ...
TEST(KeyedHash, IsSipHash13) {
  const HashSecret secret{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  std::vector<std::uint8_t> input;
  std::vector<std::uint64_t> got;
  for (int i = 0; i < 64; ++i) {
    got.push_back(KeyedHash(secret, input));
    input.push_back(static_cast<std::uint8_t>(i));
  }
  EXPECT_EQ(got[0], 0xabac0158050fc4dcu);
  EXPECT_EQ(got[1], 0xc9f49bf37d57ca93u);
  EXPECT_EQ(got[2], 0x82cb9b024dc7d44du);
  EXPECT_EQ(got[3], 0x8bf80ab8e7ddf7fbu);
  EXPECT_EQ(std::set<std::uint64_t>(got.begin(), got.end()).size(), got.size());
}

TEST(KeyedHash, DependsOnTheSecret) {
  EXPECT_NE(KeyedHash({1, 2}, AsBytes("text")), KeyedHash({1, 3}, AsBytes("text")));
  EXPECT_EQ(&ProcessHashSecret(), &ProcessHashSecret());
  EXPECT_EQ(KeyedHasher()(std::string_view("text")), KeyedHasher()(std::string("text")));
}

}  // namespace
}  // namespace ringscale::core

#include "control/state/secrets.h"

#include <gtest/gtest.h>

#include <set>

namespace ringscale::control {
namespace {

TEST(Secrets, IssuedKeysParseAndMatch) {
  const IssuedSecret issued = IssueSecret(kPreAuthKeyIntro, SystemRandom);
  EXPECT_EQ(issued.text.size(), kPreAuthKeyIntro.size() + 12 + 1 + 64);
  EXPECT_TRUE(issued.text.starts_with("hskey-auth-" + issued.prefix + "-"));
  const auto parts = ParseSecret(kPreAuthKeyIntro, issued.text);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->prefix, issued.prefix);
  EXPECT_TRUE(SecretMatches(issued.hash, parts->secret));

  std::string wrong(parts->secret);
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  EXPECT_FALSE(SecretMatches(issued.hash, wrong));
  EXPECT_FALSE(SecretMatches(issued.hash, ""));
  EXPECT_NE(IssueSecret(kPreAuthKeyIntro, SystemRandom).text, issued.text);
}

TEST(Secrets, HashIsBlake2b256) {
  const auto hash = HashSecret("abc");
  // RFC 7693 gives BLAKE2b-512 only; this is `b2sum -l 256` of "abc".
  const std::uint8_t first[] = {0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72};
  EXPECT_TRUE(std::equal(std::begin(first), std::end(first), hash.begin()));
}

TEST(Secrets, OtherShapesAreRefused) {
  const std::string good = IssueSecret(kPreAuthKeyIntro, SystemRandom).text;
  EXPECT_TRUE(ParseSecret(kPreAuthKeyIntro, good));
  const std::string cases[] = {"",
                               "hskey-auth-",
                               good.substr(1),
                               good + "0",
                               good.substr(0, good.size() - 1),
                               "x" + good,
                               "hskey-api-" + good.substr(kPreAuthKeyIntro.size())};
  for (const auto& text : cases) EXPECT_FALSE(ParseSecret(kPreAuthKeyIntro, text)) << text;
  std::string odd = good;
  odd[15] = ' ';
  EXPECT_FALSE(ParseSecret(kPreAuthKeyIntro, odd));
  odd = good;
  odd[23] = '_';
  EXPECT_FALSE(ParseSecret(kPreAuthKeyIntro, odd));
}

TEST(Secrets, AuthIds) {
  const std::string id = NewAuthId(SystemRandom);
  EXPECT_EQ(id.size(), 38U);
  EXPECT_TRUE(IsAuthId(id));
  EXPECT_FALSE(IsAuthId(id + "0"));
  EXPECT_FALSE(IsAuthId(id.substr(0, 37)));
  EXPECT_FALSE(IsAuthId("hskey-authreq-0123456789ABCDEF01234567"));
  EXPECT_FALSE(IsAuthId(""));
}

TEST(Secrets, StableIdsAreLettersAndDigits) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewStableId(SystemRandom);
    EXPECT_EQ(id.size(), 16U);
    EXPECT_EQ(
        id.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        std::string::npos);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

}  // namespace
}  // namespace ringscale::control

#include "control/state/names.h"

#include <gtest/gtest.h>

namespace ringscale::control {
namespace {

TEST(Names, SanitizesAsClientsDo) {
  const struct {
    const char* hostname;
    const char* label;
  } kCases[] = {
      {"Joe's Mac mini", "joes-mac-mini"},
      {"Test@Host", "test-host"},
      {"mail.server", "mail-server"},
      {"My-PC!", "my-pc"},
      {"\xe6\x97\xa5\xe6\x9c\xac", "node"},
      {"", "node"},
      {"---", "node"},
      {"a_b", "a-b"},
      {"host.local", "host"},
      {"host.lan.local", "host"},
      {"host.localdomain", "host"},
      {"-x-", "x"},
      {"UPPER", "upper"},
      {"\xc3\xa9t\xc3\xa9", "t"},
  };
  for (const auto& c : kCases) EXPECT_EQ(SanitizeHostname(c.hostname), c.label) << c.hostname;
  EXPECT_EQ(SanitizeHostname(std::string(100, 'a')), std::string(63, 'a'));
  EXPECT_EQ(SanitizeHostname(std::string(62, 'a') + ".b"), std::string(62, 'a'));
}

TEST(Names, NumbersAreShortenedToFit) {
  EXPECT_EQ(NumberedName("base", 1), "base-1");
  const std::string base(63, 'a');
  EXPECT_EQ(NumberedName(base, 7), std::string(61, 'a') + "-7");
  EXPECT_EQ(NumberedName(base, 1234), std::string(58, 'a') + "-1234");
  EXPECT_EQ(NumberedName(std::string(60, 'a') + "-bb", 1), std::string(60, 'a') + "-1");
}

TEST(Names, TellsAutomaticNames) {
  EXPECT_TRUE(IsAutomaticName("host", "Host"));
  EXPECT_TRUE(IsAutomaticName("host-12", "Host"));
  EXPECT_TRUE(IsAutomaticName("node", ""));
  EXPECT_TRUE(IsAutomaticName(std::string(61, 'a') + "-3", std::string(80, 'a')));
  EXPECT_FALSE(IsAutomaticName("host-", "host"));
  EXPECT_FALSE(IsAutomaticName("host-x", "host"));
  EXPECT_FALSE(IsAutomaticName("host-01", "host"));
  EXPECT_FALSE(IsAutomaticName("web", "host"));
}

TEST(Names, GivenNamesMustBeLabels) {
  EXPECT_TRUE(CheckGivenName("web-1", "example.com"));
  EXPECT_TRUE(CheckGivenName(std::string(63, 'a'), "example.com"));
  for (const std::string name : {"", "-a", "a-", "A", "a b", "a.b", "\xc3\xa9"}) {
    EXPECT_FALSE(CheckGivenName(name, "")) << name;
  }
  const auto too_long = CheckGivenName(std::string(64, 'a'), "");
  ASSERT_FALSE(too_long);
  EXPECT_NE(too_long.error().message.find("is too long, max length is 63 bytes"),
            std::string::npos);
  EXPECT_TRUE(CheckGivenName("abcd", std::string(249, 'd')));
  EXPECT_FALSE(CheckGivenName("abcde", std::string(249, 'd')));
}

TEST(Names, UserNames) {
  for (const char* name : {"al", "alice", "Alice.B-c_d", "alice@example.com"}) {
    EXPECT_TRUE(CheckUserName(name)) << name;
  }
  for (const std::string name : {"", "a", "1a", "12", "a b", "a@b@c", "a/b", "\xc3\xa9ric"}) {
    EXPECT_FALSE(CheckUserName(name)) << name;
  }
  EXPECT_FALSE(CheckUserName(std::string(256, 'a')));
}

TEST(NameIndex, GivesTheLowestFreeNumber) {
  NameIndex names;
  const auto take = [&](const std::string& base) {
    const std::string name = names.FirstFree(base);
    EXPECT_TRUE(names.Add(name));
    return name;
  };
  EXPECT_EQ(take("a"), "a");
  EXPECT_EQ(take("a"), "a-1");
  EXPECT_EQ(take("a"), "a-2");
  EXPECT_EQ(take("a-1"), "a-1-1");
  EXPECT_EQ(take("a"), "a-3");
  names.Remove("a-1");
  EXPECT_EQ(take("a"), "a-1");
  EXPECT_EQ(take("a"), "a-4");
  names.Remove("a");
  EXPECT_EQ(take("a"), "a");
  EXPECT_FALSE(names.Add("a"));
  names.Remove("unknown");
}

TEST(NameIndex, AgreesWithASearchWhateverTheOrder) {
  // Long bases share shortened names: the index must not remember what it cannot.
  const std::string bases[] = {"x", "x-1", std::string(63, 'a'), std::string(62, 'a'),
                               std::string(61, 'a')};
  NameIndex names;
  std::vector<std::string> taken;
  std::uint32_t random = 12345;
  for (int step = 0; step < 4000; ++step) {
    random = random * 1664525 + 1013904223;
    if (random % 3 == 0 && !taken.empty()) {
      const std::size_t at = (random >> 8) % taken.size();
      names.Remove(taken[at]);
      taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    const std::string& base = bases[(random >> 8) % std::size(bases)];
    std::string expected = base;
    for (std::uint64_t n = 1; names.Taken(expected); ++n) expected = NumberedName(base, n);
    ASSERT_EQ(names.FirstFree(base), expected);
    ASSERT_TRUE(names.Add(expected));
    taken.push_back(expected);
  }
}

}  // namespace
}  // namespace ringscale::control

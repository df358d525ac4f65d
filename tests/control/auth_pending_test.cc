#include "control/auth/pending.h"

#include <gtest/gtest.h>

#include "control/auth/client_version.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

PendingLogin Login(int number, const char* source, std::int64_t at = 0) {
  PendingLogin login;
  login.id = "id" + std::to_string(number);
  login.request.machine_key = Machine(static_cast<std::uint64_t>(number));
  login.request.node_key = NodeKey(static_cast<std::uint64_t>(number));
  login.source = SourceOf(*core::IpAddress::Parse(source));
  login.created = {at};
  return login;
}

TEST(PendingLogins, SourcesAreAddressesAndV6Networks) {
  const auto source = [](const char* text) { return SourceOf(*core::IpAddress::Parse(text)); };
  EXPECT_EQ(source("2001:db8::1"), source("2001:db8::ffff:1"));
  EXPECT_NE(source("2001:db8::1"), source("2001:db8:0:1::1"));
  EXPECT_NE(source("192.0.2.1"), source("192.0.2.2"));
}

TEST(PendingLogins, ASourcePushesOutItsOwn) {
  PendingLogins logins({.total = 10, .per_source = 3, .lifetime = core::Seconds(10)});
  EXPECT_FALSE(logins.Add(Login(1, "192.0.2.1")));
  for (int i = 2; i <= 4; ++i) EXPECT_FALSE(logins.Add(Login(i, "192.0.2.2")));
  EXPECT_NE(logins.Use("id2"), nullptr);
  const auto evicted = logins.Add(Login(5, "192.0.2.2"));
  ASSERT_TRUE(evicted);
  EXPECT_EQ(evicted->id, "id3") << "the least recently used of that source";
  EXPECT_NE(logins.Find("id1"), nullptr);
  EXPECT_EQ(logins.size(), 4U);
}

TEST(PendingLogins, WhenFullTheSourceGoesFirst) {
  PendingLogins logins({.total = 4, .per_source = 3, .lifetime = core::Seconds(10)});
  EXPECT_FALSE(logins.Add(Login(1, "192.0.2.1")));
  EXPECT_FALSE(logins.Add(Login(2, "192.0.2.2")));
  EXPECT_FALSE(logins.Add(Login(3, "192.0.2.2")));
  EXPECT_FALSE(logins.Add(Login(4, "192.0.2.3")));
  EXPECT_EQ(logins.Add(Login(5, "192.0.2.2"))->id, "id2");
  EXPECT_EQ(logins.Add(Login(6, "192.0.2.9"))->id, "id1") << "a new source: the oldest of all";
  EXPECT_EQ(logins.size(), 4U);
}

TEST(PendingLogins, FoundByKeys) {
  PendingLogins logins({});
  logins.Add(Login(1, "192.0.2.1"));
  EXPECT_EQ(logins.UseByKeys(Machine(1), NodeKey(1))->id, "id1");
  EXPECT_EQ(logins.UseByKeys(Machine(1), NodeKey(2)), nullptr);
  EXPECT_EQ(logins.FindByKeyText(Machine(1).text())->id, "id1");
  EXPECT_EQ(logins.FindByKeyText(NodeKey(1).text())->id, "id1");
  EXPECT_EQ(logins.FindByKeyText(NodeKey(2).text()), nullptr);
  EXPECT_EQ(logins.FindByKeyText("id1"), nullptr);
}

TEST(PendingLogins, ExpireInTheOrderOfTheirAge) {
  PendingLogins logins({.total = 10, .per_source = 10, .lifetime = core::Nanos(100)});
  logins.Add(Login(1, "192.0.2.1", 10));
  logins.Add(Login(2, "192.0.2.1", 20));
  EXPECT_NE(logins.Use("id1"), nullptr);  // use does not prolong
  EXPECT_EQ(logins.NextExpiry()->ns, 110);
  EXPECT_FALSE(logins.TakeExpired({109}));
  EXPECT_EQ(logins.TakeExpired({110})->id, "id1");
  EXPECT_FALSE(logins.TakeExpired({110}));
  EXPECT_EQ(logins.Remove("id2")->id, "id2");
  EXPECT_FALSE(logins.Remove("id2"));
  EXPECT_FALSE(logins.NextExpiry());
}

TEST(ClientVersion, NamesReleases) {
  EXPECT_EQ(ReleaseOf(113), "1.80");
  EXPECT_EQ(ReleaseOf(114), "1.80");
  EXPECT_EQ(ReleaseOf(109), "1.78");
  EXPECT_EQ(ReleaseOf(0), "before 1.70");
  EXPECT_EQ(ReleaseOf(60000), "1.102");
  EXPECT_EQ(UnsupportedClient(109),
            "unsupported client version: 1.78 (109); this server needs Tailscale 1.80 (113) or "
            "newer");
}

}  // namespace
}  // namespace ringscale::control::testing

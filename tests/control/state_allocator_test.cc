#include <gtest/gtest.h>

#include <set>

#include "control/state/ip_allocator.h"

namespace ringscale::control {
namespace {

core::IpPrefix Prefix(const char* text) {
  return *core::IpPrefix::Parse(text);
}
core::IpAddress Ip(const char* text) {
  return *core::IpAddress::Parse(text);
}

IpAllocator Sequential(std::optional<core::IpPrefix> v4, std::optional<core::IpPrefix> v6) {
  return {v4, v6, AddressStrategy::kSequential, SystemRandom};
}

TEST(IpAllocator, SequentialStartsAfterTheNetworkAddress) {
  auto allocator = Sequential(Prefix("100.64.0.0/10"), Prefix("fd7a:115c:a1e0::/48"));
  for (int i = 1; i <= 3; ++i) {
    const auto pair = allocator.Allocate();
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->v4.text(), "100.64.0." + std::to_string(i));
    EXPECT_EQ(pair->v6.text(), "fd7a:115c:a1e0::" + std::to_string(i));
  }
}

TEST(IpAllocator, PoolsComeFirst) {
  auto allocator = Sequential(Prefix("100.64.0.0/10"), Prefix("fd7a:115c:a1e0::/48"));
  const std::vector<core::IpPrefix> pools = {Prefix("100.81.0.8/31"), Prefix("100.82.0.1/32")};
  std::vector<std::string> given;
  for (int i = 0; i < 4; ++i) {
    const auto pair = allocator.Allocate(pools);
    ASSERT_TRUE(pair);
    given.push_back(pair->v4.text());
    EXPECT_EQ(pair->v6.text(), "fd7a:115c:a1e0::" + std::to_string(i + 1));
  }
  EXPECT_EQ(given,
            (std::vector<std::string>{"100.81.0.9", "100.81.0.8", "100.82.0.1", "100.64.0.1"}))
      << "a full pool keeps nobody out";
  allocator.Release(Ip("100.81.0.9"));
  EXPECT_EQ(allocator.Allocate(pools)->v4.text(), "100.81.0.9");
}

TEST(IpAllocator, LeavesOutAFamilyThatIsNotConfigured) {
  auto allocator = Sequential(std::nullopt, Prefix("fd7a:115c:a1e0::/48"));
  const auto pair = allocator.Allocate();
  ASSERT_TRUE(pair);
  EXPECT_FALSE(pair->v4.valid());
  EXPECT_TRUE(pair->v6.is_v6());
}

TEST(IpAllocator, NeverGivesOutReservedAddresses) {
  const struct {
    const char* prefix;
    std::set<std::string> never;
  } kCases[] = {
      {"100.100.100.96/28", {"100.100.100.96", "100.100.100.100", "100.100.100.111"}},
      {"100.115.92.0/22", {"100.115.92.0", "100.115.92.1", "100.115.93.255"}},
      {"fd7a:115c:a1e0::50/124",
       {"fd7a:115c:a1e0::50", "fd7a:115c:a1e0::53", "fd7a:115c:a1e0::5f"}},
  };
  for (const auto& c : kCases) {
    for (const auto strategy : {AddressStrategy::kSequential, AddressStrategy::kRandom}) {
      const core::IpPrefix prefix = Prefix(c.prefix);
      const bool v4 = prefix.address.is_v4();
      IpAllocator allocator(v4 ? std::optional(prefix) : std::nullopt,
                            v4 ? std::nullopt : std::optional(prefix), strategy, SystemRandom);
      std::set<std::string> given;
      while (true) {
        const auto ip = v4 ? allocator.AllocateV4() : allocator.AllocateV6();
        if (!ip) {
          EXPECT_EQ(ip.error().code, core::ErrorCode::kLimit);
          EXPECT_NE(ip.error().message.find("failed to allocate IP"), std::string::npos);
          break;
        }
        EXPECT_TRUE(prefix.Contains(*ip));
        EXPECT_TRUE(given.insert(ip->text()).second) << ip->text();
        EXPECT_FALSE(c.never.contains(ip->text())) << ip->text();
      }
      const std::size_t reserved = v4 && prefix.length == 22 ? 1 + 512 : 3;
      EXPECT_EQ(given.size(), (1U << (prefix.address.bits() - prefix.length)) - reserved);
    }
  }
}

TEST(IpAllocator, FreedAddressesComeBackAfterTheOthers) {
  auto allocator = Sequential(Prefix("10.0.0.0/29"), std::nullopt);  // six hosts
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(allocator.Allocate());
  allocator.Release(Ip("10.0.0.2"));
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.4");
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.5");
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.6");
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.2");
  EXPECT_FALSE(allocator.AllocateV4());
}

TEST(IpAllocator, HoldsNothingWhenOneFamilyIsFull) {
  auto allocator = Sequential(Prefix("10.0.0.0/24"), Prefix("fd00::/126"));  // two IPv6 hosts
  ASSERT_TRUE(allocator.Allocate());
  ASSERT_TRUE(allocator.Allocate());
  EXPECT_FALSE(allocator.Allocate());
  EXPECT_EQ(allocator.size(), 4U);
}

TEST(IpAllocator, HeldAddressesAreNotGivenOut) {
  auto allocator = Sequential(Prefix("10.0.0.0/29"), std::nullopt);
  EXPECT_TRUE(allocator.Hold(Ip("10.0.0.1")));
  EXPECT_FALSE(allocator.Hold(Ip("10.0.0.1")));
  EXPECT_TRUE(allocator.Hold({}));
  EXPECT_TRUE(allocator.Hold({}));
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.2");
}

TEST(IpAllocator, TinyPrefixesHaveNone) {
  for (const char* prefix : {"10.0.0.0/31", "10.0.0.0/32"}) {
    auto allocator = Sequential(Prefix(prefix), std::nullopt);
    EXPECT_FALSE(allocator.Allocate()) << prefix;
  }
}

TEST(IpAllocator, RandomStartsWhereTheRandomSourceSays) {
  const RandomSource ones = [](core::MutableBytes bytes) {
    for (auto& byte : bytes) byte = 0xff;
  };
  IpAllocator allocator(Prefix("10.0.0.0/29"), std::nullopt, AddressStrategy::kRandom, ones);
  // The start is the broadcast address: the search wraps around.
  EXPECT_EQ(allocator.AllocateV4()->text(), "10.0.0.1");
}

}  // namespace
}  // namespace ringscale::control

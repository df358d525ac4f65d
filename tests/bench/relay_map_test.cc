#include "bench/lib/relay_map.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace ringscale::bench {
namespace {

constexpr std::string_view kMap = R"({"Regions":{
  "1":{"RegionID":1,"RegionCode":"one","RegionName":"One","Nodes":[
    {"Name":"1a","RegionID":1,"HostName":"a.example","IPv4":"192.0.2.1","IPv6":"2001:db8::1"},
    {"Name":"1s","RegionID":1,"HostName":"s.example","IPv4":"192.0.2.9","STUNOnly":true},
    {"Name":"1b","RegionID":1,"HostName":"b.example","IPv4":"none","IPv6":"2001:db8::2",
     "DERPPort":8443,"STUNPort":-1}]},
  "2":{"RegionID":2,"RegionCode":"two","RegionName":"Two","Nodes":[
    {"Name":"2a","RegionID":2,"HostName":"192.0.2.3","STUNPort":3479}]}}})";

TEST(RelayMap, TakesTheRelaysOfARegion) {
  for (const char* region : {"one", "1"}) {
    const auto targets = TargetsOfMap(kMap, region);
    ASSERT_TRUE(targets.has_value()) << targets.error().message;
    ASSERT_EQ(targets->size(), 2u);
    const RelayTarget& a = (*targets)[0];
    EXPECT_EQ(a.name, "1a");
    EXPECT_TRUE(a.tls);
    EXPECT_EQ(a.host, "a.example");
    EXPECT_EQ(a.server_name, "a.example");
    EXPECT_EQ(a.address.text(), "192.0.2.1:443");
    EXPECT_EQ(a.stun_port, 3478);
    const RelayTarget& b = (*targets)[1];
    EXPECT_EQ(b.host, "b.example:8443");
    EXPECT_EQ(b.server_name, "b.example");
    EXPECT_EQ(b.address.text(), "[2001:db8::2]:8443");
    EXPECT_FALSE(b.stun_port.has_value());
  }
}

TEST(RelayMap, AnAddressMayStandInTheNamesPlace) {
  const auto targets = TargetsOfMap(kMap, "two");
  ASSERT_TRUE(targets.has_value()) << targets.error().message;
  ASSERT_EQ(targets->size(), 1u);
  EXPECT_EQ(targets->front().address.text(), "192.0.2.3:443");
  EXPECT_EQ(targets->front().stun_port, 3479);
}

TEST(RelayMap, SaysWhatThereIs) {
  for (const char* region : {"", "three", "3"}) {
    const auto targets = TargetsOfMap(kMap, region);
    ASSERT_FALSE(targets.has_value()) << region;
    EXPECT_NE(targets.error().message.find("1 one, 2 two"), std::string::npos)
        << targets.error().message;
  }
}

TEST(RelayMap, BadMapsAreErrors) {
  for (const char* map : {"", "[]", R"({"Regions":1})", R"({"Regions":{}})",
                          R"({"Regions":{"1":{"RegionID":1,"RegionCode":"x","Nodes":[]}}})"}) {
    EXPECT_FALSE(TargetsOfMap(map, "1").has_value()) << map;
  }
}

TEST(RelayMap, IsReadFromAFile) {
  char path[] = "/tmp/ringscale-map-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  std::ofstream(path) << kMap;
  const auto text = ReadMap(path);
  std::remove(path);
  ASSERT_TRUE(text.has_value()) << text.error().message;
  EXPECT_EQ(*text, kMap);
  EXPECT_FALSE(ReadMap(path).has_value());
}

}  // namespace
}  // namespace ringscale::bench

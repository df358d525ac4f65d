#include "tools/serverd/join_url.h"

#include <gtest/gtest.h>

namespace ringscale::serverd {
namespace {

std::vector<core::IpAddress> Addresses(std::initializer_list<const char*> texts) {
  std::vector<core::IpAddress> list;
  for (const char* text : texts) list.push_back(*core::IpAddress::Parse(text));
  return list;
}

TEST(JoinUrl, ServerUrlWins) {
  EXPECT_EQ(ChooseJoinUrl("https://ctl.example", Addresses({"192.168.1.5"}), 8080, true).url,
            "https://ctl.example");
}

TEST(JoinUrl, PrivateAddressBeforePublic) {
  const JoinUrl join = ChooseJoinUrl("", Addresses({"203.0.113.9", "10.1.2.3"}), 8080, false);
  EXPECT_EQ(join.url, "http://10.1.2.3:8080");
  EXPECT_EQ(join.warning, "");
}

TEST(JoinUrl, PublicAddressNeeds443) {
  EXPECT_EQ(ChooseJoinUrl("", Addresses({"203.0.113.9"}), 8080, true).warning, "");
  EXPECT_NE(ChooseJoinUrl("", Addresses({"203.0.113.9"}), 8080, false).warning, "");
}

TEST(JoinUrl, Ipv6IsBracketedAndPort80LeftOut) {
  EXPECT_EQ(ChooseJoinUrl("", Addresses({"fd00::5"}), 80, false).url, "http://[fd00::5]");
}

TEST(JoinUrl, OnlyHttpsSaysWhatClientsMustTrust) {
  const JoinUrl join = ChooseJoinUrl("", Addresses({"192.168.1.5"}), 0, true);
  EXPECT_EQ(join.url, "https://192.168.1.5");
  EXPECT_NE(join.warning.find("SSL_CERT_FILE"), std::string::npos);
}

TEST(JoinUrl, NoAddress) {
  const JoinUrl join = ChooseJoinUrl("", {}, 8080, false);
  EXPECT_EQ(join.url, "http://localhost:8080");
  EXPECT_NE(join.warning, "");
}

}  // namespace
}  // namespace ringscale::serverd

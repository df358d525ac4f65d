#include <gtest/gtest.h>

#include "control/dns/dns_settings.h"

namespace ringscale::control {
namespace {

core::IpPrefix Net(std::string_view text) {
  return *core::IpPrefix::Parse(text);
}

TEST(DnsSettings, Defaults) {
  EXPECT_EQ(RenderDnsConfig({}), R"({"Domains":["tailnet.internal"],"Proxied":true})");
}

TEST(DnsSettings, NameserversReplaceOrBackUpLocalOnes) {
  DnsSettings settings{.magic_dns = false, .base_domain = ""};
  EXPECT_EQ(RenderDnsConfig(settings), "{}");
  settings.global_nameservers = {"1.1.1.1", "https://dns.example/q", "2606:4700::1"};
  EXPECT_EQ(RenderDnsConfig(settings),
            R"({"FallbackResolvers":[{"Addr":"1.1.1.1"},{"Addr":"https://dns.example/q"},)"
            R"({"Addr":"2606:4700::1"}]})");
  settings.override_local_dns = true;
  EXPECT_TRUE(RenderDnsConfig(settings).starts_with(R"({"Resolvers":[)"));
}

TEST(DnsSettings, UnusableNameserversAreLeftOutWithAWarning) {
  DnsSettings settings{.magic_dns = false, .base_domain = ""};
  settings.global_nameservers = {"1.1.1.1:53", "dns.example", "https://", "9.9.9.9"};
  settings.split_nameservers["corp.example"] = {"bogus"};
  EXPECT_EQ(DnsWarnings(settings).size(), 4U);
  EXPECT_EQ(RenderDnsConfig(settings), R"({"FallbackResolvers":[{"Addr":"9.9.9.9"}],"Routes":{}})")
      << "an empty list would mean: answered by MagicDNS";
}

TEST(DnsSettings, SplitSearchAndRecords) {
  DnsSettings settings;
  settings.split_nameservers["corp.example."] = {"10.0.0.1"};
  settings.search_domains = {"corp.example"};
  settings.extra_records = {{"a.tailnet.internal", "A", "100.64.0.1"}, {"b.x", "", "::1"}};
  EXPECT_EQ(RenderDnsConfig(settings),
            R"({"Routes":{"corp.example":[{"Addr":"10.0.0.1"}]},)"
            R"("Domains":["tailnet.internal","corp.example"],"Proxied":true,)"
            R"("ExtraRecords":[{"Name":"a.tailnet.internal","Type":"A","Value":"100.64.0.1"},)"
            R"({"Name":"b.x","Value":"::1"}]})");
}

TEST(DnsSettings, ReverseZones) {
  const auto v4 = ReverseZones(Net("100.64.0.0/10"));
  ASSERT_EQ(v4.size(), 64U);
  EXPECT_EQ(v4.front(), "64.100.in-addr.arpa");
  EXPECT_EQ(v4.back(), "127.100.in-addr.arpa");
  EXPECT_EQ(ReverseZones(Net("10.1.2.3/32")), std::vector<std::string>{"3.2.1.10.in-addr.arpa"});
  EXPECT_EQ(ReverseZones(Net("fd7a:115c:a1e0::/48")),
            std::vector<std::string>{"0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa"});
  const auto partial = ReverseZones(Net("fd7a:115c:a1e4::/46"));
  ASSERT_EQ(partial.size(), 4U);
  EXPECT_EQ(partial.front(), "4.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa");
  EXPECT_EQ(partial.back(), "7.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa");
}

TEST(DnsSettings, OnlyZonesThatClientsDoNotKnowAreSent) {
  DnsSettings settings{.prefixes = {Net("100.64.0.0/16"), Net("fd7a:115c:a1e0::/48")}};
  EXPECT_EQ(RenderDnsConfig(settings), RenderDnsConfig({}));
  settings.prefixes = {Net("172.16.5.0/24")};
  EXPECT_NE(RenderDnsConfig(settings).find(R"("0.5.16.172.in-addr.arpa":[])"), std::string::npos);
}

TEST(DnsSettings, Names) {
  EXPECT_EQ(NodeFqdn("web", "tailnet.internal"), "web.tailnet.internal.");
  EXPECT_EQ(NodeFqdn("web", "tailnet.internal."), "web.tailnet.internal.");
  EXPECT_EQ(NodeFqdn("web", ""), "web");
}

}  // namespace
}  // namespace ringscale::control

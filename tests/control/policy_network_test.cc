// What a policy says about relays, DNS and addresses, which is not access control.
#include <gtest/gtest.h>

#include <string>

#include "control/policy/program.h"
#include "tests/control/policy_support.h"

namespace ringscale::control::policy {
namespace {

Document Parse(const std::string& text) {
  auto document = ParseDocument(text);
  EXPECT_TRUE(document) << document.error().text();
  return document ? std::move(*document) : Document();
}

DerpMap ServersMap() {
  DerpMap map;
  MergeDerpMap(map, *ParseDerpMapJson(R"({"Regions":{
"1":{"RegionID":1,"Nodes":[{"Name":"1a","RegionID":1,"HostName":"one.example"}]},
"2":{"RegionID":2,"Nodes":[{"Name":"2a","RegionID":2,"HostName":"two.example"}]}}})"));
  map.embedded = EmbeddedRegion{.host = "own.example", .port = 443};
  return map;
}

std::string Merged(const std::string& derp_map) {
  const Document document = Parse(R"({"derpMap":)" + derp_map + "}");
  DerpMap map = ServersMap();
  const bool applied = ApplyDerpOverlay(map, *document.derp_map);
  return (applied ? "" : "kept ") + RenderDerpMap(map, {142, "own.example", true});
}

TEST(PolicyNetwork, RegionsAreAddedToTheServersOwn) {
  const std::string map = Merged(R"({"Regions":{"901":{"RegionID":901,"RegionCode":"mine",
    "Nodes":[{"Name":"a","RegionID":901,"HostName":"mine.example"}]}}})");
  for (const char* host : {"one.example", "two.example", "own.example", "mine.example"}) {
    EXPECT_TRUE(map.contains(host)) << host;
  }
}

TEST(PolicyNetwork, NullTakesARegionAway) {
  const std::string map = Merged(R"({"Regions":{"1":null,"900":null}})");
  EXPECT_FALSE(map.contains("one.example"));
  EXPECT_FALSE(map.contains("own.example"));
  EXPECT_TRUE(map.contains("two.example"));
}

TEST(PolicyNetwork, DefaultRegionsCanBeOmitted) {
  const std::string map = Merged(R"({"OmitDefaultRegions":true,"Regions":{"7":{"RegionID":7,
    "Nodes":[{"Name":"a","RegionID":7,"HostName":"mine.example","InsecureForTests":true}]}}})");
  EXPECT_FALSE(map.contains("one.example"));
  EXPECT_FALSE(map.contains("own.example"));
  EXPECT_TRUE(map.contains("mine.example"));
  EXPECT_TRUE(map.contains(R"("InsecureForTests":true)"));
}

TEST(PolicyNetwork, ARegionOfThePolicyReplacesTheServersRelay) {
  const std::string map = Merged(R"({"Regions":{"900":{"RegionID":900,
    "Nodes":[{"Name":"a","RegionID":900,"HostName":"mine.example"}]}}})");
  EXPECT_FALSE(map.contains("own.example"));
  EXPECT_TRUE(map.contains("mine.example"));
}

TEST(PolicyNetwork, TheLastRegionStays) {
  const std::string map = Merged(R"({"Regions":{"1":null,"2":null,"900":null}})");
  EXPECT_TRUE(map.starts_with("kept ")) << map;
  EXPECT_TRUE(map.contains("one.example"));
}

TEST(PolicyNetwork, RegionsCanBePreferred) {
  EXPECT_TRUE(Merged(R"({"HomeParams":{"RegionScore":{"1":0.5}}})")
                  .contains(R"("HomeParams":{"RegionScore":{"1":0.5}})"));
}

TEST(PolicyNetwork, RecordsAreRead) {
  const Document document = Parse(R"({"extraDNSRecords":[
    {"Name":"grafana.corp.example","Type":"A","Value":"100.64.0.7"},
    {"name":"six.corp.example","value":"fd7a:115c:a1e0::7"}]})");
  ASSERT_EQ(document.extra_dns_records.size(), 2U);
  DnsSettings dns;
  dns.extra_records = document.extra_dns_records;
  EXPECT_TRUE(RenderDnsConfig(dns).contains(
      R"("ExtraRecords":[{"Name":"grafana.corp.example","Type":"A","Value":"100.64.0.7"},)"
      R"({"Name":"six.corp.example","Value":"fd7a:115c:a1e0::7"}])"));
}

TEST(PolicyNetwork, MistakesAreNamedWithTheirPlace) {
  const struct {
    const char* policy;
    const char* error;
  } kCases[] = {
      {"{\n\"derpMap\": 5}", "line 2, column 12: derpMap must be an object, got number"},
      {"{\"derpMap\":{\"regions\":[]}}", "line 1, column 23: derpMap: Regions must be an object"},
      {"{\"derpMap\":{\"Regions\":{\n\"x\":null}}}",
       "line 2, column 1: derpMap: DERP map: region ids must be numbers between 1 and 65535"},
      {"{\"derpMap\":{\"Regions\":{\n \"4\":{\"Nodes\":[]}}}}",
       "line 2, column 2: derpMap: DERP region 4: it has no nodes"},
      {"{\"derpMap\":{\"OmitDefaultRegions\":true}}",
       "line 1, column 12: derpMap omits the default regions and names no other"},
      {"{\"derpMap\":{\"OmitDefaultRegions\":true,\"Regions\":{\"1\":null}}}",
       "derpMap omits the default regions"},
      {"{\"derpMap\":{\"Region\":{}}}", "unknown field: \"Region\"\nallowed: omitdefaultregions"},
      {"{\"derpMap\":{\"HomeParams\":{\"RegionScore\":{\"a\":1}}}}", "RegionScore must give"},
      {"{\"extraDNSRecords\":{}}", "extraDNSRecords must be an array, got object"},
      {"{\"extraDNSRecords\":[\n {\"Name\":\"a.example\",\"Type\":\"CNAME\",\"Value\":\"b\"}]}",
       "line 2, column 2: extraDNSRecords: a.example must be of type A with an IPv4 address"},
      {"{\"extraDNSRecords\":[{\"Name\":\"a b\",\"Value\":\"1.2.3.4\"}]}",
       "\"a b\" is not a domain name"},
      {"{\"extraDNSRecords\":[{\"Name\":\"a\",\"TTL\":5}]}", "unknown field: \"TTL\""},
      {"{\"OneCGNATRoute\":true}", "OneCGNATRoute must be a string, got bool"},
      {"{\"OneCGNATRoute\":\"always\"}",
       "\"always\" is not known\nallowed: \"mac-always\", \"mac-never\""},
  };
  for (const auto& [text, error] : kCases) {
    const auto document = ParseDocument(text);
    ASSERT_FALSE(document) << text;
    EXPECT_TRUE(document.error().text().contains(error))
        << text << "\ngot: " << document.error().text();
  }
}

TEST(PolicyNetwork, NumbersOfEntriesAreBounded) {
  const auto records = ParseDocument(R"({"extraDNSRecords":[{"Name":"a","Value":"1.2.3.4"},
{"Name":"b","Value":"1.2.3.4"}]})",
                                     {.max_dns_records = 1});
  ASSERT_FALSE(records);
  EXPECT_EQ(records.error().text(), "line 2, column 1: too many extraDNSRecords: the limit is 1");
  std::string regions;
  for (int i = 1; i <= 1025; ++i) {
    regions += (i > 1 ? ",\"" : "\"") + std::to_string(i) + "\":null";
  }
  const auto map = ParseDocument(R"({"derpMap":{"Regions":{)" + regions + "}}}");
  ASSERT_FALSE(map);
  EXPECT_TRUE(map.error().text().contains("too many regions: the limit is 1024"));
}

TEST(PolicyNetwork, PoolsBelongToThoseWhomTheEntryNames) {
  const Loaded loaded = Load(TestPolicy(R"("nodeAttrs":[
    {"target":["alice@example.com"],"ipPool":["100.81.0.0/24"]},
    {"target":["tag:router","group:dev"],"ipPool":["100.82.0.0/24","100.83.0.0/24"]},
    {"target":["autogroup:tagged"],"attr":["x:y"]}])"));
  ASSERT_TRUE(loaded.engine) << loaded.error;
  const auto pools = [&](UserId user, std::vector<std::string> tags) {
    PolicyNode node;
    node.user = user;
    node.tags = std::move(tags);
    std::string out;
    for (const auto& pool : loaded.engine->program().AddressPools(node)) out += pool.text() + " ";
    return out;
  };
  EXPECT_TRUE(pools(1, {}).starts_with("100.81.0.0/24 ")) << pools(1, {});
  EXPECT_EQ(pools(0, {"tag:router"}), "100.82.0.0/24 100.83.0.0/24 ");
  EXPECT_EQ(pools(1, {"tag:db"}), "") << "a tagged node is nobody's";
}

}  // namespace
}  // namespace ringscale::control::policy

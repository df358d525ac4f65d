#include "bench/lib/relay_report.h"

#include <gtest/gtest.h>

namespace ringscale::bench {
namespace {

RelayReport Report() {
  RelayReport report;
  report.command = "ringscale-bench relay <&>";
  for (const char* relay : {"one", "two <b>"}) {
    ThroughputResult result;
    result.seconds = 2;
    result.packet_bytes = 1000;
    result.attempted = result.offered = 1000;
    result.delivered = result.in_time = 900;
    result.server_cpu_seconds = 0.0009;
    result.latency.Add(core::Micros(50), 900);
    report.throughput.push_back({.relay = relay, .wanted_bits = 4e6, .result = result});
  }
  ConnectResult connect;
  connect.alone.delays.Add(core::Micros(40));
  connect.alone.series.push_back(
      {.seconds = 0.1, .p50 = core::Micros(40), .max = core::Micros(40)});
  connect.during = connect.alone;
  connect.during.series[0].seconds = 0.2;
  connect.logins.done = 10;
  connect.logins.seconds = 1;
  connect.cpu_alone = 0.01;
  connect.cpu_during = 0.03;
  report.connect.push_back(
      {.relay = "one", .packet_bits = 5e7, .with_logins = true, .result = connect});
  StormResult storm;
  storm.clients = 100;
  storm.first.done = storm.again.done = 100;
  storm.first.seconds = storm.again.seconds = 1;
  storm.rss_before = 1'000'000;
  storm.rss_connected = storm.rss_after = 1'200'000;
  storm.delays = connect.alone;
  report.storm.push_back({.relay = "one", .result = storm});
  report.stun.push_back({.relay = "one", .result = {.answers = 500, .seconds = 1}});
  TcpResult tcp;
  tcp.seconds = 2;
  tcp.bytes = 25'000'000;
  tcp.server_cpu_seconds = 0.05;
  tcp.segments = 1000;
  tcp.retransmits = 5;
  tcp.drops_known = true;
  tcp.drops = {{"reason=\"queue_age\"", 7}};
  report.tcp.push_back({.relay = "one", .result = tcp});
  return report;
}

TEST(RelayReport, FiguresFollowFromCounts) {
  const RelayReport report = Report();
  const ThroughputResult& result = report.throughput[0].result;
  EXPECT_DOUBLE_EQ(result.Bits(result.attempted), 4e6);
  EXPECT_DOUBLE_EQ(result.loss(), 0.1);
  EXPECT_DOUBLE_EQ(result.cpu_per_gb(), 1.0);
  EXPECT_DOUBLE_EQ(report.connect[0].result.cpu_per_login(), 0.002);
  EXPECT_DOUBLE_EQ(report.storm[0].result.bytes_per_client(), 2000);
  EXPECT_DOUBLE_EQ(report.tcp[0].result.bits_per_second(), 1e8);
  EXPECT_DOUBLE_EQ(report.tcp[0].result.cpu_per_gb(), 2);
}

TEST(RelayReport, UnknownServerIsUnknownNotZero) {
  ThroughputResult result;
  result.in_time = 1;
  result.packet_bytes = 1;
  EXPECT_LT(result.cpu_per_gb(), 0);
  EXPECT_LT(ConnectResult{}.cpu_per_login(), 0);
  EXPECT_LT(StormResult{}.bytes_per_client(), 0);
  EXPECT_LT(TcpResult{}.cpu_per_gb(), 0);
  EXPECT_NE(TableRow(RelayReport::Throughput{.relay = "x", .result = result}).find('?'),
            std::string::npos);
}

TEST(RelayReport, WrongPacketsStandOut) {
  RelayReport::Throughput row = Report().throughput[0];
  EXPECT_EQ(TableRow(row).find("CORRUPT"), std::string::npos);
  row.result.corrupt = 1;
  EXPECT_NE(TableRow(row).find("1 CORRUPT"), std::string::npos);
}

TEST(RelayReport, JsonHoldsEveryRun) {
  const std::string json = ToJson(Report());
  for (const char* part :
       {R"("throughput":[{"relay":"one")", R"("server_cpu_s_per_gb":1,)", R"("slowest_pair":0,)",
        R"("during_logins":{)", R"("bytes_per_client":2000)", R"("answers":500)",
        R"("delivered_mbit":100,)", R"("dropped":{"reason=\"queue_age\"":7})"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << " in " << json;
  }
}

// Self-contained: nothing is loaded, and text from outside cannot become markup.
TEST(RelayReport, PageIsSelfContained) {
  const std::string page = ToHtml(Report());
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  for (const char* foreign :
       {"src=", "href=", "<script", "<link", "@import", "<b>", "nan", "inf"}) {
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
  }
  EXPECT_NE(page.find("two &lt;b&gt;"), std::string::npos);
  std::size_t plots = 0;
  for (std::size_t at = 0; (at = page.find("<svg", at)) != std::string::npos; ++at) ++plots;
  EXPECT_EQ(plots, 6u);
}

TEST(RelayReport, PageOfNothingIsAPage) {
  const std::string page = ToHtml({});
  EXPECT_NE(page.find("</html>"), std::string::npos);
  EXPECT_EQ(page.find("<svg"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::bench

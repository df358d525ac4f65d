#include "bench/lib/relay_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bench/lib/relay_figures.h"

namespace ringscale::bench {
namespace {

ThroughputResult Carried() {
  ThroughputResult result;
  result.seconds = 2;
  result.packet_bytes = 1000;
  result.attempted = result.offered = 1000;
  result.delivered = result.in_time = 900;
  result.server_cpu_seconds = 0.0009;
  result.latency.Add(core::Micros(50), 900);
  return result;
}

LatencyResult Delays(double seconds) {
  LatencyResult result;
  result.delays.Add(core::Micros(40), 99);
  result.delays.Add(core::Micros(90));
  result.sent = result.received = 100;
  result.realtime = true;
  for (const double more : {0.0, 0.1}) {
    result.series.push_back(
        {.seconds = seconds + more, .p50 = core::Micros(40), .max = core::Micros(41)});
  }
  return result;
}

LoginStorm::Outcome Logins(std::uint64_t done) {
  LoginStorm::Outcome outcome;
  outcome.done = done;
  outcome.seconds = 1;
  return outcome;
}

ConnectResult Connected() {
  ConnectResult result;
  result.alone = Delays(0.1);
  result.during = Delays(0.3);
  result.logins_began = 0.25;
  result.logins = Logins(10);
  result.cpu_alone = 0.01;
  result.cpu_during = 0.03;
  return result;
}

StormResult Storm() {
  StormResult result;
  result.clients = 100;
  result.first = result.again = Logins(100);
  result.before_all = {.server = 1'000'000, .kernel = 5'000'000};
  result.connected = result.came_back = {.server = 1'200'000, .kernel = 5'500'000};
  result.before = result.during_first = result.during_again = Delays(0.1);
  result.series = Delays(0.1).series;
  result.first_began = 0.1;
  result.dropped = 1.5;
  result.back = 2.5;
  return result;
}

TcpResult Tunnel() {
  TcpResult result;
  result.seconds = 2;
  result.bytes = 25'000'000;
  result.server_cpu_seconds = 0.05;
  result.segments = 1000;
  result.retransmits = 5;
  result.drops_known = true;
  result.drops = {{"reason=\"queue_age\"", 7}};
  return result;
}

// Two relays in every mode.
RelayReport Everything() {
  RelayReport report;
  report.command = "ringscale-bench relay <&>";
  for (const char* relay : {"one", "two <b>"}) {
    for (const std::uint64_t packets : {1000, 4000}) {
      ThroughputResult result = Carried();
      result.attempted = packets;
      AddThroughput(report, "throughput", relay, result);
    }
    AddConnect(report, relay, {}, Connected());
    AddStorm(report, relay, Storm());
    AddOverload(report, relay,
                {.ramp = {Carried()}, .peak_bits = 7.2e6, .times = 3, .overload = Carried()});
    AddStun(report, relay, {.answers = 500, .seconds = 1});
    AddTcp(report, relay, Tunnel());
  }
  return report;
}

double Of(const Record& record, std::string_view key) {
  const Figure* figure = record.Find(key);
  EXPECT_NE(figure, nullptr) << key;
  return figure == nullptr ? -2 : figure->value;
}

std::size_t Count(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++count;
  return count;
}

TEST(RelayReport, FiguresFollowFromCounts) {
  RelayReport report;
  AddThroughput(report, "throughput", "one", Carried());
  AddConnect(report, "one", {}, Connected());
  AddStorm(report, "one", Storm());
  AddOverload(report, "one", {.ramp = {}, .peak_bits = 7.2e6, .times = 3, .overload = Carried()});
  AddTcp(report, "one", Tunnel());
  ASSERT_EQ(report.records.size(), 8u);
  EXPECT_DOUBLE_EQ(Of(report.records[0], "attempted_mbit"), 4);
  EXPECT_NEAR(Of(report.records[0], "loss_percent"), 10, 1e-9);
  EXPECT_DOUBLE_EQ(Of(report.records[0], "server_cpu_s_per_gb"), 1);
  EXPECT_EQ(report.records[2].phase, "logins at full speed");
  EXPECT_DOUBLE_EQ(Of(report.records[2], "server_cpu_ms_per_login"), 2);
  EXPECT_EQ(report.records[3].phase, "before");
  EXPECT_DOUBLE_EQ(Of(report.records[5], "bytes_per_client"), 2000);
  EXPECT_DOUBLE_EQ(Of(report.records[5], "kernel_bytes_per_client"), 5000);
  EXPECT_EQ(report.records[6].phase, "3 times the peak");
  EXPECT_NEAR(Of(report.records[6], "share_of_peak_percent"), 50, 1e-9);
  EXPECT_DOUBLE_EQ(Of(report.records[7], "delivered_mbit"), 100);
  EXPECT_DOUBLE_EQ(Of(report.records[7], "server_cpu_s_per_gb"), 2);
  EXPECT_DOUBLE_EQ(Of(report.records[7], "dropped"), 7);
}

TEST(RelayReport, UnknownServerIsUnknownNotZero) {
  ThroughputResult result = Carried();
  result.server_cpu_seconds = -1;
  StormResult storm = Storm();
  storm.before_all = {};
  RelayReport report;
  AddThroughput(report, "throughput", "one", result);
  AddConnect(report, "one", {}, {});
  AddStorm(report, "one", storm);
  AddTcp(report, "one", {});
  EXPECT_LT(Of(report.records[6], "server_cpu_s_per_gb"), 0);
  EXPECT_LT(Of(report.records[6], "dropped"), 0);
  EXPECT_LT(Of(report.records[0], "server_cpu_s_per_gb"), 0);
  EXPECT_LT(Of(report.records[2], "server_cpu_ms_per_login"), 0);
  EXPECT_LT(Of(report.records[5], "bytes_per_client"), 0);
  EXPECT_NE(TableRow(report.records[0]).find(" - "), std::string::npos);
  EXPECT_NE(ToJson(report).find(R"("server_cpu_s_per_gb":null)"), std::string::npos);
}

TEST(RelayReport, WrongPacketsStandOut) {
  ThroughputResult result = Carried();
  RelayReport report;
  AddThroughput(report, "throughput", "one", result);
  result.corrupt = 1;
  AddThroughput(report, "throughput", "one", result);
  EXPECT_EQ(TableRow(report.records[0]).find("CORRUPT"), std::string::npos);
  EXPECT_NE(TableRow(report.records[1]).find("1 CORRUPT"), std::string::npos);
  EXPECT_NE(ToHtml(report).find("1 CORRUPT"), std::string::npos);
}

// Head and rows have the same columns, also where titles are long.
TEST(RelayReport, TableIsAligned) {
  for (const Record& record : Everything().records) {
    const std::string head = TableHead(record);
    Record bare = record;
    bare.remarks.clear();
    EXPECT_EQ(head.find('\n') + 1, TableRow(bare).size()) << head << TableRow(bare);
  }
}

TEST(RelayReport, JsonReadsBackAsItWas) {
  const RelayReport report = Everything();
  const std::string json = ToJson(report);
  const auto read = ReadReport(json);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(ToJson(*read), json);
  EXPECT_EQ(ToHtml(*read), ToHtml(report));
}

TEST(RelayReport, ReadsNothingElse) {
  for (const char* text :
       {"", "[]", "{}", R"({"records":[],"charts":1})", R"({"records":[1],"charts":[]})",
        R"({"records":[{"mode":1}],"charts":[]})",
        R"({"records":[{"attempted_mbit":"x"}],"charts":[]})",
        R"({"records":[],"charts":[{"kind":"pie"}]})",
        R"({"records":[],"charts":[{"kind":"cpu","curves":[{"points":[[1]]}]}]})",
        R"({"records":[],"charts":[{"kind":"cpu","spans":[{"from":"1","to":2}]}]})"}) {
    EXPECT_FALSE(ReadReport(text).has_value()) << text;
  }
}

// Two runs in one page: a chart holds the curves of both.
TEST(RelayReport, RunsAreJoined) {
  RelayReport both;
  for (const char* relay : {"before", "after"}) {
    RelayReport one;
    one.command = relay;
    AddThroughput(one, "throughput", relay, Carried());
    both.Add(std::move(one));
  }
  EXPECT_EQ(both.records.size(), 2u);
  EXPECT_EQ(both.command, "before\nafter");
  EXPECT_EQ(both.ChartOf("throughput", ChartKind::kDelivered).curves.size(), 2u);
}

TEST(RelayReport, PointsOfASweepAreOneCurve) {
  RelayReport report;
  for (const std::uint64_t packets : {4000, 1000, 2000}) {
    ThroughputResult result = Carried();
    result.attempted = packets;
    AddThroughput(report, "throughput", "one", result);
  }
  const Chart& chart = report.ChartOf("throughput", ChartKind::kDelivered);
  ASSERT_EQ(chart.curves.size(), 1u);
  EXPECT_EQ(chart.curves[0].points.size(), 3u);
  EXPECT_TRUE(std::ranges::is_sorted(chart.curves[0].points, {}, &Point::x));
}

// Self-contained: nothing is loaded, and text from outside cannot become markup.
TEST(RelayReport, PageIsSelfContained) {
  const std::string page = ToHtml(Everything());
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  for (const char* foreign :
       {"src=", "href=", "url(", "<script", "<link", "@import", "<b>", "nan", "inf"}) {
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
  }
  EXPECT_NE(page.find("two &lt;b&gt;"), std::string::npos);
  // Throughput 3, connect 2, storm one for each relay, overload 3; for two widths.
  EXPECT_EQ(Count(page, "<figure>"), 10u);
  EXPECT_EQ(Count(page, "role=\"img\""), 20u);
}

TEST(RelayReport, PageOfNothingIsAPage) {
  const std::string page = ToHtml({});
  EXPECT_NE(page.find("</html>"), std::string::npos);
  EXPECT_EQ(page.find("<svg"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::bench

#include "bench/lib/relay_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace ringscale::bench {
namespace {

// Curves with more points than this do not look different.
constexpr std::size_t kCurvePoints = 400;

double Micros(core::Duration duration) {
  return static_cast<double>(duration.ns) / 1e3;
}

// Builds one record.
class Row {
 public:
  Row(std::string mode, std::string relay, std::string phase = {}) {
    record_.mode = std::move(mode);
    record_.relay = std::move(relay);
    record_.phase = std::move(phase);
  }
  Row& Set(std::string_view key, double value) {
    const auto kinds = FigureKinds();
    const auto kind = std::ranges::find(kinds, key, &FigureKind::key);
    assert(kind != kinds.end());
    record_.figures.push_back({&*kind, value});
    return *this;
  }
  Row& Set(std::string_view key, std::uint64_t value) {
    return Set(key, static_cast<double>(value));
  }
  // Says so when it is not 0.
  Row& Count(std::string_view key, std::uint64_t count, std::string_view remark) {
    if (count != 0) Remark(fmt::format("{} {}", count, remark));
    return Set(key, count);
  }
  Row& Remark(const std::string& text) {
    record_.remarks += (record_.remarks.empty() ? "" : ", ") + text;
    return *this;
  }
  Row& Delays(const Histogram& delays) {
    Set("delay_p50_us", Micros(delays.Quantile(0.5)));
    Set("delay_p90_us", Micros(delays.Quantile(0.9)));
    Set("delay_p99_us", Micros(delays.Quantile(0.99)));
    Set("delay_p999_us", Micros(delays.Quantile(0.999)));
    return Set("delay_max_us", Micros(delays.max()));
  }
  // Of a probe; empty when there was none.
  Row& Latency(const LatencyResult& result) {
    Delays(result.delays);
    Set("packets_timed", result.delays.count());
    // The last ones may be under way.
    const std::uint64_t missing =
        result.sent > result.received + 10 ? result.sent - result.received : 0;
    Count("packets_not_received", missing, fmt::format("of {} packets not received", result.sent));
    Count("packets_wrong", result.wrong, "WRONG packets");
    if (result.sent != 0 && !result.realtime) Remark("timed without real-time priority");
    return Set("realtime", result.realtime ? 1.0 : 0.0);
  }
  // `outcome` is null in a phase without logins.
  Row& Logins(const LoginStorm::Outcome* outcome, double server_cpu_seconds) {
    if (outcome == nullptr) {
      for (const char* key :
           {"logins", "logins_per_s", "login_p50_ms", "login_p99_ms", "server_cpu_ms_per_login",
            "generator_cpu_ms_per_login", "logins_failed"}) {
        Set(key, -1.0);
      }
      return *this;
    }
    const auto done = static_cast<double>(outcome->done);
    const auto each = [&](double cpu) { return cpu < 0 || done == 0 ? -1 : cpu * 1e3 / done; };
    Set("logins", outcome->done);
    Set("logins_per_s", outcome->seconds > 0 ? done / outcome->seconds : 0);
    Set("login_p50_ms", Micros(outcome->took.Quantile(0.5)) / 1e3);
    Set("login_p99_ms", Micros(outcome->took.Quantile(0.99)) / 1e3);
    Set("server_cpu_ms_per_login", each(server_cpu_seconds));
    Set("generator_cpu_ms_per_login", each(outcome->own_cpu_seconds));
    return Count("logins_failed", outcome->failed, "failed: " + outcome->first_failure);
  }
  void AddTo(RelayReport& report) { report.records.push_back(std::move(record_)); }

 private:
  Record record_;
};

// What a run of pairs always tells.
void SetThroughput(Row& row, const ThroughputResult& r) {
  const auto packets = static_cast<double>(r.in_time);
  row.Set("attempted_mbit", r.Bits(r.attempted) / 1e6);
  row.Set("offered_mbit", r.Bits(r.offered) / 1e6);
  row.Set("delivered_mbit", r.Bits(r.in_time) / 1e6);
  row.Set("loss_percent", 100 * r.loss());
  row.Set("slowest_pair", r.slowest_pair);
  if (r.slow_pairs != 0) {
    row.Set("slow_delivered_kbit", r.Bits(r.slow_delivered) / 1e3);
  }
  row.Set("server_cpu_s_per_gb", r.cpu_per_gb());
  row.Set("server_cpu_us_per_packet",
          r.server_cpu_seconds < 0 || packets == 0 ? -1 : r.server_cpu_seconds * 1e6 / packets);
  row.Set("server_cores", r.server_cpu_seconds < 0 ? -1 : r.server_cpu_seconds / r.seconds);
  row.Set("generator_cores", r.own_cpu_seconds / r.seconds);
  row.Delays(r.latency);
  row.Set("busiest_generator_thread", r.busiest_thread).Set("other_cores", r.other_cores);
  row.Set("packet_bytes", std::uint64_t{r.packet_bytes}).Set("seconds", r.seconds);
  row.Set("server_rss_bytes", r.server_rss_bytes);
  if (r.generator_was_limit()) row.Remark("the generator was the limit");
  if (r.other_cores > 0.25) row.Remark(fmt::format("others used {:.1f} cores", r.other_cores));
  row.Count("corrupt", r.corrupt, "CORRUPT");
  row.Count("misplaced", r.misplaced, "OUT OF ORDER");
  row.Count("closed", r.closed, "connections closed");
}

std::vector<Point> Distribution(const Histogram& delays) {
  const auto steps = delays.Cumulative();
  std::vector<Point> points;
  // The ends matter most: the tail is where few buckets are left.
  const std::size_t stride = steps.size() / kCurvePoints + 1;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i % stride != 0 && i + 1 != steps.size()) continue;
    points.push_back({Micros(steps[i].value), steps[i].fraction * 100});
  }
  return points;
}

void AppendSeries(std::vector<Point>& points, const std::vector<LatencyPoint>& series) {
  for (const LatencyPoint& point : series) points.push_back({point.seconds, Micros(point.max)});
}

// Adds a point to the curve of that relay, in order of x.
void AddPoint(Chart& chart, const std::string& relay, const std::string& what, bool secondary,
              Point point) {
  auto curve = std::ranges::find_if(
      chart.curves, [&](const Curve& one) { return one.relay == relay && one.what == what; });
  if (curve == chart.curves.end()) {
    chart.curves.push_back({.relay = relay, .what = what, .secondary = secondary, .points = {}});
    curve = chart.curves.end() - 1;
  }
  const auto at = std::ranges::upper_bound(curve->points, point.x, {}, &Point::x);
  curve->points.insert(at, point);
}

void AddLoadPoints(RelayReport& report, const std::string& mode, const std::string& relay,
                   const ThroughputResult& r) {
  const double offered = r.Bits(r.attempted) / 1e6;
  AddPoint(report.ChartOf(mode, ChartKind::kDelivered), relay, {}, false,
           {offered, r.Bits(r.in_time) / 1e6});
  if (r.cpu_per_gb() >= 0) {
    AddPoint(report.ChartOf(mode, ChartKind::kCpu), relay, {}, false, {offered, r.cpu_per_gb()});
  }
  if (r.latency.count() == 0) return;
  Chart& delays = report.ChartOf(mode, ChartKind::kDelayOverLoad);
  AddPoint(delays, relay, "p50", false, {offered, Micros(r.latency.Quantile(0.5))});
  AddPoint(delays, relay, "p99", true, {offered, Micros(r.latency.Quantile(0.99))});
}

}  // namespace

void AddThroughput(RelayReport& report, const std::string& mode, const std::string& relay,
                   const ThroughputResult& result) {
  Row row(mode, relay);
  SetThroughput(row, result);
  row.AddTo(report);
  AddLoadPoints(report, mode, relay, result);
  report.ChartOf(mode, ChartKind::kDistribution)
      .curves.push_back({.relay = relay,
                         .what = fmt::format("{:.0f} Mbit/s", result.Bits(result.attempted) / 1e6),
                         .points = Distribution(result.latency)});
}

void AddConnect(RelayReport& report, const std::string& relay, const ConnectOptions& options,
                const ConnectResult& result) {
  const std::string mode = options.with_logins ? "connect" : "latency";
  const std::string idle = fmt::format("at {:.0f} Mbit/s", options.latency.bits_per_second / 1e6);
  const std::string loaded = options.logins.per_second > 0
                                 ? fmt::format("{:.0f} logins/s", options.logins.per_second)
                                 : "logins at full speed";
  const auto add = [&](const std::string& phase, const LatencyResult& latency) {
    Row row(mode, relay, phase);
    row.Latency(latency);
    if (options.with_logins) {
      const bool during = &latency == &result.during;
      row.Logins(during ? &result.logins : nullptr,
                 result.cpu_per_login() * static_cast<double>(result.logins.done));
    }
    row.AddTo(report);
    report.ChartOf(mode, ChartKind::kDistribution)
        .curves.push_back({.relay = relay,
                           .what = options.with_logins ? phase : "",
                           .secondary = &latency == &result.during,
                           .points = Distribution(latency.delays)});
  };
  add(idle, result.alone);
  Curve series{.relay = relay, .what = {}, .points = {}};
  AppendSeries(series.points, result.alone.series);
  Chart& over_time = report.ChartOf(mode, ChartKind::kOverTime);
  if (options.with_logins && over_time.spans.empty() && !result.during.series.empty()) {
    over_time.spans.push_back(
        {result.logins_began, result.during.series.back().seconds, "clients log in"});
  }
  AppendSeries(series.points, result.during.series);
  over_time.curves.push_back(std::move(series));
  if (options.with_logins) add(loaded, result.during);
}

void AddStorm(RelayReport& report, const std::string& relay, const StormResult& result) {
  const bool came_back = result.back > 0;
  const std::string mode = came_back ? "storm" : "idle";
  const auto add = [&](const std::string& phase, const LoginStorm::Outcome* logins, double cpu,
                       const LatencyResult& latency, const StormResult::Memory& memory, bool last) {
    Row row(mode, relay, phase);
    row.Logins(logins, cpu).Latency(latency);
    row.Set("server_rss_mb", memory.server == 0 ? -1 : static_cast<double>(memory.server) / 1e6);
    row.Set("bytes_per_client", last ? result.bytes_per_client() : -1);
    row.Set("kernel_bytes_per_client", last ? result.kernel_bytes_per_client() : -1);
    row.Count("clients_lost", last ? result.lost : 0, "LOST while idle");
    row.AddTo(report);
  };
  add("before", nullptr, -1, result.before, result.before_all, false);
  add(fmt::format("{} log in", result.clients), &result.first, result.cpu_first,
      result.during_first, result.connected, !came_back);
  if (came_back) {
    add("cut off, come back", &result.again, result.cpu_again, result.during_again,
        result.came_back, true);
  }
  Chart& chart = report.ChartOf(mode, ChartKind::kOverTime, relay);
  Curve curve{.relay = relay, .what = {}, .points = {}};
  AppendSeries(curve.points, result.series);
  chart.curves.push_back(std::move(curve));
  if (!chart.spans.empty()) return;  // of an earlier round
  chart.spans.push_back(
      {result.first_began, result.first_began + result.first.seconds, "clients log in"});
  if (came_back) chart.spans.push_back({result.dropped, result.back, "cut off, come back"});
}

void AddOverload(RelayReport& report, const std::string& relay, const OverloadResult& result) {
  const auto add = [&](const std::string& phase, const ThroughputResult& r, double share) {
    Row row("overload", relay, phase);
    row.Set("share_of_peak_percent", share);
    SetThroughput(row, r);
    row.AddTo(report);
    AddLoadPoints(report, "overload", relay, r);
  };
  for (const ThroughputResult& r : result.ramp) add("ramp", r, -1);
  add(fmt::format("{:g} times the peak", result.times), result.overload, 100 * result.share());
}

void AddStun(RelayReport& report, const std::string& relay, const StunResult& r) {
  const auto answers = static_cast<double>(r.answers);
  const bool known = r.server_cpu_seconds > 0 && answers > 0;
  Row row("stun", relay);
  row.Set("stun_answers_per_s", answers / r.seconds);
  row.Set("stun_answers_per_core_s", known ? answers / r.server_cpu_seconds : -1);
  row.Set("server_cpu_us_per_answer", known ? r.server_cpu_seconds * 1e6 / answers : -1);
  row.Set("generator_cpu_us_per_answer", answers > 0 ? r.own_cpu_seconds * 1e6 / answers : -1);
  row.Set("stun_lost", r.lost);
  row.Count("stun_wrong", r.wrong, "WRONG answers");
  row.AddTo(report);
}

void AddTcp(RelayReport& report, const std::string& relay, const TcpResult& r) {
  const auto percent = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
  };
  const auto millis = [](const Histogram& delays, double fraction) {
    return Micros(delays.Quantile(fraction)) / 1e3;
  };
  Row row("tcp", relay);
  row.Set("flows", std::uint64_t{r.flows});
  row.Set("receiver_mbit",
          r.wanted_bytes_per_second == 0 ? -1 : r.wanted_bytes_per_second * 8 / 1e6);
  row.Set("added_round_trip_ms", r.round_trip_ms);
  row.Set("delivered_mbit", r.bits_per_second() / 1e6);
  row.Set("slowest_flow", r.slowest_flow);
  row.Set("retransmits_percent", percent(r.retransmits, r.segments));
  row.Set("packets_lost_percent", percent(r.lost, r.packets));
  row.Set("tcp_rtt_p50_ms", millis(r.rtt, 0.5)).Set("tcp_rtt_p99_ms", millis(r.rtt, 0.99));
  row.Set("data_ping_p50_ms", millis(r.data_pings, 0.5));
  row.Set("data_ping_p99_ms", millis(r.data_pings, 0.99));
  row.Set("disco_ping_p99_ms", millis(r.disco_pings, 0.99));
  row.Set("bystander_p99_ms", millis(r.bystanders, 0.99));
  row.Set("server_cpu_s_per_gb", r.cpu_per_gb());
  row.Set("generator_cores", r.seconds > 0 ? r.own_cpu_seconds / r.seconds : 0);
  row.Set("tcp_rtt_samples", r.rtt.count()).Set("data_pings", r.data_pings.count());
  row.Set("disco_pings", r.disco_pings.count()).Set("bystander_pings", r.bystanders.count());
  row.Set("segments", r.segments).Set("retransmits", r.retransmits);
  row.Set("packets", r.packets).Set("packets_lost", r.lost);
  row.Set("window_bytes", r.window_bytes).Set("seconds", r.seconds);
  row.Set("busiest_generator_thread", r.busiest_thread).Set("other_cores", r.other_cores);
  std::uint64_t dropped = 0;
  for (const auto& [labels, count] : r.drops) {
    dropped += count;
    row.Remark(fmt::format("dropped {} {}", count, labels));
  }
  row.Set("dropped", r.drops_known ? static_cast<double>(dropped) : -1);
  if (r.busiest_thread > 0.97) row.Remark("the generator was the limit");
  if (r.other_cores > 0.25) row.Remark(fmt::format("others used {:.1f} cores", r.other_cores));
  row.AddTo(report);
}

}  // namespace ringscale::bench

#include "bench/lib/relay_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/json/reader.h"
#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

constexpr FigureKind kFigures[] = {
    // Throughput and what belongs to it.
    {"attempted_mbit", "attempted", "Mbit/s", 1},
    {"offered_mbit", "offered", "Mbit/s", 1},
    {"delivered_mbit", "delivered", "Mbit/s", 1},
    {"loss_percent", "loss", "%", 3},
    {"slowest_pair", "slowest", "/fastest", 3},
    {"server_cpu_s_per_gb", "CPU", "s/GB", 3},
    {"server_cpu_us_per_packet", "CPU", "us/packet", 3},
    {"server_cores", "server", "cores", 2},
    {"generator_cores", "load", "cores", 2},
    {"busiest_generator_thread", "", "cores", 3},
    {"other_cores", "", "cores", 2},
    {"packet_bytes", "", "bytes", 0},
    {"seconds", "", "s", 3},
    {"server_rss_bytes", "", "bytes", 0},
    {"slow_delivered_kbit", "slow ones", "kbit/s", 0},
    {"peak_mbit", "peak", "Mbit/s", 1},
    {"share_of_peak_percent", "delivered", "% of peak", 1},
    {"corrupt", "", "", 0},
    {"misplaced", "", "", 0},
    {"closed", "", "", 0},
    // Delays of packets, one way.
    {"delay_p50_us", "p50", "us", 0},
    {"delay_p90_us", "p90", "us", 0},
    {"delay_p99_us", "p99", "us", 0},
    {"delay_p999_us", "p99.9", "us", 0},
    {"delay_max_us", "max", "us", 0},
    {"packets_timed", "", "", 0},
    {"packets_not_received", "", "", 0},
    {"packets_wrong", "", "", 0},
    {"realtime", "", "", 0},
    // Logins.
    {"logins", "logins", "", 0},
    {"logins_failed", "failed", "", 0},
    {"logins_per_s", "logins", "/s", 0},
    {"login_p50_ms", "login p50", "ms", 1},
    {"login_p99_ms", "login p99", "ms", 1},
    {"server_cpu_ms_per_login", "CPU", "ms/login", 3},
    {"generator_cpu_ms_per_login", "load", "ms/login", 3},
    // Memory.
    {"server_rss_mb", "RSS", "MB", 1},
    {"bytes_per_client", "memory", "bytes/client", 0},
    {"kernel_bytes_per_client", "kernel", "bytes/client", 0},
    {"clients_lost", "lost", "", 0},
    // TCP inside the tunnel.
    {"flows", "flows", "", 0},
    {"receiver_mbit", "receiver", "Mbit/s", 0},
    {"added_round_trip_ms", "path", "ms", 1},
    {"slowest_flow", "slowest", "/fastest", 2},
    {"retransmits_percent", "retrans", "%", 3},
    {"packets_lost_percent", "lost", "%", 3},
    {"tcp_rtt_p50_ms", "RTT p50", "ms", 2},
    {"tcp_rtt_p99_ms", "RTT p99", "ms", 2},
    {"data_ping_p50_ms", "ping p50", "ms", 2},
    {"data_ping_p99_ms", "ping p99", "ms", 2},
    {"disco_ping_p99_ms", "disco p99", "ms", 2},
    {"bystander_p99_ms", "others p99", "ms", 2},
    {"dropped", "", "", 0},
    {"tcp_rtt_samples", "", "", 0},
    {"data_pings", "", "", 0},
    {"disco_pings", "", "", 0},
    {"bystander_pings", "", "", 0},
    {"segments", "", "", 0},
    {"retransmits", "", "", 0},
    {"packets", "", "", 0},
    {"packets_lost", "", "", 0},
    {"window_bytes", "", "bytes", 0},
    // STUN.
    {"stun_answers_per_s", "answers", "/s", 0},
    {"stun_answers_per_core_s", "answers", "/s/core", 0},
    {"server_cpu_us_per_answer", "CPU", "us/answer", 2},
    {"generator_cpu_us_per_answer", "load", "us/answer", 2},
    {"stun_lost", "lost", "", 0},
    {"stun_wrong", "wrong", "", 0},
};

constexpr std::string_view kChartNames[] = {"delivered", "cpu", "delay_over_load", "distribution",
                                            "over_time"};
static_assert(std::size(kChartNames) == kChartKinds);

constexpr int kNameWidth = 24;
constexpr int kPhaseWidth = 22;

bool Shown(const Figure& figure) {
  return !figure.kind->title.empty();
}

int Width(const FigureKind& kind) {
  return static_cast<int>(std::max({kind.title.size(), kind.unit.size(), std::size_t{8}}));
}

// A line of a table: `cell` says what stands in a figure's column.
template <class Cell>
std::string Line(const Record& record, std::string_view relay, std::string_view phase,
                 const Cell& cell) {
  std::string line = fmt::format("{:<{}}", relay, kNameWidth);
  if (!record.phase.empty()) line += fmt::format(" {:<{}}", phase, kPhaseWidth);
  for (const Figure& figure : record.figures) {
    if (Shown(figure)) line += fmt::format(" {:>{}}", cell(figure), Width(*figure.kind));
  }
  return line;
}

void WriteRecord(core::json::Writer& out, const Record& record) {
  out.BeginObject();
  out.Key("mode").Value(record.mode).Key("relay").Value(record.relay);
  out.Key("phase").Value(record.phase).Key("remarks").Value(record.remarks);
  for (const Figure& figure : record.figures) {
    out.Key(figure.kind->key);
    figure.value < 0 ? out.Null() : out.Value(figure.value);
  }
  out.EndObject();
}

void WriteChart(core::json::Writer& out, const Chart& chart) {
  out.BeginObject();
  out.Key("mode").Value(chart.mode).Key("subject").Value(chart.subject);
  out.Key("kind").Value(kChartNames[static_cast<std::size_t>(chart.kind)]);
  out.Key("curves").BeginArray();
  for (const Curve& curve : chart.curves) {
    out.BeginObject().Key("relay").Value(curve.relay).Key("what").Value(curve.what);
    out.Key("secondary").Value(curve.secondary).Key("points").BeginArray();
    for (const Point& point : curve.points) {
      out.BeginArray().Value(point.x).Value(point.y).EndArray();
    }
    out.EndArray().EndObject();
  }
  out.EndArray().Key("spans").BeginArray();
  for (const ChartSpan& span : chart.spans) {
    out.BeginObject().Key("from").Value(span.from).Key("to").Value(span.to);
    out.Key("name").Value(span.name).EndObject();
  }
  out.EndArray().EndObject();
}

// --- reading: a member that is missing is an empty one, other kinds are errors ---

using core::json::Value;

class ReportReader {
 public:
  core::Result<RelayReport> Read(const Value& root) {
    if (!root.is_object() || !root["records"].is_array() || !root["charts"].is_array()) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "this is not what ringscale-bench relay --json prints");
    }
    RelayReport report;
    report.command = Text(root["command"]);
    root["records"].Elements([&](Value value) {
      report.records.push_back(ReadRecord(value));
      return good_;
    });
    root["charts"].Elements([&](Value value) {
      report.charts.push_back(ReadChart(value));
      return good_;
    });
    if (!good_) return core::Fail(core::ErrorCode::kInvalid, "a report that is damaged");
    return report;
  }

 private:
  std::string Text(Value value) {
    const auto text = value.AsString();
    good_ = good_ && (text || value.missing());
    return std::string(text.value_or(""));
  }
  double Number(Value value) {
    const auto number = value.AsDouble();
    good_ = good_ && number.has_value();
    return number.value_or(0);
  }
  Record ReadRecord(Value value) {
    good_ = good_ && value.is_object();
    Record record{.mode = Text(value["mode"]),
                  .relay = Text(value["relay"]),
                  .phase = Text(value["phase"]),
                  .figures = {},
                  .remarks = Text(value["remarks"])};
    value.Members([&](std::string_view key, Value member) {
      const auto* kind = std::ranges::find(kFigures, key, &FigureKind::key);
      if (kind != std::end(kFigures)) {
        record.figures.push_back({kind, member.is_null() ? -1 : Number(member)});
      }
      return good_;
    });
    return record;
  }
  Chart ReadChart(Value value) {
    Chart chart{.mode = Text(value["mode"]),
                .kind = {},
                .subject = Text(value["subject"]),
                .curves = {},
                .spans = {}};
    const auto* name = std::ranges::find(kChartNames, Text(value["kind"]));
    good_ = good_ && name != std::end(kChartNames);
    if (!good_) return chart;
    chart.kind = static_cast<ChartKind>(name - std::begin(kChartNames));
    value["curves"].Elements([&](Value from) {
      Curve& curve = chart.curves.emplace_back();
      curve.relay = Text(from["relay"]);
      curve.what = Text(from["what"]);
      curve.secondary = from["secondary"].AsBool().value_or(false);
      from["points"].Elements([&](Value pair) {
        std::vector<double> numbers;
        pair.Elements([&](Value number) {
          numbers.push_back(Number(number));
          return good_;
        });
        good_ = good_ && numbers.size() == 2;
        if (good_) curve.points.push_back({numbers[0], numbers[1]});
        return good_;
      });
      return good_;
    });
    value["spans"].Elements([&](Value from) {
      chart.spans.push_back({Number(from["from"]), Number(from["to"]), Text(from["name"])});
      return good_;
    });
    return chart;
  }

  bool good_ = true;
};

}  // namespace

std::span<const FigureKind> FigureKinds() {
  return kFigures;
}

const Figure* Record::Find(std::string_view key) const {
  const auto found =
      std::ranges::find(figures, key, [](const Figure& figure) { return figure.kind->key; });
  return found == figures.end() ? nullptr : &*found;
}

Chart& RelayReport::ChartOf(std::string_view mode, ChartKind kind, std::string_view subject) {
  const auto found = std::ranges::find_if(charts, [&](const Chart& chart) {
    return chart.mode == mode && chart.kind == kind && chart.subject == subject;
  });
  if (found != charts.end()) return *found;
  return charts.emplace_back(Chart{.mode = std::string(mode),
                                   .kind = kind,
                                   .subject = std::string(subject),
                                   .curves = {},
                                   .spans = {}});
}

void RelayReport::Add(RelayReport more) {
  command += (command.empty() ? "" : "\n") + more.command;
  std::ranges::move(more.records, std::back_inserter(records));
  for (Chart& chart : more.charts) {
    Chart& mine = ChartOf(chart.mode, chart.kind, chart.subject);
    std::ranges::move(chart.curves, std::back_inserter(mine.curves));
    std::ranges::move(chart.spans, std::back_inserter(mine.spans));
  }
}

std::string FigureText(const Figure& figure) {
  return figure.value < 0 ? "-" : fmt::format("{:.{}f}", figure.value, figure.kind->digits);
}

std::string TableHead(const Record& record) {
  return Line(record, "relay", "", [](const Figure& figure) { return figure.kind->title; }) + "\n" +
         Line(record, "", "", [](const Figure& figure) { return figure.kind->unit; }) + "\n";
}

std::string TableRow(const Record& record) {
  return Line(record, record.relay, record.phase, FigureText) +
         (record.remarks.empty() ? "" : "  " + record.remarks) + "\n";
}

std::string ToJson(const RelayReport& report) {
  std::string text;
  core::json::Writer out(text);
  out.BeginObject();
  out.Key("command").Value(report.command);
  out.Key("records").BeginArray();
  for (const Record& record : report.records) WriteRecord(out, record);
  out.EndArray().Key("charts").BeginArray();
  for (const Chart& chart : report.charts) WriteChart(out, chart);
  out.EndArray().EndObject();
  return text;
}

core::Result<RelayReport> ReadReport(std::string_view json) {
  core::json::Parser parser;
  auto root = parser.Parse(json, {.max_bytes = std::size_t{64} << 20, .max_depth = 8});
  if (!root) return core::Forward(root);
  return ReportReader().Read(*root);
}

}  // namespace ringscale::bench

#include "bench/lib/control_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

constexpr double kMega = 1e6;

double PerChange(const ControlReport& report, double value) {
  return value / static_cast<double>(std::max<std::size_t>(report.changes, 1));
}

const PhaseResult* PhaseOf(const ControlReport& report, std::string_view name) {
  const auto found = std::ranges::find(report.phases, name, &PhaseResult::name);
  return found == report.phases.end() ? nullptr : &*found;
}

// Milliseconds of the server's CPU for each change.
std::optional<double> ChangeCpu(const ControlReport& report) {
  const PhaseResult* phase = PhaseOf(report, "changes");
  if (phase == nullptr || !phase->server_cpu_seconds) return std::nullopt;
  return PerChange(report, *phase->server_cpu_seconds * 1e3);
}

}  // namespace

std::string ReportTable(const ControlReport& report) {
  std::string text = fmt::format("{} nodes, {}\n\n", report.nodes, report.url);
  text += fmt::format("{:<10} {:>6} {:>6} {:>7} {:>8} {:>12} {:>11} {:>11} {:>9} {:>7}\n", "phase",
                      "done", "failed", "retries", "wall s", "server CPU s", "ms CPU each",
                      "MB received", "messages", "RSS MB");
  const auto or_unknown = [](bool known, double value, int digits) {
    return known ? fmt::format("{:.{}f}", value, digits) : std::string("?");
  };
  for (const PhaseResult& phase : report.phases) {
    const bool known = phase.server_cpu_seconds.has_value();
    const double cpu = phase.server_cpu_seconds.value_or(0);
    text += fmt::format(
        "{:<10} {:>6} {:>6} {:>7} {:>8.2f} {:>12} {:>11} {:>11.2f} {:>9} {:>7}\n", phase.name,
        phase.done, phase.failed, phase.retries, phase.wall_seconds, or_unknown(known, cpu, 3),
        or_unknown(known, cpu * 1e3 / static_cast<double>(std::max<std::size_t>(phase.done, 1)), 3),
        static_cast<double>(phase.bytes) / kMega, phase.messages,
        or_unknown(phase.server.has_value(),
                   phase.server ? static_cast<double>(phase.server->rss_bytes) / kMega : 0, 1));
  }
  text += '\n';
  if (report.maps_decoded > 0) {
    text += fmt::format(
        "full map: {:.0f} bytes a peer (compressed; {} maps decoded, {} to {} peers",
        report.bytes_per_peer, report.maps_decoded, report.peers_least, report.peers_most);
    text += report.maps_damaged > 0 ? fmt::format(", {} damaged)\n", report.maps_damaged) : ")\n";
  }
  if (report.changes > 0) {
    text += fmt::format(
        "a change told to {} others: p50 {:.1f} ms, p99 {:.1f} ms, the last within {:.1f} ms; "
        "{} tellings missing\n",
        report.nodes - 1, Percentile(report.told_seconds, 0.5) * 1e3,
        Percentile(report.told_seconds, 0.99) * 1e3,
        Percentile(report.last_told_seconds, 1.0) * 1e3, report.not_told);
    if (const auto cpu = ChangeCpu(report)) {
      text += fmt::format("server CPU a change: {:.2f} ms; ", *cpu);
    }
    text += fmt::format("{:.0f} bytes a telling on the wire\n", report.bytes_per_telling);
  }
  if (!report.phases.empty() && report.phases.back().server) {
    text += fmt::format("server memory at most: {:.1f} MB\n",
                        static_cast<double>(report.phases.back().server->peak_rss_bytes) / kMega);
  }
  for (const PhaseResult& phase : report.phases) {
    // A generator without a core to spare measures itself. While it waits for what a
    // change leads to, it never sleeps.
    if (phase.name != "changes" && phase.wall_seconds > 0.5 &&
        phase.own_cpu_seconds > 0.9 * phase.wall_seconds) {
      text += fmt::format("{}: the load generator's core was full ({:.0f} %)\n", phase.name,
                          100 * phase.own_cpu_seconds / phase.wall_seconds);
    }
  }
  return text;
}

std::string ReportJson(const ControlReport& report) {
  std::string text;
  core::json::Writer json(text);
  const auto number = [&](std::string_view key, std::optional<double> value) {
    json.Key(key);
    value ? json.Value(*value) : json.Null();
  };
  json.BeginObject().Field("server", report.url).Field("nodes", report.nodes);
  json.Key("phases").BeginArray();
  for (const PhaseResult& phase : report.phases) {
    json.BeginObject().Field("name", phase.name);
    json.Field("done", phase.done).Field("failed", phase.failed).Field("retries", phase.retries);
    number("wall_s", phase.wall_seconds);
    number("server_cpu_s", phase.server_cpu_seconds);
    number("own_cpu_s", phase.own_cpu_seconds);
    json.Field("bytes", phase.bytes).Field("messages", phase.messages);
    json.Key("rss_bytes");
    phase.server ? json.Value(phase.server->rss_bytes) : json.Null();
    json.EndObject();
  }
  json.EndArray();
  json.Key("full_map").BeginObject();
  json.Field("decoded", report.maps_decoded).Field("damaged", report.maps_damaged);
  json.Field("peers_least", report.peers_least).Field("peers_most", report.peers_most);
  number("bytes_per_peer", report.bytes_per_peer);
  json.EndObject();
  json.Key("change").BeginObject().Field("count", report.changes);
  number("p50_ms", Percentile(report.told_seconds, 0.5) * 1e3);
  number("p99_ms", Percentile(report.told_seconds, 0.99) * 1e3);
  number("last_ms", Percentile(report.last_told_seconds, 1.0) * 1e3);
  number("server_cpu_ms", ChangeCpu(report));
  number("bytes_each", report.bytes_per_telling);
  json.Field("not_told", report.not_told).EndObject();
  json.Key("peak_rss_bytes");
  !report.phases.empty() && report.phases.back().server
      ? json.Value(report.phases.back().server->peak_rss_bytes)
      : json.Null();
  json.EndObject();
  text += '\n';
  return text;
}

}  // namespace ringscale::bench

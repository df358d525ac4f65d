#include "bench/lib/relay_report.h"

#include <fmt/format.h>

#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

double Micros(core::Duration duration) {
  return static_cast<double>(duration.ns) / 1e3;
}

// A figure that may not be known.
std::string Known(double value, int digits) {
  return value < 0 ? "?" : fmt::format("{:.{}f}", value, digits);
}

std::string Remarks(const ThroughputResult& result) {
  std::string remarks;
  const auto add = [&](const std::string& text) {
    remarks += (remarks.empty() ? "" : ", ") + text;
  };
  if (result.generator_was_limit()) add("the generator was the limit");
  if (result.other_cores > 0.25) add(fmt::format("others used {:.1f} cores", result.other_cores));
  if (result.corrupt != 0) add(fmt::format("{} CORRUPT", result.corrupt));
  if (result.misplaced != 0) add(fmt::format("{} OUT OF ORDER", result.misplaced));
  if (result.slow_delivered != 0) add(fmt::format("{} to slow receivers", result.slow_delivered));
  if (result.closed != 0) add(fmt::format("{} connections closed", result.closed));
  return remarks;
}

std::string Remarks(const TcpResult& result) {
  std::string remarks;
  for (const auto& [labels, count] : result.drops) remarks += fmt::format("  {} {}", labels, count);
  if (result.busiest_thread > 0.97) remarks += "  the generator was the limit";
  if (result.other_cores > 0.25)
    remarks += fmt::format("  others {:.1f} cores", result.other_cores);
  return remarks;
}

std::string Delays(const Histogram& delays) {
  return fmt::format("p50 {:.0f}, p90 {:.0f}, p99 {:.0f}, p99.9 {:.0f}, max {:.0f} us",
                     Micros(delays.Quantile(0.5)), Micros(delays.Quantile(0.9)),
                     Micros(delays.Quantile(0.99)), Micros(delays.Quantile(0.999)),
                     Micros(delays.max()));
}

std::string Loss(const LatencyResult& result) {
  std::string text;
  if (result.sent > result.received + 10) {
    text += fmt::format(", {} of {} not received", result.sent - result.received, result.sent);
  }
  if (result.wrong != 0) text += fmt::format(", {} WRONG", result.wrong);
  return text;
}

std::string Logins(const LoginStorm::Outcome& outcome) {
  std::string text = fmt::format(
      "{} logins in {:.2f} s ({:.0f}/s), p50 {:.1f} ms, p99 {:.1f} ms", outcome.done,
      outcome.seconds, static_cast<double>(outcome.done) / outcome.seconds,
      Micros(outcome.took.Quantile(0.5)) / 1e3, Micros(outcome.took.Quantile(0.99)) / 1e3);
  if (outcome.failed != 0) {
    text += fmt::format(", {} failed ({})", outcome.failed, outcome.first_failure);
  }
  return text;
}

double MillisEach(double cpu_seconds, std::uint64_t count) {
  return cpu_seconds < 0 || count == 0 ? -1 : cpu_seconds * 1e3 / static_cast<double>(count);
}

using core::json::Writer;

void WriteDelays(Writer& out, const Histogram& delays) {
  out.BeginObject();
  out.Key("count").Value(delays.count());
  for (const auto& [name, fraction] :
       {std::pair{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}}) {
    out.Key(name).Value(Micros(delays.Quantile(fraction)));
  }
  out.Key("max_us").Value(Micros(delays.max()));
  out.EndObject();
}

void WriteLatency(Writer& out, const LatencyResult& result) {
  out.BeginObject();
  out.Key("sent").Value(result.sent);
  out.Key("received").Value(result.received);
  out.Key("wrong").Value(result.wrong);
  out.Key("realtime").Value(result.realtime);
  out.Key("delay");
  WriteDelays(out, result.delays);
  out.EndObject();
}

void WriteLogins(Writer& out, const LoginStorm::Outcome& outcome, double cpu_seconds) {
  out.BeginObject();
  out.Key("done").Value(outcome.done);
  out.Key("failed").Value(outcome.failed);
  out.Key("seconds").Value(outcome.seconds);
  out.Key("own_cpu_s").Value(outcome.own_cpu_seconds);
  out.Key("server_cpu_ms_each").Value(MillisEach(cpu_seconds, outcome.done));
  out.Key("took");
  WriteDelays(out, outcome.took);
  out.EndObject();
}

void Write(Writer& out, const RelayReport::Throughput& row) {
  const ThroughputResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("wanted_mbit").Value(row.wanted_bits / 1e6);
  out.Key("packet_bytes").Value(r.packet_bytes);
  out.Key("seconds").Value(r.seconds);
  out.Key("attempted_mbit").Value(r.Bits(r.attempted) / 1e6);
  out.Key("offered_mbit").Value(r.Bits(r.offered) / 1e6);
  out.Key("delivered_mbit").Value(r.Bits(r.in_time) / 1e6);
  out.Key("loss").Value(r.loss());
  out.Key("slowest_pair").Value(r.slowest_pair);
  out.Key("corrupt").Value(r.corrupt);
  out.Key("misplaced").Value(r.misplaced);
  out.Key("closed").Value(r.closed);
  out.Key("slow_delivered").Value(r.slow_delivered);
  out.Key("server_cpu_s").Value(r.server_cpu_seconds);
  out.Key("server_cpu_s_per_gb").Value(r.cpu_per_gb());
  out.Key("server_rss_bytes").Value(r.server_rss_bytes);
  out.Key("own_cpu_s").Value(r.own_cpu_seconds);
  out.Key("busiest_generator_thread").Value(r.busiest_thread);
  out.Key("other_cores").Value(r.other_cores);
  out.Key("delay");
  WriteDelays(out, r.latency);
  out.EndObject();
}

void Write(Writer& out, const RelayReport::Connect& row) {
  const ConnectResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("packet_mbit").Value(row.packet_bits / 1e6);
  out.Key("alone");
  WriteLatency(out, r.alone);
  if (row.with_logins) {
    out.Key("during_logins");
    WriteLatency(out, r.during);
    out.Key("logins");
    WriteLogins(out, r.logins, r.cpu_per_login() * static_cast<double>(r.logins.done));
  }
  out.EndObject();
}

void Write(Writer& out, const RelayReport::Storm& row) {
  const StormResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("clients").Value(r.clients);
  out.Key("lost").Value(r.lost);
  out.Key("first");
  WriteLogins(out, r.first, r.cpu_first);
  if (r.again.done != 0 || r.again.failed != 0) {
    out.Key("again");
    WriteLogins(out, r.again, r.cpu_again);
  }
  out.Key("established");
  WriteLatency(out, r.delays);
  out.Key("rss_before_bytes").Value(r.rss_before);
  out.Key("rss_connected_bytes").Value(r.rss_connected);
  out.Key("rss_after_bytes").Value(r.rss_after);
  out.Key("bytes_per_client").Value(r.bytes_per_client());
  out.EndObject();
}

void Write(Writer& out, const RelayReport::Stun& row) {
  const StunResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("answers").Value(r.answers);
  out.Key("wrong").Value(r.wrong);
  out.Key("lost").Value(r.lost);
  out.Key("seconds").Value(r.seconds);
  out.Key("server_cpu_s").Value(r.server_cpu_seconds);
  out.Key("own_cpu_s").Value(r.own_cpu_seconds);
  out.EndObject();
}

void Write(Writer& out, const RelayReport::Tcp& row) {
  const TcpResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("flows").Value(r.flows);
  out.Key("receiver_mbit").Value(r.wanted_bytes_per_second * 8 / 1e6);
  out.Key("added_round_trip_ms").Value(r.round_trip_ms);
  out.Key("seconds").Value(r.seconds);
  out.Key("delivered_mbit").Value(r.bits_per_second() / 1e6);
  out.Key("slowest_flow").Value(r.slowest_flow);
  out.Key("segments").Value(r.segments);
  out.Key("retransmits").Value(r.retransmits);
  out.Key("packets").Value(r.packets);
  out.Key("packets_lost").Value(r.lost);
  out.Key("window_bytes").Value(r.window_bytes);
  for (const auto& [name, delays] : {std::pair{"tcp_rtt", &r.rtt},
                                     {"data_ping", &r.data_pings},
                                     {"disco_ping", &r.disco_pings},
                                     {"bystander", &r.bystanders}}) {
    out.Key(name);
    WriteDelays(out, *delays);
  }
  out.Key("server_cpu_s").Value(r.server_cpu_seconds);
  out.Key("server_cpu_s_per_gb").Value(r.cpu_per_gb());
  out.Key("own_cpu_s").Value(r.own_cpu_seconds);
  out.Key("busiest_generator_thread").Value(r.busiest_thread);
  out.Key("other_cores").Value(r.other_cores);
  if (r.drops_known) {
    out.Key("dropped").BeginObject();
    for (const auto& [labels, count] : r.drops) out.ForeignKey(labels).Value(count);
    out.EndObject();
  }
  out.EndObject();
}

template <class Rows>
void WriteRows(Writer& out, const char* key, const Rows& rows) {
  out.Key(key).BeginArray();
  for (const auto& row : rows) Write(out, row);
  out.EndArray();
}

}  // namespace

std::string ThroughputHead() {
  return fmt::format(
             "{:<20} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>8} {:>8}  {}\n",
             "relay", "attempted", "offered", "delivered", "loss %", "slowest/", "CPU s/GB",
             "us/packet", "server", "load", "p50 us", "p99 us", "") +
         fmt::format("{:<20} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>8} {:>8}\n",
                     "", "Mbit/s", "Mbit/s", "Mbit/s", "", "fastest", "", "CPU", "cores", "cores",
                     "one way", "one way");
}

std::string TableRow(const RelayReport::Throughput& row) {
  const ThroughputResult& r = row.result;
  const double packets = static_cast<double>(r.in_time);
  return fmt::format(
      "{:<20} {:>9.1f} {:>9.1f} {:>9.1f} {:>8.3f} {:>8.3f} {:>9} {:>9} {:>7} {:>7.2f} {:>8.0f} "
      "{:>8.0f}  {}\n",
      row.relay, r.Bits(r.attempted) / 1e6, r.Bits(r.offered) / 1e6, r.Bits(r.in_time) / 1e6,
      100 * r.loss(), r.slowest_pair, Known(r.cpu_per_gb(), 3),
      Known(packets == 0 ? -1 : r.server_cpu_seconds * 1e6 / packets, 3),
      Known(r.server_cpu_seconds / r.seconds, 2), r.own_cpu_seconds / r.seconds,
      Micros(r.latency.Quantile(0.5)), Micros(r.latency.Quantile(0.99)), Remarks(r));
}

std::string TableRow(const RelayReport::Connect& row) {
  const ConnectResult& r = row.result;
  std::string text = fmt::format("{:<20} one way at {:.0f} Mbit/s: {}{}{}\n", row.relay,
                                 row.packet_bits / 1e6, Delays(r.alone.delays), Loss(r.alone),
                                 r.alone.realtime ? "" : " (not real-time)");
  if (!row.with_logins) return text;
  text +=
      fmt::format("{:<20} while logging in: {}{}\n", "", Delays(r.during.delays), Loss(r.during));
  text += fmt::format("{:<20} {}; server CPU a login {} ms, own {:.3f} ms\n", "", Logins(r.logins),
                      Known(r.cpu_per_login() * 1e3, 3),
                      MillisEach(r.logins.own_cpu_seconds, r.logins.done));
  return text;
}

std::string TableRow(const RelayReport::Storm& row) {
  const StormResult& r = row.result;
  std::string text =
      fmt::format("{:<20} {} clients: {}; server CPU a login {} ms\n", row.relay, r.clients,
                  Logins(r.first), Known(MillisEach(r.cpu_first, r.first.done), 3));
  if (r.again.done != 0 || r.again.failed != 0) {
    text += fmt::format("{:<20} all cut off, back: {}; server CPU a login {} ms\n", "",
                        Logins(r.again), Known(MillisEach(r.cpu_again, r.again.done), 3));
  }
  text += fmt::format("{:<20} established traffic meanwhile: {}{}\n", "", Delays(r.delays.delays),
                      Loss(r.delays));
  text += fmt::format(
      "{:<20} server memory: {:.1f} MB before, {:.1f} MB connected and settled, {:.1f} MB after "
      "the storm: {} bytes a client{}\n",
      "", static_cast<double>(r.rss_before) / 1e6, static_cast<double>(r.rss_connected) / 1e6,
      static_cast<double>(r.rss_after) / 1e6, Known(r.bytes_per_client(), 0),
      r.lost == 0 ? "" : fmt::format(", {} LOST while idle", r.lost));
  return text;
}

std::string TableRow(const RelayReport::Stun& row) {
  const StunResult& r = row.result;
  const double answers = static_cast<double>(r.answers);
  return fmt::format(
      "{:<20} STUN: {:.0f} answers/s, server CPU {} us each ({} answers/s a core), own {:.2f} us; "
      "{} lost, {} wrong\n",
      row.relay, answers / r.seconds, Known(r.server_cpu_seconds * 1e6 / answers, 2),
      Known(r.server_cpu_seconds <= 0 ? -1 : answers / r.server_cpu_seconds, 0),
      r.own_cpu_seconds * 1e6 / answers, r.lost, r.wrong);
}

std::string TcpHead() {
  return fmt::format(
      "{:<20} {:>5} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} "
      "{:>6}\n"
      "{:<20} {:>5} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} "
      "{:>6}\n",
      "relay", "flows", "receiver", "path", "delivered", "slowest/", "retrans", "lost", "RTT p50",
      "RTT p99", "ping p50", "ping p99", "disco", "others", "CPU", "load",  //
      "", "", "Mbit/s", "ms", "Mbit/s", "fastest", "%", "%", "ms", "ms", "ms", "ms", "p99 ms",
      "p99 ms", "s/GB", "cores");
}

std::string TableRow(const RelayReport::Tcp& row) {
  const TcpResult& r = row.result;
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
  };
  const auto millis = [](const Histogram& delays, double fraction) {
    return Micros(delays.Quantile(fraction)) / 1e3;
  };
  return fmt::format(
      "{:<20} {:>5} {:>8} {:>8.1f} {:>9.1f} {:>8.2f} {:>8.3f} {:>8.3f} {:>8.2f} {:>8.2f} {:>8.2f} "
      "{:>8.2f} {:>8.2f} {:>8.2f} {:>8} {:>6.2f}{}\n",
      row.relay, r.flows,
      r.wanted_bytes_per_second == 0 ? "any"
                                     : fmt::format("{:.0f}", r.wanted_bytes_per_second * 8 / 1e6),
      r.round_trip_ms, r.bits_per_second() / 1e6, r.slowest_flow, share(r.retransmits, r.segments),
      share(r.lost, r.packets), millis(r.rtt, 0.5), millis(r.rtt, 0.99), millis(r.data_pings, 0.5),
      millis(r.data_pings, 0.99), millis(r.disco_pings, 0.99), millis(r.bystanders, 0.99),
      Known(r.cpu_per_gb(), 2), r.own_cpu_seconds / r.seconds, Remarks(r));
}

std::string ToJson(const RelayReport& report) {
  std::string text;
  Writer out(text);
  out.BeginObject();
  out.Key("command").Value(report.command);
  WriteRows(out, "throughput", report.throughput);
  WriteRows(out, "connect", report.connect);
  WriteRows(out, "storm", report.storm);
  WriteRows(out, "stun", report.stun);
  WriteRows(out, "tcp", report.tcp);
  out.EndObject();
  return text;
}

}  // namespace ringscale::bench

#include "bench/lib/soak_report.h"

#include <fmt/format.h>

#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

using core::json::Writer;

void Write(Writer& out, const SoakSample& sample) {
  out.BeginObject();
  out.Key("at_s").Value(sample.at);
  out.Key("connections").Value(sample.connections);
  out.Key("rss_bytes").Value(sample.rss_bytes);
  out.Key("descriptors").Value(sample.descriptors);
  out.Key("server_cpu_s").Value(sample.cpu_seconds);
  out.EndObject();
}

void Write(Writer& out, const SoakRow& row) {
  const SoakResult& r = row.result;
  out.BeginObject();
  out.Key("relay").Value(row.relay);
  out.Key("lives").BeginObject();
  for (std::size_t i = 0; i < kSoakRoles; ++i) {
    out.Key(SoakRoleName(static_cast<SoakRole>(i))).Value(r.lives[i]);
  }
  out.EndObject();
  out.Key("failed_logins").Value(r.failed_logins);
  out.Key("cut_off").Value(r.cut_off);
  out.Key("sent").Value(r.sent);
  out.Key("received").Value(r.received);
  out.Key("corrupt").Value(r.corrupt);
  out.Key("misplaced").Value(r.misplaced);
  out.Key("foreign").Value(r.foreign);
  out.Key("memory_rise_bytes").Value(r.memory_rise());
  out.Key("own_cpu_s").Value(r.own_cpu_seconds);
  out.Key("complaints").BeginArray();
  for (const std::string& complaint : r.Complaints()) out.Value(complaint);
  out.EndArray();
  out.Key("before");
  Write(out, r.before);
  out.Key("samples").BeginArray();
  for (const SoakSample& sample : r.samples) Write(out, sample);
  out.EndArray();
  out.Key("after");
  Write(out, r.after);
  out.EndObject();
}

}  // namespace

std::string SoakText(const SoakRow& row) {
  const SoakResult& r = row.result;
  std::uint64_t lives = 0;
  for (const std::uint64_t count : r.lives) lives += count;
  const SoakSample& last = r.samples.empty() ? r.before : r.samples.back();
  const double cpu = last.cpu_seconds - r.before.cpu_seconds;
  const auto megabytes = [](const SoakSample& sample) {
    return static_cast<double>(sample.rss_bytes) / 1e6;
  };
  std::string text = fmt::format(
      "{:<20} {:.0f} s, {} connections came, {} at the end; {} packets sent, {} received, every "
      "one checked\n",
      row.relay, last.at, lives, last.connections, r.sent, r.received);
  text += fmt::format("{:<20}", "");
  for (std::size_t i = 0; i < kSoakRoles; ++i) {
    text += fmt::format(" {} {}", r.lives[i], SoakRoleName(static_cast<SoakRole>(i)));
  }
  text += fmt::format(
      "\n{:<20} wrong content {}, out of order {}, to the wrong client {}, well-behaved clients "
      "closed {}, logins that failed {}\n",
      "", r.corrupt, r.misplaced, r.foreign, r.cut_off, r.failed_logins);
  text += fmt::format(
      "{:<20} server memory {:.1f} MB before, {:.1f} MB at the end, {:.1f} MB when all had left; "
      "rise after warm-up {:.2f} MB (allowed {:.1f})\n",
      "", megabytes(r.before), megabytes(last), megabytes(r.after), r.memory_rise() / 1e6,
      r.allowed_rise() / 1e6);
  text += fmt::format(
      "{:<20} descriptors {} before, {} at the end, {} when all had left; server CPU {:.2f} cores, "
      "own {:.2f}\n",
      "", r.before.descriptors, last.descriptors, r.after.descriptors, cpu / last.at,
      r.own_cpu_seconds / last.at);
  const auto complaints = r.Complaints();
  text += fmt::format("{:<20} verdict: {}\n", "", complaints.empty() ? "good" : "BAD");
  for (const std::string& complaint : complaints) text += fmt::format("{:<22}{}\n", "", complaint);
  return text;
}

std::string SoakJson(const std::string& command, std::span<const SoakRow> rows) {
  std::string text;
  Writer out(text);
  out.BeginObject();
  out.Key("command").Value(command);
  out.Key("soak").BeginArray();
  for (const SoakRow& row : rows) Write(out, row);
  out.EndArray();
  out.EndObject();
  return text;
}

}  // namespace ringscale::bench

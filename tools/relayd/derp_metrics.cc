#include "tools/relayd/derp_metrics.h"

#include <dirent.h>

#include <cmath>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "core/json/writer.h"

namespace ringscale::relayd {
namespace {

using relay::CloseReason;
using relay::DropReason;
using relay::PacketKind;
using relay::ShardMetrics;
using serverd::FrontStats;

constexpr PacketKind kKinds[] = {PacketKind::kDisco, PacketKind::kOther};
constexpr std::pair<const char*, std::size_t> kTlsLabels[] = {
    {"1.2", static_cast<std::size_t>(core::tls::TlsVersion::kTls12)},
    {"1.3", static_cast<std::size_t>(core::tls::TlsVersion::kTls13)}};

std::int64_t OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), closedir);
  if (dir == nullptr) return 0;
  std::int64_t count = -3;  // ".", ".." and the directory itself
  while (readdir(dir.get()) != nullptr) ++count;
  return count;
}

// One figure of derper's set "derp".
struct Figure {
  std::string_view key;
  std::string_view help;
  std::int64_t (*read)(const RelayTotals& totals);
};

template <core::Counter ShardMetrics::* kMember>
std::int64_t Count(const RelayTotals& totals) {
  return static_cast<std::int64_t>(totals.Sum(kMember));
}
template <core::Gauge ShardMetrics::* kMember>
std::int64_t Show(const RelayTotals& totals) {
  return totals.Sum(kMember);
}
template <ShardMetrics::PerKind ShardMetrics::* kMember>
std::int64_t CountKinds(const RelayTotals& totals) {
  return static_cast<std::int64_t>(totals.Sum(kMember));
}

constexpr Figure kFigures[] = {
    {"accepts", "Clients taken on.", Count<&ShardMetrics::accepts>},
    {"bytes_received", "Bytes of packets received.", Count<&ShardMetrics::bytes_received>},
    {"bytes_sent", "Bytes sent.", Count<&ShardMetrics::bytes_sent>},
    {"packets_received", "Packets received.", CountKinds<&ShardMetrics::packets_received>},
    {"packets_sent", "Packets sent.", CountKinds<&ShardMetrics::packets_sent>},
    {"packets_forwarded_in", "Packets from other relays.",
     Count<&ShardMetrics::packets_forwarded_in>},
    {"packets_forwarded_out", "Packets to other relays.",
     Count<&ShardMetrics::packets_forwarded_out>},
    {"unknown_frames", "Frames skipped.", Count<&ShardMetrics::unknown_frames>},
    {"home_moves_in", "Clients that came home.", Count<&ShardMetrics::home_moves_in>},
    {"home_moves_out", "Clients that left home.", Count<&ShardMetrics::home_moves_out>},
    {"got_ping", "Pings received.", Count<&ShardMetrics::pings>},
    {"sent_pong", "Pongs sent.", Count<&ShardMetrics::pongs>},
    {"peer_gone_disconnected_frames", "PeerGone frames: peers that left.",
     Count<&ShardMetrics::peer_gone_disconnected>},
    {"peer_gone_not_here_frames", "PeerGone frames: peers not here.",
     Count<&ShardMetrics::peer_gone_not_here>},
    {"multiforwarder_created", "Keys seen at a second relay.",
     Count<&ShardMetrics::multiforwarder_created>},
    {"multiforwarder_deleted", "Keys left at one relay only.",
     Count<&ShardMetrics::multiforwarder_deleted>},
    {"sclient_write_timeouts", "Clients closed because they took nothing.",
     [](const RelayTotals& totals) {
       return static_cast<std::int64_t>(totals.Closed(CloseReason::kWriteTimeout));
     }},
    {"counter_total_dup_client_conns", "Connections that joined a key in use.",
     Count<&ShardMetrics::duplicate_connections_total>},
    {"gauge_watchers", "Connections that watch presence.", Show<&ShardMetrics::watchers>},
    {"gauge_current_file_descriptors", "Open files.",
     [](const RelayTotals&) { return OpenFiles(); }},
    {"gauge_current_connections", "Clients connected.", Show<&ShardMetrics::connections>},
    {"gauge_current_home_connections", "Clients whose home this is.",
     Show<&ShardMetrics::home_connections>},
    {"gauge_current_notideal_connections", "Clients that wanted another node.",
     Show<&ShardMetrics::not_ideal_connections>},
    {"gauge_current_dup_client_keys", "Keys with several connections.",
     Show<&ShardMetrics::duplicate_keys>},
    {"gauge_current_dup_client_conns", "Their connections.",
     Show<&ShardMetrics::duplicate_connections>},
    {"gauge_clients_local", "Keys connected here.",
     [](const RelayTotals& totals) { return totals.LocalKeys(); }},
    {"gauge_clients_remote", "Keys connected to other relays.", Show<&ShardMetrics::mesh_keys>},
    {"gauge_clients_total", "Keys of the region.",
     [](const RelayTotals& totals) {
       return totals.LocalKeys() + totals.Sum(&ShardMetrics::mesh_keys);
     }},
};

std::string Text(std::string_view text) {
  return std::string(text);
}

// As derper writes a name with several labels into its JSON.
std::string LabelsKey(const core::MetricLabels& labels) {
  std::string key = "{";
  for (const auto& [name, value] : labels) {
    if (key.size() > 1) key += ',';
    key.append(name).append("=\"").append(value).append("\"");
  }
  return key + "}";
}

void WriteNumber(core::json::Writer& json, double value) {
  if (value == std::trunc(value)) {
    json.Value(static_cast<std::int64_t>(value));
  } else {
    json.Value(value);
  }
}

void WriteHistogram(core::json::Writer& json, const core::HistogramValues& values) {
  json.BeginObject();
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < values.counts.size(); ++i) {
    count += values.counts[i];
    json.ForeignKey(i < relay::kPacketsPerSend.size() ? std::to_string(relay::kPacketsPerSend[i])
                                                      : "+Inf")
        .Value(count);
  }
  json.Field("sum", values.sum).Field("count", count).EndObject();
}

}  // namespace

std::string DerpMetrics::Family::PrometheusName() const {
  std::string_view name = key;
  for (const std::string_view prefix : {"gauge_", "counter_"}) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      break;
    }
  }
  return set.empty() ? Text(name) : Text(set) + "_" + Text(name);
}

DerpMetrics::DerpMetrics(Parts parts) : parts_(std::move(parts)) {
  AddRelayFigures();
  AddLabelledFigures();
  AddProcessFigures();
}

void DerpMetrics::One(std::string_view set, std::string_view key, std::string_view help,
                      Read read) {
  Family family{.set = set, .key = key, .help = help};
  family.gauge = key.starts_with("gauge_");
  family.samples.emplace_back(core::MetricLabels{}, std::move(read));
  families_.push_back(std::move(family));
}

void DerpMetrics::AddRelayFigures() {
  for (const Figure& figure : kFigures) {
    One("derp", figure.key, figure.help,
        [this, read = figure.read] { return static_cast<double>(read(parts_.relay)); });
  }
  One("derp", "average_queue_duration_ms", "What the oldest packet of a send has waited.",
      [this] { return parts_.relay.QueueMillis(); });
  families_.back().gauge = true;
  if (!parts_.rates) return;
  One("derp", "rate_limit_per_client_bytes_per_second", "The receive rate of a client.",
      [this] { return static_cast<double>(rate_.load()); });
  families_.back().gauge = true;
  One("derp", "rate_limit_per_client_burst_bytes", "What it may send at once.",
      [this] { return static_cast<double>(burst_.load()); });
  families_.back().gauge = true;
  One("derp", "rate_limit_per_client_waited", "Times that a client had to wait for it.",
      [this] { return static_cast<double>(parts_.relay.Sum(&ShardMetrics::throttled)); });
}

void DerpMetrics::AddLabelledFigures() {
  const auto begin = [this](std::string_view set, std::string_view key,
                            std::string_view help) -> auto& {
    families_.push_back({.set = set, .key = key, .help = help});
    families_.back().gauge = key.starts_with("gauge_");
    return families_.back().samples;
  };
  auto& kinds = begin("derp", "counter_packets_received_kind", "Packets received, by kind.");
  for (const PacketKind kind : kKinds) {
    kinds.emplace_back(
        core::MetricLabels{{"kind", Text(relay::PacketKindLabel(kind))}}, [this, kind] {
          return static_cast<double>(parts_.relay.Sum(&ShardMetrics::packets_received, kind));
        });
  }
  auto& rtt = begin("derp", "counter_tcp_rtt", "Round-trip times to clients, sampled.");
  for (std::size_t i = 0; i < relay::kRttClasses; ++i) {
    const auto rtt_class = static_cast<relay::RttClass>(i);
    rtt.emplace_back(
        core::MetricLabels{{"le", Text(relay::RttClassLabel(rtt_class))}},
        [this, rtt_class] { return static_cast<double>(parts_.relay.Rtt(rtt_class)); });
  }
  using Dropped = std::uint64_t (RelayTotals::*)(DropReason, PacketKind) const;
  const auto dropped = [&](std::string_view key, std::string_view help, Dropped value) {
    auto& samples = begin("", key, help);
    for (std::size_t i = 0; i < relay::kDropReasons; ++i) {
      const auto reason = static_cast<DropReason>(i);
      for (const PacketKind kind : kKinds) {
        samples.emplace_back(core::MetricLabels{{"reason", Text(relay::DropReasonLabel(reason))},
                                                {"kind", Text(relay::PacketKindLabel(kind))}},
                             [this, value, reason, kind] {
                               return static_cast<double>((parts_.relay.*value)(reason, kind));
                             });
      }
    }
  };
  dropped("derp_packets_dropped", "Packets dropped, by reason and kind.", &RelayTotals::Dropped);
  dropped("derp_bytes_dropped", "Bytes of their frames.", &RelayTotals::DroppedBytes);
  const auto stun =
      [&](std::string_view key, std::string_view help, const char* label,
          std::initializer_list<std::pair<const char*, core::Counter ShardMetrics::*>> counters) {
        auto& samples = begin("stun", key, help);
        for (const auto& [value, counter] : counters) {
          samples.emplace_back(core::MetricLabels{{label, value}}, [this, counter] {
            return static_cast<double>(parts_.relay.Sum(counter));
          });
        }
      };
  stun("counter_requests", "STUN requests, by disposition.", "disposition",
       {{"success", &ShardMetrics::stun_success},
        {"not_stun", &ShardMetrics::stun_not_stun},
        {"read_error", &ShardMetrics::stun_read_error},
        {"write_error", &ShardMetrics::stun_write_error}});
  stun("counter_addrfamily", "STUN answers, by family.", "family",
       {{"ipv4", &ShardMetrics::stun_v4}, {"ipv6", &ShardMetrics::stun_v6}});
  auto& requests = begin("", "derper_tls_request_version", "HTTPS requests, by TLS version.");
  for (const auto& [label, version] : kTlsLabels) {
    requests.emplace_back(core::MetricLabels{{"version", label}}, [this, i = version] {
      return static_cast<double>(parts_.fronts->Sum(
          [i](const FrontStats& front) { return front.requests_by_tls[i].Value(); }));
    });
  }
  auto& active = begin("", "gauge_derper_tls_active_version", "DERP clients, by TLS version.");
  for (const auto& [label, version] : kTlsLabels) {
    active.emplace_back(core::MetricLabels{{"version", label}}, [this, i = version] {
      const std::int64_t bridged =
          parts_.fronts->Sum([i](const FrontStats& front) { return front.bridges[i].Value(); });
      // Records of our own are TLS 1.3 always.
      const bool tls13 = i == static_cast<std::size_t>(core::tls::TlsVersion::kTls13);
      return static_cast<double>(bridged +
                                 (tls13 ? parts_.relay.Sum(&ShardMetrics::tls_connections) : 0));
    });
  }
}

void DerpMetrics::AddProcessFigures() {
  const auto fronts = [this](core::Counter FrontStats::* counter) -> Read {
    return [this, counter] {
      return static_cast<double>(parts_.fronts->Sum(
          [counter](const FrontStats& front) { return (front.*counter).Value(); }));
    };
  };
  One("", "derp_websocket_accepts", "Clients that came over WebSocket.",
      fronts(&FrontStats::websocket_accepts));
  One("tls_listener", "counter_accepted_connections", "Connections accepted.", [this] {
    return static_cast<double>(parts_.fronts->Sum([](const FrontStats& front) {
      return front.accepted.Value() - front.accept_limit.Value();
    }));
  });
  One("tls_listener", "counter_rejected_connections", "Connections over the accept limit.",
      fronts(&FrontStats::accept_limit));
  const auto dns = [this](std::string_view key, core::SharedCounter BootstrapDnsStats::* counter) {
    One("", key, "Bootstrap DNS.",
        [this, counter] { return static_cast<double>((*parts_.bootstrap_dns.*counter).Value()); });
  };
  dns("counter_bootstrap_dns_requests", &BootstrapDnsStats::requests);
  dns("counter_bootstrap_dns_published_hits", &BootstrapDnsStats::hits);
  dns("counter_bootstrap_dns_published_misses", &BootstrapDnsStats::misses);
  // derper takes them for questions about names that are not published yet.
  dns("counter_bootstrap_dns_unpublished_misses", &BootstrapDnsStats::unknown);
  One("", "process_start_unix_time", "The start, in seconds since 1970.", [this] {
    const std::int64_t seconds = start_wall_.unix_ns / 1'000'000'000;
    return static_cast<double>(seconds);
  });
  families_.back().gauge = true;
  One("", "counter_uptime_sec", "Seconds since the start.", [this] {
    const std::int64_t seconds = uptime().millis() / 1000;
    return static_cast<double>(seconds);
  });
}

void DerpMetrics::SetRateLimit(const relay::RateLimit& limit) {
  rate_.store(limit.bytes_per_second);
  burst_.store(limit.burst_bytes);
}

void DerpMetrics::Register(const std::shared_ptr<const DerpMetrics>& metrics,
                           core::MetricsRegistry& registry) {
  using Kind = core::MetricsRegistry::Kind;
  for (const Family& family : metrics->families_) {
    for (const auto& [labels, read] : family.samples) {
      registry.Add(family.PrometheusName(), family.gauge ? Kind::kGauge : Kind::kCounter,
                   Text(family.help), labels, [metrics, &read] { return read(); });
    }
  }
  registry.AddHistogram("derp_buffered_write_frames", "Packets that one send carries.",
                        {relay::kPacketsPerSend.begin(), relay::kPacketsPerSend.end()},
                        [metrics] { return metrics->parts_.relay.PacketsPerSend(); });
  registry.Add("version", Kind::kGauge, "The version, as a label.",
               {{"version", metrics->parts_.version}, {"binary", "ringscale"}}, [] { return 1.0; });
}

std::string DerpMetrics::Vars() const {
  std::string text;
  core::json::Writer json(text);
  json.BeginObject();
  std::string_view set;
  for (const Family& family : families_) {
    if (family.set != set) {
      if (!set.empty()) json.EndObject();
      set = family.set;
      if (!set.empty()) json.Key(set).BeginObject();
      if (set == "derp") {
        json.Field("version", parts_.version).Key("counter_buffered_write_frames");
        WriteHistogram(json, parts_.relay.PacketsPerSend());
      }
    }
    json.Key(family.key);
    if (family.samples.front().first.empty()) {
      WriteNumber(json, family.samples.front().second());
      continue;
    }
    json.BeginObject();
    for (const auto& [labels, read] : family.samples) {
      json.ForeignKey(labels.size() == 1 ? labels.front().second : LabelsKey(labels));
      WriteNumber(json, read());
    }
    json.EndObject();
  }
  if (!set.empty()) json.EndObject();
  json.Field("version", parts_.version);
  json.EndObject();
  return text;
}

}  // namespace ringscale::relayd

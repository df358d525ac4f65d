#include "tools/relayd/derp_metrics.h"

#include <dirent.h>

#include <span>
#include <string_view>
#include <utility>

#include "core/json/writer.h"

namespace ringscale::relayd {
namespace {

using relay::CloseReason;
using relay::DropReason;
using relay::PacketKind;
using relay::ShardMetrics;

constexpr PacketKind kKinds[] = {PacketKind::kDisco, PacketKind::kOther};

std::int64_t OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), closedir);
  if (dir == nullptr) return 0;
  std::int64_t count = -3;  // ".", ".." and the directory itself
  while (readdir(dir.get()) != nullptr) ++count;
  return count;
}

// One figure of derper's set "derp". Its name in Prometheus is "derp_" and the JSON
// key without the prefix that says the kind.
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

constexpr Figure kStun[] = {
    {"success", "", Count<&ShardMetrics::stun_success>},
    {"not_stun", "", Count<&ShardMetrics::stun_not_stun>},
    {"read_error", "", Count<&ShardMetrics::stun_read_error>},
    {"write_error", "", Count<&ShardMetrics::stun_write_error>},
};

std::string PrometheusName(std::string_view key, bool& gauge) {
  gauge = key.starts_with("gauge_");
  for (const std::string_view prefix : {"gauge_", "counter_"}) {
    if (key.starts_with(prefix)) {
      key.remove_prefix(prefix.size());
      break;
    }
  }
  return "derp_" + std::string(key);
}

std::string Text(std::string_view text) {
  return std::string(text);
}

}  // namespace

// --- sums ---

std::uint64_t RelayTotals::Sum(core::Counter ShardMetrics::* counter) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += ((*shard).*counter).Value();
  return sum;
}

std::int64_t RelayTotals::Sum(core::Gauge ShardMetrics::* gauge) const {
  std::int64_t sum = 0;
  for (const auto& shard : shards_) sum += ((*shard).*gauge).Value();
  return sum;
}

std::uint64_t RelayTotals::Sum(ShardMetrics::PerKind ShardMetrics::* counters,
                               PacketKind kind) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) {
    sum += ((*shard).*counters)[static_cast<std::size_t>(kind)].Value();
  }
  return sum;
}

std::uint64_t RelayTotals::Sum(ShardMetrics::PerKind ShardMetrics::* counters) const {
  return Sum(counters, PacketKind::kDisco) + Sum(counters, PacketKind::kOther);
}

std::uint64_t RelayTotals::Closed(CloseReason reason) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->closed[static_cast<std::size_t>(reason)].Value();
  return sum;
}

std::uint64_t RelayTotals::Dropped(DropReason reason, PacketKind kind) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->drops.Value(reason, kind);
  return sum;
}

std::int64_t RelayTotals::LocalKeys() const {
  return Sum(&ShardMetrics::connections) - Sum(&ShardMetrics::duplicate_connections) +
         Sum(&ShardMetrics::duplicate_keys);
}

// --- names ---

DerpMetrics::DerpMetrics(RelayTotals totals, std::string version)
    : totals_(std::move(totals)), version_(std::move(version)) {}

void DerpMetrics::Register(const std::shared_ptr<const DerpMetrics>& metrics,
                           core::MetricsRegistry& registry) {
  using Kind = core::MetricsRegistry::Kind;
  for (const Figure& figure : kFigures) {
    bool gauge = false;
    std::string name = PrometheusName(figure.key, gauge);
    registry.Add(
        std::move(name), gauge ? Kind::kGauge : Kind::kCounter, Text(figure.help), {},
        [metrics, read = figure.read] { return static_cast<double>(read(metrics->totals_)); });
  }
  for (const PacketKind kind : kKinds) {
    const std::string label = Text(relay::PacketKindLabel(kind));
    registry.Add(
        "derp_packets_received_kind", Kind::kCounter, "Packets received, by kind.",
        {{"kind", label}}, [metrics, kind] {
          return static_cast<double>(metrics->totals_.Sum(&ShardMetrics::packets_received, kind));
        });
    for (std::size_t i = 0; i < relay::kDropReasons; ++i) {
      const auto reason = static_cast<DropReason>(i);
      registry.Add("derp_packets_dropped", Kind::kCounter, "Packets dropped, by reason and kind.",
                   {{"reason", Text(relay::DropReasonLabel(reason))}, {"kind", label}},
                   [metrics, reason, kind] {
                     return static_cast<double>(metrics->totals_.Dropped(reason, kind));
                   });
    }
  }
  for (const Figure& figure : kStun) {
    registry.Add("stun_requests", Kind::kCounter, "STUN requests, by disposition.",
                 {{"disposition", Text(figure.key)}}, [metrics, read = figure.read] {
                   return static_cast<double>(read(metrics->totals_));
                 });
  }
  registry.Add("uptime_sec", Kind::kCounter, "Seconds since the start.", {},
               [metrics] { return static_cast<double>(metrics->uptime().millis() / 1000); });
  registry.Add("version", Kind::kGauge, "The version, as a label.",
               {{"version", metrics->version_}, {"binary", "ringscale"}}, [] { return 1.0; });
}

std::string DerpMetrics::Vars() const {
  std::string text;
  core::json::Writer json(text);
  json.BeginObject();
  json.Key("derp").BeginObject();
  for (const Figure& figure : kFigures) json.Field(figure.key, figure.read(totals_));
  json.Key("counter_packets_received_kind").BeginObject();
  for (const PacketKind kind : kKinds) {
    json.Field(relay::PacketKindLabel(kind), totals_.Sum(&ShardMetrics::packets_received, kind));
  }
  json.EndObject();
  json.Field("version", version_);
  json.EndObject();
  json.Key("derp_packets_dropped").BeginObject();
  for (std::size_t i = 0; i < relay::kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    for (const PacketKind kind : kKinds) {
      json.ForeignKey("{reason=\"" + Text(relay::DropReasonLabel(reason)) + "\",kind=\"" +
                      Text(relay::PacketKindLabel(kind)) + "\"}")
          .Value(totals_.Dropped(reason, kind));
    }
  }
  json.EndObject();
  json.Key("stun").BeginObject().Key("counter_requests").BeginObject();
  for (const Figure& figure : kStun) json.Field(figure.key, figure.read(totals_));
  json.EndObject().EndObject();
  json.Field("process_start_unix_time", start_wall_.unix_ns / 1'000'000'000);
  json.Field("counter_uptime_sec", uptime().millis() / 1000);
  json.Field("version", version_);
  json.EndObject();
  return text;
}

}  // namespace ringscale::relayd

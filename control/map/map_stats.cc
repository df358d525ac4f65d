#include "control/map/map_stats.h"

namespace ringscale::control {

void AddMapMetrics(core::MetricsRegistry& registry, const MapStats& stats) {
  using Kind = core::MetricsRegistry::Kind;
  const auto counter = [&](const char* name, const char* help, const core::Counter& value,
                           core::MetricLabels labels = {}) {
    registry.Add(std::string("ringscale_map_") + name, Kind::kCounter, help, std::move(labels),
                 [&value] { return static_cast<double>(value.Value()); });
  };
  const auto gauge = [&](const char* name, const char* help, const core::Gauge& value) {
    registry.Add(std::string("ringscale_map_") + name, Kind::kGauge, help, {},
                 [&value] { return static_cast<double>(value.Value()); });
  };
  constexpr const char* kMessages = "Map messages given to streams.";
  counter("messages_total", kMessages, stats.full_maps, {{"kind", "full"}});
  counter("messages_total", kMessages, stats.one_shots, {{"kind", "one_shot"}});
  counter("messages_total", kMessages, stats.deltas, {{"kind", "delta"}});
  counter("messages_total", kMessages, stats.self_updates, {{"kind", "self"}});
  counter("messages_total", kMessages, stats.settings_updates, {{"kind", "settings"}});
  counter("messages_total", kMessages, stats.keep_alives, {{"kind", "keep_alive"}});
  counter("messages_total", kMessages, stats.pings, {{"kind", "ping"}});
  counter("deltas_rendered_total", "Deltas made; the others were shared.", stats.delta_renders);
  counter("bytes_total", "Bytes of map messages taken by connections.", stats.bytes);
  constexpr const char* kEntries = "Peers in rendered deltas.";
  counter("delta_peers_total", kEntries, stats.peers_changed, {{"kind", "changed"}});
  counter("delta_peers_total", kEntries, stats.peers_patched, {{"kind", "patched"}});
  counter("delta_peers_total", kEntries, stats.peers_removed, {{"kind", "removed"}});
  counter("compressions_total", "zstd frames made.", stats.compressions);
  counter("fan_outs_total", "Ticks that told something.", stats.fan_outs);
  constexpr const char* kEnded = "Streams ended by the server.";
  counter("streams_ended_total", kEnded, stats.replaced_streams, {{"reason", "replaced"}});
  counter("streams_ended_total", kEnded, stats.stalled_streams, {{"reason", "stalled"}});
  gauge("streams", "Open map streams.", stats.streams);
  gauge("streams_waiting", "Streams that wait for a full map.", stats.waiting_for_map);
  gauge("full_maps_in_transmission", "Full maps being sent.", stats.sending_maps);
  gauge("last_fan_out_microseconds", "Duration of the last fan-out.", stats.last_fan_out_us);
}

}  // namespace ringscale::control

#include "relay/app/shard_metrics.h"

#include <string>
#include <utility>

namespace ringscale::relay {
namespace {

using Kind = core::MetricsRegistry::Kind;

// Names and reads the values of one shard.
class Registrar {
 public:
  Registrar(core::MetricsRegistry& registry, std::shared_ptr<const ShardMetrics> metrics)
      : registry_(registry), metrics_(std::move(metrics)) {}

  void Count(const char* name, const char* help, const core::Counter& counter,
             core::MetricLabels labels = {}) {
    registry_.Add(Name(name), Kind::kCounter, help, std::move(labels),
                  [keep = metrics_, &counter] { return static_cast<double>(counter.Value()); });
  }
  void CountPerKind(const char* name, const char* help, const ShardMetrics::PerKind& counters) {
    for (std::size_t kind = 0; kind < kPacketKinds; ++kind) {
      Count(name, help, counters[kind],
            {{"kind", std::string(PacketKindLabel(static_cast<PacketKind>(kind)))}});
    }
  }
  void Show(const char* name, const char* help, const core::Gauge& gauge) {
    registry_.Add(Name(name), Kind::kGauge, help, {},
                  [keep = metrics_, &gauge] { return static_cast<double>(gauge.Value()); });
  }
  void CountDrops(DropReason reason, PacketKind kind) {
    const core::MetricLabels labels = {{"reason", std::string(DropReasonLabel(reason))},
                                       {"kind", std::string(PacketKindLabel(kind))}};
    registry_.Add(Name("packets_dropped_total"), Kind::kCounter,
                  "Packets not delivered, by reason.", labels, [keep = metrics_, reason, kind] {
                    return static_cast<double>(keep->drops.Value(reason, kind));
                  });
    registry_.Add(Name("bytes_dropped_total"), Kind::kCounter,
                  "Bytes of their frames, headers included.", labels,
                  [keep = metrics_, reason, kind] {
                    return static_cast<double>(keep->drops.Bytes(reason, kind));
                  });
  }
  void ShowPacketsPerSend() {
    registry_.AddHistogram(Name("packets_per_send"), "Packets that one send carries.",
                           {kPacketsPerSend.begin(), kPacketsPerSend.end()}, [keep = metrics_] {
                             core::HistogramValues values;
                             keep->packets_per_send.AddTo(values);
                             return values;
                           });
  }

 private:
  static std::string Name(const char* name) { return std::string("ringscale_relay_") + name; }

  core::MetricsRegistry& registry_;
  std::shared_ptr<const ShardMetrics> metrics_;
};

}  // namespace

std::string_view CloseReasonLabel(CloseReason reason) {
  constexpr std::array<std::string_view, kCloseReasons> kLabels = {
      "client_closed", "io_error",         "protocol_error", "tls_error", "write_timeout",
      "write_error",   "control_overflow", "closed_by_peer", "revoked",   "no_memory",
      "shutdown",      "mesh_silent",      "key_update"};
  return kLabels[static_cast<std::size_t>(reason)];
}

std::string_view RttClassLabel(RttClass rtt) {
  constexpr std::array<std::string_view, kRttClasses> kLabels = {
      "10ms", "20ms", "50ms", "100ms", "150ms", "250ms", "500ms", "inf", "non-tcp", "error"};
  return kLabels[static_cast<std::size_t>(rtt)];
}

void RegisterShardMetrics(core::MetricsRegistry& registry,
                          const std::shared_ptr<const ShardMetrics>& metrics) {
  Registrar add(registry, metrics);
  const ShardMetrics& m = *metrics;
  add.Count("accepts_total", "DERP clients taken on.", m.accepts);
  add.Count("refused_total", "DERP clients refused at the connection limit.", m.refused);
  add.Show("connections", "DERP clients connected.", m.connections);
  add.Show("home_connections", "Clients whose home this relay is.", m.home_connections);
  add.Show("not_ideal_connections", "Clients that wanted another node of the region.",
           m.not_ideal_connections);
  add.Show("tls_connections", "Clients that speak TLS 1.3 to the relay.", m.tls_connections);
  add.Show("watchers", "Connections that watch presence.", m.watchers);
  add.Show("duplicate_keys", "Keys with several connections.", m.duplicate_keys);
  add.Show("duplicate_connections", "Connections of such keys.", m.duplicate_connections);
  add.Count("duplicate_connections_total", "Connections that joined a key in use.",
            m.duplicate_connections_total);
  add.Count("home_moves_in_total", "Clients that made this relay their home.", m.home_moves_in);
  add.Count("home_moves_out_total", "Clients that moved their home away.", m.home_moves_out);
  for (std::size_t i = 0; i < kCloseReasons; ++i) {
    add.Count("closed_total", "Connections closed, by reason.", m.closed[i],
              {{"reason", std::string(CloseReasonLabel(static_cast<CloseReason>(i)))}});
  }
  const char* const tls_help = "TLS clients taken on, by who makes their records.";
  add.Count("tls_clients_total", tls_help, m.tls_in_user_space, {{"transport", "user"}});
  add.Count("tls_clients_total", tls_help, m.tls_in_kernel, {{"transport", "kernel"}});
  for (std::size_t i = 1; i < core::tls::kKernelTlsRefusals; ++i) {
    const auto refusal = static_cast<core::tls::KernelTlsRefusal>(i);
    add.Count("kernel_tls_refused_total", "TLS clients that the kernel did not take, by reason.",
              m.kernel_tls_refused[i],
              {{"reason", std::string(core::tls::KernelTlsRefusalLabel(refusal))}});
  }
  add.Count("kernel_tls_key_changes_total", "Keys of kernel TLS changed in place.",
            m.kernel_tls_key_changes);
  add.CountPerKind("packets_received_total", "Packets that clients sent.", m.packets_received);
  add.CountPerKind("packets_sent_total", "Packets handed to sockets.", m.packets_sent);
  add.Count("bytes_received_total", "Bytes of packets received.", m.bytes_received);
  add.Count("bytes_sent_total", "Bytes handed to sockets.", m.bytes_sent);
  add.Count("packets_forwarded_in_total", "Packets from other relays of the region.",
            m.packets_forwarded_in);
  add.Count("packets_forwarded_out_total", "Packets for clients of other relays of the region.",
            m.packets_forwarded_out);
  add.Show("mesh_links", "Connections to other relays of the region.", m.mesh_links);
  add.Show("mesh_keys", "Clients of other relays, counted for each.", m.mesh_keys);
  add.Count("throttled_total", "Times that a client was over its receive rate.", m.throttled);
  add.Count("packets_to_shards_total", "Packets passed to other shards.", m.packets_to_shards);
  add.Count("packets_from_shards_total", "Packets taken from other shards.", m.packets_from_shards);
  for (std::size_t reason = 0; reason < kDropReasons; ++reason) {
    for (std::size_t kind = 0; kind < kPacketKinds; ++kind) {
      add.CountDrops(static_cast<DropReason>(reason), static_cast<PacketKind>(kind));
    }
  }
  add.Count("peer_gone_frames_total", "PeerGone frames sent.", m.peer_gone_disconnected,
            {{"reason", "disconnected"}});
  add.Count("peer_gone_frames_total", "PeerGone frames sent.", m.peer_gone_not_here,
            {{"reason", "not_here"}});
  add.Count("pings_total", "Ping frames received.", m.pings);
  add.Count("pongs_total", "Pong frames sent.", m.pongs);
  add.Count("keep_alives_total", "KeepAlive frames sent.", m.keep_alives);
  add.Count("unknown_frames_total", "Frames skipped for their type.", m.unknown_frames);
  add.Count("frames_copied_total", "Frames put together from several receives.", m.frames_copied);
  add.Count("bytes_settled_total", "Bytes copied because a receiver was slow.", m.bytes_settled);
  add.Count("bytes_lent_by_copy_total",
            "Bytes copied for another shard because receive buffers were short.",
            m.bytes_lent_by_copy);
  add.Count("receive_stalls_total", "Receives that found no free buffer.", m.receive_stalls);
  add.Count("stale_completions_total", "Completions of connections long gone.",
            m.stale_completions);
  add.Count("turns_total", "Turns of the event loop.", m.turns);
  add.Count("sends_total", "Sends started.", m.sends);
  add.ShowPacketsPerSend();
  for (std::size_t i = 0; i < kRttClasses; ++i) {
    add.Count("tcp_rtt_samples_total", "Round-trip times to clients, a sample per keep-alive.",
              m.rtt[i], {{"le", std::string(RttClassLabel(static_cast<RttClass>(i)))}});
  }
  add.Show("memory_reserved_bytes", "Memory reserved for packets.", m.memory_reserved);
  add.Show("receive_buffers_free", "Receive buffers with the kernel.", m.receive_buffers_free);
  add.Count("stun_answers_total", "STUN answers, by address family.", m.stun_v4,
            {{"family", "ipv4"}});
  add.Count("stun_answers_total", "STUN answers, by address family.", m.stun_v6,
            {{"family", "ipv6"}});
  const auto stun = [&add](const char* disposition, const core::Counter& counter) {
    add.Count("stun_requests_total", "STUN datagrams, by disposition.", counter,
              {{"disposition", disposition}});
  };
  stun("success", m.stun_success);
  stun("not_stun", m.stun_not_stun);
  stun("write_error", m.stun_write_error);
  stun("read_error", m.stun_read_error);
  stun("dropped", m.stun_dropped);
}

}  // namespace ringscale::relay

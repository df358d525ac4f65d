// The counters of one shard: written by its thread, read by whoever renders
// /metrics.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/obs/histogram.h"
#include "core/obs/metrics.h"
#include "core/tls/kernel_tls.h"
#include "relay/queue/drop_reason.h"

namespace ringscale::relay {

enum class CloseReason : std::uint8_t {
  kClientClosed,   // end of stream or close_notify
  kIoError,        // reset, timeout of the kernel and the like
  kProtocolError,  // a frame that is not allowed
  kTlsError,       // a bad record
  kWriteTimeout,   // takes no bytes
  kWriteError,
  kControlOverflow,  // too far behind for frames that must not be dropped
  kClosedByPeer,     // ClosePeer of a mesh client
  kRevoked,          // CloseKey: no longer admitted
  kNoMemory,
  kShutdown,
  kMeshSilent,  // a link that says nothing any more
  kKeyUpdate,   // due, and this kernel's TLS cannot change keys
};
inline constexpr std::size_t kCloseReasons = 13;
std::string_view CloseReasonLabel(CloseReason reason);

// The smoothed round-trip time to a client as TCP knows it, up to so many milliseconds;
// the labels are derper's.
enum class RttClass : std::uint8_t {
  k10,
  k20,
  k50,
  k100,
  k150,
  k250,
  k500,
  kMore,
  kNotTcp,
  kError
};
inline constexpr std::size_t kRttClasses = 10;
std::string_view RttClassLabel(RttClass rtt);

// Bounds of the histogram of packets per send: derper's of frames per flush.
inline constexpr std::array<std::uint32_t, 16> kPacketsPerSend = {0, 1, 2,  3,  4,  5,  6,  7,
                                                                  8, 9, 10, 15, 20, 25, 50, 100};

struct ShardMetrics {
  using PerKind = std::array<core::Counter, kPacketKinds>;

  core::Counter accepts;
  core::Counter refused;  // the limit of connections was reached
  core::Gauge connections;
  core::Gauge home_connections;
  core::Gauge not_ideal_connections;
  core::Gauge tls_connections;  // whoever makes the records
  core::Gauge watchers;
  core::Gauge duplicate_keys;
  core::Gauge duplicate_connections;
  core::Counter duplicate_connections_total;
  core::Counter home_moves_in;
  core::Counter home_moves_out;
  std::array<core::Counter, kCloseReasons> closed;
  core::Counter tls_in_user_space;
  core::Counter tls_in_kernel;
  std::array<core::Counter, core::tls::kKernelTlsRefusals> kernel_tls_refused;
  core::Counter kernel_tls_key_changes;

  PerKind packets_received;
  PerKind packets_sent;
  core::Counter bytes_received;  // packets only, as the frames carry them
  core::Counter bytes_sent;      // as handed to the socket, everything included
  core::Counter packets_forwarded_in;
  core::Counter packets_forwarded_out;
  core::Gauge mesh_links;
  core::Gauge mesh_keys;  // that are reached by links of this shard
  core::Counter multiforwarder_created;
  core::Counter multiforwarder_deleted;
  core::Counter throttled;  // times that a client was over its receive rate
  core::Counter packets_to_shards;
  core::Counter packets_from_shards;
  core::Counter peer_gone_disconnected;
  core::Counter peer_gone_not_here;
  core::Counter pings;
  core::Counter pongs;
  core::Counter keep_alives;
  core::Counter unknown_frames;
  core::Counter frames_copied;  // split over receives
  core::Counter bytes_settled;  // copied because a receiver was slow
  core::Counter bytes_lent_by_copy;
  core::Counter receive_stalls;  // no receive buffer was free
  core::Counter stale_completions;
  core::Counter turns;
  core::Counter sends;
  core::Histogram<kPacketsPerSend.size()> packets_per_send{kPacketsPerSend};
  core::Gauge queue_age_us;  // of the oldest packet of a send, moving average
  std::array<core::Counter, kRttClasses> rtt;
  DropCounters drops;

  core::Counter stun_success;
  core::Counter stun_v4;  // successes, by family
  core::Counter stun_v6;
  core::Counter stun_not_stun;
  core::Counter stun_write_error;
  core::Counter stun_read_error;
  core::Counter stun_dropped;  // too many replies waiting

  core::Gauge memory_reserved;
  core::Gauge receive_buffers_free;
};

// Adds everything to the registry as ringscale_relay_*; samples of several shards
// add up. The registry keeps `metrics` alive.
void RegisterShardMetrics(core::MetricsRegistry& registry,
                          const std::shared_ptr<const ShardMetrics>& metrics);

}  // namespace ringscale::relay

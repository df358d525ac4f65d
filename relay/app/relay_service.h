// The relay of a process: N shards on pinned threads. Fronts hand clients over,
// control closes keys; the rest runs by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/io/probe.h"
#include "core/obs/metrics.h"
#include "core/tls/kernel_tls.h"
#include "relay/app/client_report.h"
#include "relay/app/client_tcp.h"
#include "relay/app/kernel_transport.h"
#include "relay/app/ports.h"
#include "relay/app/rate_limit.h"
#include "relay/app/shard_metrics.h"
#include "relay/app/shard_options.h"

namespace ringscale::relay {

struct RelayServiceOptions {
  std::uint16_t shards = 0;  // 0 = one per core that the process may use; at most 64
  bool pin_threads = true;
  // Clients share a shard in groups of so many: KeyPlacement.
  std::uint16_t clients_together = 8;
  // Unset: io_uring where the machine allows it, else epoll.
  std::optional<core::io::RingKind> ring_kind;
  // Who makes the TLS records; said in the log at start.
  TlsTransport tls = TlsTransport::kAuto;
  core::tls::SocketOptionCalls tls_calls;
  core::io::RingOptions ring;
  ShardLimits limits;  // per shard
  ShardTimes times;
  core::NodePublic server_key;  // the relay's own public key
  // A client handed over is asked about once more, so that one whose key was
  // removed during its login does not slip in. Null: not asked. Outlives the service.
  const Admission* admission = nullptr;
  PresenceListener* presence = nullptr;  // may be null; outlives the service
  MeshListener* mesh = nullptr;          // may be null; outlives the service
  ClientTcp tcp;
};

class RelayService {
 public:
  // Returns when every shard turns. Metrics appear in `registry` as
  // ringscale_relay_*; they may be read after the service has ended.
  static core::Result<std::unique_ptr<RelayService>> Start(const RelayServiceOptions& options,
                                                           core::MetricsRegistry& registry);
  RelayService(const RelayService&) = delete;
  RelayService& operator=(const RelayService&) = delete;
  // Stops at once.
  ~RelayService();

  // --- any thread ---
  // A client that has logged in now belongs to the relay. It is closed when a
  // limit is reached, its key is no longer admitted, or the service has stopped.
  void Add(LoggedInClient client);
  // Closes all connections of a key. To be called after the key has left the
  // Admission: then nobody with it is connected afterwards.
  void CloseKey(const core::NodePublic& key);
  // UDP sockets (core::net::OpenUdpSocket) to answer STUN on, spread over the shards.
  void AttachStun(std::vector<core::Fd> sockets);

  // Closes all clients one by one over the given time, those whose home is elsewhere
  // first, and waits for the end of it. New ones are still taken.
  void Drain(core::Duration over);
  // The receive rate of each client that is no mesh peer, from now on.
  void SetRateLimit(const RateLimit& limit);
  // Every shard tells the sink what it knows, at most `talkers` clients by name.
  // False when the relay has stopped or is behind.
  bool Report(std::size_t talkers, const std::shared_ptr<ReportSink>& sink);
  // The counters of all shards; they may be read after the service has ended.
  [[nodiscard]] std::vector<std::shared_ptr<const ShardMetrics>> metrics() const;

  // Ends the relay: queued packets may take up to `drain` to go out, then all
  // clients are closed. Waits for the threads. Once or more.
  void Stop(core::Duration drain);

  [[nodiscard]] std::uint16_t shard_count() const;
  [[nodiscard]] core::io::RingKind ring_kind() const;

 private:
  class Impl;
  explicit RelayService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringscale::relay

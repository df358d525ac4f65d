// The control plane's side of client connections: takes them from the front
// threads, runs HTTP/2 over Noise on them, dispatches requests to a MachineApi.
//
// One object per process, on the control thread's loop. To hand a client over
// from a front thread: loop.Post(Accept).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/app/connection_groups.h"
#include "control/app/machine_api.h"
#include "control/app/ports.h"
#include "core/base/slice_arena.h"
#include "core/engine/loop.h"
#include "core/http/h2_server.h"
#include "core/obs/metrics.h"
#include "core/tls/aead.h"

namespace ringscale::control {

class ControlConnection;

struct ControlLimits {
  std::size_t connections = 200'000;
  // Of machines that have no node yet: in all and per source (IPv4 /32, IPv6
  // /64; loopback, which stands for benches and undeclared proxies, has a limit
  // of its own). Above the latter two the oldest of that source is closed.
  std::size_t unregistered = 2048;
  std::size_t unregistered_per_source = 64;
  std::size_t unregistered_loopback = 1024;
  // Of one machine key; the oldest is closed above it. Clients keep a handful:
  // one per authority that they write.
  std::size_t per_machine = 32;

  // Request bodies that are incomplete.
  core::http::H2BodyLimits registered_bodies{1 << 20, 4 << 20};
  core::http::H2BodyLimits unregistered_bodies{64 << 10, 128 << 10};
  core::http::H2Limits http2;

  core::Duration silence = core::Seconds(15);           // without acknowledging (TCP_USER_TIMEOUT)
  core::Duration establish = core::Seconds(10);         // preface and SETTINGS
  core::Duration request = core::Seconds(30);           // for a request to arrive
  core::Duration idle_registered = core::Seconds(600);  // without any stream
  core::Duration idle_unregistered = core::Seconds(30);

  // No more bodies are pulled while a socket has this much queued.
  std::size_t send_high_water = 128 << 10;
  // Connections flushed per task, so that others get their turn in between.
  std::size_t flush_batch = 256;
};

struct ControlStats {
  core::Counter accepted;
  core::Counter refused_full;
  core::Counter evicted_source;
  core::Counter evicted_machine;
  core::Counter requests;
  core::Counter closed_by_peer;
  core::Counter closed_noise;      // records that do not authenticate
  core::Counter closed_transport;  // TLS or WebSocket violations
  core::Counter closed_http2;      // protocol violations and limits
  core::Counter closed_idle;
  core::Counter closed_slow;  // preface or request not there in time
  core::Counter closed_shutdown;
  core::Counter bytes_received;  // HTTP/2 bytes, inside Noise
  core::Counter bytes_sent;
  core::Gauge connections;
};

class ControlServer {
 public:
  // `loop`, `pool` and `api` must outlive the server. Starts a timer on the loop.
  ControlServer(core::engine::Loop& loop, core::tls::AeadPool& pool, MachineApi& api,
                const ControlLimits& limits = {});
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void Accept(NoiseClient client);

  // ControlLimits::connections, for those to come.
  void SetConnectionLimit(std::size_t connections) { limits_.connections = connections; }

  // GOAWAY on every connection, no new ones: existing streams go on.
  void BeginDrain();
  // Closes every connection at once; streams are told that they are gone.
  void CloseAll();

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }
  [[nodiscard]] const ControlStats& stats() const { return stats_; }
  // Samples ringscale_control_...; the server must outlive the registry's use.
  void AddMetrics(core::MetricsRegistry& registry) const;

 private:
  friend class ControlConnection;

  // --- for connections ---
  void MarkDirty(ControlConnection& connection);
  void Remove(ControlConnection& connection);
  void OnRegistered(ControlConnection& connection);

  void Flush();
  void ScheduleFlush();
  void Sweep();
  [[nodiscard]] std::vector<std::shared_ptr<ControlConnection>> All() const;
  void Evict(std::uint64_t id, core::Counter& counter);

  core::engine::Loop& loop_;
  core::tls::AeadPool& pool_;
  MachineApi& api_;
  ControlLimits limits_;
  ControlStats stats_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ControlConnection>> connections_;
  ConnectionGroups<core::MachinePublic> machines_;
  ConnectionGroups<core::IpPrefix> unregistered_;
  std::deque<std::shared_ptr<ControlConnection>> dirty_;
  bool flush_scheduled_ = false;
  bool draining_ = false;
  std::uint64_t next_id_ = 1;
  core::engine::TimerId sweep_timer_;
  // Tasks in the loop's queue hold it weakly: they may outlive the server.
  std::shared_ptr<ControlServer*> alive_;
  // Scratch memory, shared by all connections: none is used across calls.
  core::http::OutputPieces pieces_;
  std::string plaintext_;
  std::string noise_;
  core::SliceArena arena_;  // small outputs until they are sent
};

}  // namespace ringscale::control

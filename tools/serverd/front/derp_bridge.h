// A relay client whose bytes a relay shard cannot take from the socket as they are:
// DERP inside WebSocket (browsers), or inside a TLS session that stays with OpenSSL
// (TLS 1.2). The front keeps the connection and gives the shard one end of a pair of
// local sockets, over which the client seems to speak DERP without TLS; admission,
// queues, rates and accounting are the shard's, as for everybody.
//
// docs/decisions/derp-bridge.md. Private to Front, on its thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/engine/loop.h"
#include "core/http/websocket.h"
#include "core/obs/metrics.h"
#include "core/tls/transport.h"
#include "relay/app/client_tcp.h"
#include "relay/app/shard_options.h"

namespace ringscale::serverd {

class Front;

// A place among the bridged clients of all fronts; given back as it goes.
struct GiveBackPlace {
  void operator()(std::atomic<std::size_t>* taken) const { taken->fetch_sub(1); }
};
using BridgePlace = std::unique_ptr<std::atomic<std::size_t>, GiveBackPlace>;
// Null when `limit` are taken.
BridgePlace TakeBridgePlace(std::atomic<std::size_t>& taken, std::size_t limit);

// How the relay treats the sockets of its clients; a bridge does what a shard would.
struct BridgeOptions {
  relay::ClientTcp tcp;
  relay::ShardTimes times;  // of which those for writing count
};

class DerpBridge final : public core::engine::StreamHandler,
                         public std::enable_shared_from_this<DerpBridge> {
 public:
  struct Client {
    core::Fd fd;
    core::tls::Transport transport;
    std::unique_ptr<core::http::WebSocket> websocket;  // null: DERP right inside TLS
    BridgePlace place;
    bool can_mesh = false;
  };

  DerpBridge(Front& front, std::uint64_t id, Client client);

  // Begins, once; returns the shard's end.
  core::Result<core::Fd> Start();
  // Closes both sides at once.
  void Close();

  // StreamHandler
  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnSent(core::engine::StreamId stream) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

 private:
  // Of the bridges with its version of TLS.
  core::Gauge& Open();
  void FromClient(core::MutableBytes bytes);
  void ToRelay(core::Bytes derp);
  void FromRelay(core::Bytes derp);
  [[nodiscard]] bool SendControl();
  void Watch(int idle = 0);
  void End();
  void Leave();

  Front& front_;
  const std::uint64_t id_;
  Client client_;
  const core::Duration write_timeout_;
  core::engine::StreamId client_stream_;
  core::engine::StreamId relay_stream_;
  int client_fd_ = -1;  // the loop owns it; for what the kernel knows of it
  bool client_paused_ = false;
  bool relay_paused_ = false;
  bool reads_slowly_ = false;  // the client's window was seen closed
  std::uint64_t acknowledged_ = 0;
  core::engine::TimerId watch_;
};

}  // namespace ringscale::serverd

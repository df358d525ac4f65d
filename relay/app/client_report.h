// What a shard says about its connections when an operator asks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "relay/app/ports.h"

namespace ringscale::relay {

struct ClientReport {
  core::NodePublic key;
  core::SocketAddress remote;
  core::Instant connected;
  std::uint64_t received_bytes = 0;  // packets of the client
  std::uint64_t sent_bytes = 0;      // to it, as written to the socket
  std::uint64_t recent_bytes = 0;    // of both, since the report before
  bool home = false;
  bool mesh_peer = false;
};

struct MeshLinkReport {
  std::uint8_t link = kNoMeshLink;
  core::NodePublic key;
  core::SocketAddress remote;
  core::Instant connected;
  std::uint64_t clients = 0;     // keys that are reached by it
  std::uint64_t sent_bytes = 0;  // forwarded
};

struct ShardReport {
  std::vector<ClientReport> talkers;  // most bytes since the last report first
  std::vector<MeshLinkReport> links;
};

// Gets the report of each shard, from the shards' threads.
class ReportSink {
 public:
  virtual ~ReportSink() = default;
  virtual void OnShardReport(ShardReport report) = 0;
};

}  // namespace ringscale::relay

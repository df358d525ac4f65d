// What a relay shard is told at its start.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/keyed_hash.h"
#include "core/base/time.h"
#include "core/io/ring.h"
#include "relay/app/ports.h"
#include "relay/app/shard_metrics.h"
#include "relay/app/tcp_progress.h"
#include "relay/queue/send_batch.h"
#include "relay/queue/send_queue.h"

namespace ringscale::relay {

class KeyPlacement;

// The limits of one shard; every one bounds what strangers can make grow.
struct ShardLimits {
  std::uint32_t connections = 500'000;
  // Cells: partial frames, queued packets, batches being sent. Beyond it packets
  // are dropped and clients that cannot go on without memory are closed.
  std::size_t memory_bytes = std::size_t{256} << 20;
  // Pairs of "who received from whom" that PeerGone remembers.
  std::size_t source_pairs = 256 * 1024;
  QueueLimits queue;
  // The control lane of a watcher holds the news of all clients.
  std::uint32_t watcher_control_bytes = 32 << 20;
  // The data lane of a link to another relay holds what many clients send there.
  std::uint32_t mesh_data_bytes = 16 << 20;
  BatchLimits batch;
};

struct ShardTimes {
  core::Duration keep_alive = core::Seconds(60);
  core::Duration keep_alive_jitter = core::Seconds(5);
  // A client that takes no byte for this long while a send waits is closed; one that
  // answers meanwhile, or has had its window closed, has kSlowReaderTimeouts of it.
  core::Duration write_timeout = core::Seconds(2);
  core::Duration mesh_write_timeout = core::Seconds(30);
  // A link to another relay that is silent for this long has broken.
  core::Duration mesh_silence = core::Seconds(120);
};

struct ShardOptions {
  std::uint16_t index = 0;
  core::io::RingOptions ring;
  ShardLimits limits;
  ShardTimes times;
  core::HashSecret hash_secret;
  std::uint64_t random_seed = 0;         // keep-alive jitter
  core::NodePublic server_key;           // a watcher with this key is ourselves
  PresenceListener* presence = nullptr;  // may be null; outlives the shard
  MeshListener* mesh = nullptr;          // may be null; outlives the shard
  KeyPlacement* placement = nullptr;     // may be null (one shard); outlives the shard
  // How far the peer of a socket has got; asked only when a send has been waiting
  // for a while.
  TcpProgress (*tcp_progress)(void* context, int fd) = nullptr;
  void* tcp_progress_context = nullptr;
  // How far away the peer of a socket is; asked with every keep-alive. May be null.
  RttClass (*rtt)(int fd) = nullptr;
};

}  // namespace ringscale::relay

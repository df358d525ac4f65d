// One DERP client on its shard. An idle one is this struct and its TLS keys.
#pragma once

#include <cstdint>
#include <memory>

#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/engine/timer_wheel.h"
#include "core/net/address.h"
#include "core/tls/record_keys.h"
#include "core/tls/records.h"
#include "relay/app/kernel_transport.h"
#include "relay/app/ports.h"
#include "relay/queue/block.h"
#include "relay/queue/send_batch.h"
#include "relay/queue/send_queue.h"
#include "relay/route/not_here_limiter.h"
#include "relay/wire/frame_reader.h"

namespace ringscale::relay {

enum class ConnectionState : std::uint8_t {
  kFree,
  kOpen,
  kFarewell,  // no longer a client: a TLS alert is on its way, then it closes
  kClosing,   // waits for the ring to end its operations
};

// The base is its keep-alive timer.
struct Connection : core::engine::TimerNode {
  static constexpr std::uint32_t kNone = 0xffffffffu;

  core::NodePublic key;
  // --- touched for every packet ---
  std::uint32_t slot = kNone;
  std::uint32_t peer = kNone;         // of its own key in the PeerTable
  std::uint32_t last_peer = kNone;    // where its last packet went
  std::uint32_t last_source = kNone;  // whom it received from last, noted in SourceTracker
  ConnectionState state = ConnectionState::kFree;
  bool duplicate = false;  // other connections of the key are open
  bool dirty = false;      // listed for a send at the end of the turn
  bool slow = false;       // had to wait behind a send; until its queue is empty
  bool pong_due = false;   // one-slot queue
  bool keep_alive_due = false;
  bool preferred = false;
  bool watcher = false;
  // Kept by the shard for the ring.
  bool receiving = false;  // a receive is armed
  bool ending = false;     // its operations were told to end
  bool can_mesh = false;
  bool is_prober = false;
  bool not_ideal = false;
  bool over_tls = false;
  bool throttled = false;  // over its receive rate: not read from until throttled_until
  std::uint8_t mesh_link = kNoMeshLink;  // our own connection to another relay
  core::tls::Alert farewell{};
  ServerFrameReader reader;
  int fd = -1;
  std::uint32_t generation = 0;
  SendQueue queue;
  SendBatch* batch = nullptr;                  // in flight
  std::unique_ptr<core::tls::RecordKeys> tls;  // null = plain, or the kernel's
  std::unique_ptr<KernelTransport> kernel;     // until Release: the ring reads from it
  Block* partial_record = nullptr;             // ciphertext of an incomplete record
  Block* partial_frame = nullptr;              // start of an incomplete frame
  std::uint32_t partial_frame_need = 0;
  std::uint32_t partial_record_need = 0;
  // --- now and then ---
  std::uint32_t first_source = kNone;      // list of those it received from
  std::uint32_t previous_sending = kNone;  // connections with a send in flight, oldest first
  std::uint32_t next_sending = kNone;
  std::uint8_t idle_looks = 0;  // at the send in flight, since bytes were acknowledged
  bool reads_slowly = false;    // its window was seen closed
  std::uint8_t pong[8] = {};
  NotHereLimiter not_here;
  core::Instant send_check;  // when a send in flight is looked at next
  // The most that the next send may carry: what the receiver takes in
  // BatchLimits::time_ms, as far as it is known.
  std::uint32_t send_limit = 0;
  core::Duration send_began;  // of ShardCore::waited_
  std::uint64_t acknowledged = 0;
  // Byte accounting. What arrived counts packets, what left the wire.
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t reported_bytes = 0;  // the sum of both at the last report
  // Receive rate: bytes that it may send now; below zero it waits.
  std::int64_t tokens = 0;
  core::Instant tokens_at;
  core::Instant connected;
  core::SocketAddress remote;
  std::uint64_t replayed_shards = 0;  // watcher: shards whose clients it has been told
  std::uint32_t keep_alive_ms = 0;    // period, drawn once
};
static_assert(sizeof(Connection) <= 448);

}  // namespace ringscale::relay

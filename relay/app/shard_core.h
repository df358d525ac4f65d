// A relay shard without its ring: connections, frames, routing, queues, timers.
// Sans-IO: RelayShard feeds it received bytes and completed sends, and asks what
// to send. One thread, except where said otherwise.
//
// In the forwarding path nothing is allocated, locked, logged or called through
// a pointer. Life of a packet: OnReceived, OpenRecords (TLS), ReadFrames,
// HandleFrame, OnSendPacket, Deliver, and at the end of the turn StartSend.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "core/base/bytes.h"
#include "core/engine/timer_wheel.h"
#include "core/tls/aead.h"
#include "relay/app/client_report.h"
#include "relay/app/connection.h"
#include "relay/app/ports.h"
#include "relay/app/rate_limit.h"
#include "relay/app/shard_link.h"
#include "relay/app/shard_metrics.h"
#include "relay/app/shard_options.h"
#include "relay/queue/block_pool.h"
#include "relay/route/peer_table.h"
#include "relay/route/source_tracker.h"

namespace ringscale::relay {

class ShardCore {
 public:
  static constexpr std::uint32_t kNone = Connection::kNone;

  // `links` may be null when this is the only shard; `metrics` outlives it.
  ShardCore(const ShardOptions& options, ShardLinks* links, ShardMetrics& metrics,
            core::Instant now);
  ShardCore(const ShardCore&) = delete;
  ShardCore& operator=(const ShardCore&) = delete;
  ~ShardCore();

  // --- clients come and go ---
  // Takes the client over; `client.fd` stays with the caller, who closes it after
  // Release. Its leftover bytes are handled at once. kNone, with nothing taken,
  // when a limit is reached.
  std::uint32_t Open(LoggedInClient& client, std::uint32_t epoch, KernelMove kernel = {});
  // Closes every connection of the key, on whatever shard.
  void CloseKey(const core::NodePublic& key, CloseReason reason);
  // Closes all clients: with a TLS close_notify where nothing is in flight.
  void CloseAll();
  [[nodiscard]] std::size_t open_connections() const { return open_; }

  [[nodiscard]] Connection& at(std::uint32_t slot) { return chunks_[slot / kChunk][slot % kChunk]; }
  // Null when the slot has moved on to another generation: a stale completion.
  [[nodiscard]] Connection* Get(std::uint32_t slot, std::uint32_t generation);

  // --- a turn, in this order ---
  // Sets the time, runs timers, takes what other shards sent. `completions`: how many
  // the ring has for this turn.
  void BeginTurn(core::Instant now, std::size_t completions);
  // Bytes arrived at the start of `block`; takes over one reference to it.
  void OnReceived(Connection& connection, Block* block, std::size_t size);
  // End of stream (0) or -errno.
  void OnReceiveEnded(Connection& connection, int error);
  // Of a client whose TLS is the kernel's: -errno came instead of data, maybe for a
  // record that is none. True when the receive is to be started again.
  [[nodiscard]] bool OnKernelReceiveError(Connection& connection, int error);
  // A record other than data that the kernel opened.
  void OnKernelRecord(Connection& connection, std::uint8_t type, core::MutableBytes content);
  // Of the same client: true when the send in flight has gone out in part, and the
  // rest of its batch is to be sent. OnSent otherwise.
  [[nodiscard]] bool ContinueSend(Connection& connection, std::int64_t result);
  // The send in flight completed with `result` bytes or -errno.
  void OnSent(Connection& connection, std::int64_t result);
  // Connections that want to send; the shell calls StartSend for each, once.
  std::span<const std::uint32_t> TakeDirty();
  // Builds the next batch of a connection, now in flight, or nullptr. What stays
  // queued afterwards pins no receive buffer.
  const SendBatch* StartSend(Connection& connection);
  // Connections that closed: end their operations, then Release.
  std::span<const std::uint32_t> TakeClosing();
  // No operation of the connection is in flight any more; the slot is free.
  void Release(Connection& connection);
  // Publishes to other shards and wakes them.
  void EndTurn();
  // How long the ring may wait; zero when there is work left.
  [[nodiscard]] core::Duration MaxWait(core::Instant now) const;

  // Ends everything: releases all memory. Nothing is received or sent after it.
  // Every shard is shut down before the first of them is destroyed, because they
  // hold each other's memory.
  // `open` gets the descriptors that were not released yet.
  void Shutdown(std::vector<int>& open);

  // Closes all clients one by one over the given time, those whose home is
  // elsewhere first, after telling all of them.
  void BeginDrain(core::Duration over);
  // Everybody who was there at its begin was closed.
  [[nodiscard]] bool drained() const { return draining_ && drain_done_ == drain_.size(); }

  // The receive rate of clients that are no mesh peers, from now on.
  void SetRateLimit(const RateLimit& limit);
  [[nodiscard]] bool limits_rate() const { return rate_limit_.on(); }
  // A throttled connection may be read from again after this.
  [[nodiscard]] core::Duration ThrottledFor(const Connection& connection) const;
  // False while it still has to wait.
  bool EndThrottle(Connection& connection);

  // What an operator wants to know; at most `talkers` clients by name.
  [[nodiscard]] ShardReport Report(std::size_t talkers);

  // Bytes of clients are thrown away from now on; what is queued still goes out.
  void StopReading() { reading_ = false; }
  // Nothing is being sent and nothing waits to be.
  [[nodiscard]] bool idle() const {
    return dirty_.empty() && oldest_send_[0] == kNone && oldest_send_[1] == kNone;
  }

  [[nodiscard]] BlockPool& pool() { return pool_; }
  [[nodiscard]] ShardMetrics& metrics() { return metrics_; }
  [[nodiscard]] const PeerTable& peers() const { return peers_; }
  [[nodiscard]] core::Instant now() const { return now_; }
  // Packets lent to other shards and not yet back, for tests.
  [[nodiscard]] std::uint64_t loans_outstanding() const;

 private:
  static constexpr std::uint32_t kChunk = 64;

  // Another shard, as this one sees it.
  struct Neighbour {
    ShardLink* out = nullptr;
    ShardLink* in = nullptr;
    std::uint32_t loans = 0;           // packets lent and not back
    std::uint32_t last_peer = kNone;   // whom its last packet was for
    std::deque<ShardMessage> waiting;  // news that found the mailbox full
  };

  struct Doomed {
    std::uint32_t slot;
    std::uint32_t generation;
    CloseReason reason;
  };

  // --- shard_core.cc: connections, timers ---
  Connection* Allocate();
  void Close(Connection& connection, CloseReason reason);
  void CloseLater(Connection& connection, CloseReason reason);
  void CloseWithAlert(Connection& connection, CloseReason reason, core::tls::Alert alert);
  void Unregister(Connection& connection, CloseReason reason);
  void RunTimers();
  void CheckSends(std::uint32_t& oldest);
  void LinkSending(Connection& connection);
  void UnlinkSending(Connection& connection);
  void UpdateGauges();
  std::uint32_t DrawKeepAlive();
  std::uint64_t Random();
  void MarkDirty(Connection& connection);

  // --- shard_frames.cc: bytes to frames, what clients say ---
  // Handles a copy of bytes that did not come from the ring.
  void FeedCopy(Connection& connection, core::Bytes bytes, bool records);
  void OpenRecords(Connection& connection, Block* block, core::MutableBytes bytes);
  core::MutableBytes CompleteRecord(Connection& connection, core::MutableBytes bytes);
  // False when the connection is no longer open.
  bool OnRecord(Connection& connection, const core::tls::RecordEvent& event, Block* block);
  void NoteActivity(Connection& connection, const ServerFrameReader::Step& step);
  void ReadFrames(Connection& connection, Block* block, core::MutableBytes bytes);
  core::MutableBytes CompleteFrame(Connection& connection, core::MutableBytes bytes);
  // Copies bytes to a cell that will hold `need`; false without memory.
  bool Stash(Block*& cell, core::MutableBytes bytes, std::size_t need);
  bool Extend(Block*& cell, std::size_t want, std::size_t need);
  void HandleFrame(Connection& connection, const FrameView& frame, Block* block);
  void OnPing(Connection& connection, core::Bytes payload);
  void OnNotePreferred(Connection& connection, bool preferred);

  // --- shard_route.cc: packets to their destinations ---
  void OnSendPacket(Connection& connection, const FrameView& frame, Block* block);
  void OnForwardPacket(Connection& connection, const FrameView& frame, Block* block);
  void Drop(DropReason reason, PacketKind kind, std::size_t frame_bytes) {
    metrics_.drops.Add(reason, kind, frame_bytes);
  }
  void TellNotHere(Connection& connection, const std::uint8_t* key, PacketKind kind);
  // Queues a RecvPacket frame; takes over one reference to the block.
  void Deliver(Connection& connection, Lane lane, const Packet& packet);
  void NoteSource(Connection& receiver, std::uint32_t source);
  void Lend(const Peer& peer, Lane lane, std::uint8_t* frame, std::size_t size,
            const core::NodePublic& source, Block* block);
  void OnLentPacket(Neighbour& from, ShardMessage& message);

  // --- shard_presence.cc: who is here, who watches, who left ---
  void Announce(const ShardMessage& message);
  void AnnounceUp(const Connection& connection, std::uint32_t epoch);
  void SendTo(Neighbour& neighbour, const ShardMessage& message);
  void ReadLinks();
  void OnMessage(std::uint16_t from, ShardMessage& message);
  void OnKeyUp(std::uint16_t from, const ShardMessage& message);
  void OnKeyDown(std::uint16_t from, const ShardMessage& message);
  void OnReplay(std::uint16_t from, const ShardMessage& message);
  void OnWatch(Connection& connection);
  void TellWatchers(std::uint16_t about_shard, const std::uint8_t* frame, std::size_t size);
  void TellWatchersGone(std::uint16_t about_shard, const core::NodePublic& key);
  void TellReceivers(std::uint32_t peer);
  void SendPeerGone(Connection& connection, const core::NodePublic& key, PeerGoneReason reason);
  // Queues bytes of whole frames that must not be dropped. May close the connection.
  void SendControl(Connection& connection, const std::uint8_t* frames, std::size_t size);

  // --- shard_mesh.cc: links to other relays of the region ---
  std::uint32_t OpenLink(LoggedInClient& client);
  void UnregisterLink(Connection& connection);
  void CheckLink(Connection& connection);
  void ReadLinkFrames(Connection& connection, core::MutableBytes bytes);
  void OnLinkFrame(Connection& connection, const FrameView& frame);
  void AddForwarder(const core::NodePublic& key, std::uint8_t link);
  void RemoveForwarder(const core::NodePublic& key, std::uint8_t link);
  void RemoveForwarder(std::uint32_t peer, std::uint8_t link);
  void ForgetLink(std::uint8_t link);
  void OnMeshMessage(std::uint16_t from, ShardMessage& message);
  // The key's last connection in this process has closed.
  void ForgetClient(std::uint32_t peer);
  void ForwardOut(const core::NodePublic& source, const Peer& peer, Lane lane, core::Bytes packet);
  void DeliverToLink(Connection& link, Lane lane, const Packet& packet);

  // --- shard_pace.cc: drains and receive rates ---
  void ContinueDrain();
  [[nodiscard]] core::Instant NextDrainStep() const;
  void Charge(Connection& connection, std::size_t bytes);

  // --- shard_send.cc: batches ---
  void AddDueFrames(Connection& connection);
  void NoteQueueAge(const SendQueue& queue);
  SendBatch* BuildBatch(Connection& connection);
  [[nodiscard]] std::uint32_t SendLimit(const Connection& connection) const;
  void LearnSendLimit(Connection& connection, std::uint32_t sent);
  SendBatch* SealBatch(Connection& connection);
  // Seals one cell of up to `room` bytes of packets, at least one packet; false
  // without memory.
  bool SealInto(Connection& connection, SendBatch& batch, std::size_t room, LaneOrder& order);
  SendBatch* ControlRecordBatch(Connection& connection);

  // --- shard_kernel_tls.cc ---
  void EndKernel(Connection& connection);
  SendBatch* KernelControlBatch(Connection& connection);
  void AfterKernelSend(Connection& connection);

  const ShardOptions options_;
  const std::uint16_t index_;
  const QueueLimits watcher_limits_;
  core::Instant now_;
  std::uint32_t now_ms_ = 0;
  // Time without what a CPU quota, other processes or too much work took from the
  // shard: receivers are not to blame for that.
  core::Duration waited_;
  std::uint64_t random_state_;

  BlockPool pool_;
  core::tls::AeadPool aead_;
  // What is being sealed at the moment: too large for the stack.
  struct Sealing {
    std::array<Packet, 512> taken;
    std::array<core::Bytes, 512> pieces;
  };
  std::unique_ptr<Sealing> sealing_ = std::make_unique<Sealing>();
  PeerTable peers_;
  SourceTracker sources_;
  core::engine::TimerWheel timers_;
  core::engine::TimerNode housekeeping_;
  std::uint32_t low_buffers_;   // below it slow receivers pin no receive buffer
  std::uint32_t hard_buffers_;  // below it nobody does

  std::vector<std::unique_ptr<Connection[]>> chunks_;
  std::vector<std::uint32_t> free_slots_;
  std::size_t open_ = 0;
  std::vector<std::uint32_t> dirty_;
  std::vector<std::uint32_t> taken_dirty_;
  std::vector<std::uint32_t> closing_;
  std::vector<std::uint32_t> taken_closing_;
  std::vector<Doomed> doomed_;
  std::vector<std::uint32_t> watchers_;
  // Sends in flight, oldest first: of clients and of mesh peers, whose timeouts differ.
  std::uint32_t oldest_send_[2] = {kNone, kNone};
  std::uint32_t newest_send_[2] = {kNone, kNone};
  bool memory_short_ = false;  // a send could not be built

  std::vector<Neighbour> neighbours_;  // by shard; empty when alone
  bool mail_left_ = false;
  bool reading_ = true;

  // Where links to other relays live, by number.
  struct LinkPlace {
    std::uint16_t shard = Peer::kNowhere;
    std::uint32_t slot = kNone;
    std::uint32_t generation = 0;
  };
  std::array<LinkPlace, kMaxMeshLinks> links_;
  // Of a link of this shard.
  struct LinkState {
    MeshFrameReader reader;
    std::vector<std::uint8_t> partial;  // start of an incomplete frame
    core::Instant heard;
    std::uint64_t keys = 0;
  };
  std::array<std::unique_ptr<LinkState>, kMaxMeshLinks> own_links_;
  const QueueLimits link_limits_;

  std::int64_t queue_age_us_ = 0;  // see NoteQueueAge

  RateLimit rate_limit_;
  bool draining_ = false;
  core::Instant drain_begin_;
  core::Duration drain_over_;
  std::size_t drain_done_ = 0;
  std::vector<Doomed> drain_;

  ShardMetrics& metrics_;
};

}  // namespace ringscale::relay

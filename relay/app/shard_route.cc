// Packets on their way to a connection of this shard or to another shard.
#include <cstring>

#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

Lane LaneOf(core::Bytes packet) {
  return LooksLikeDisco(packet) ? Lane::kDisco : Lane::kData;
}

}  // namespace

void ShardCore::OnSendPacket(Connection& c, const FrameView& frame, Block* block) {
  const core::MutableBytes payload = frame.payload();
  const std::uint8_t* destination = payload.data();
  const core::Bytes packet = payload.subspan(kKeyBytes);
  const Lane lane = LaneOf(packet);
  const PacketKind kind = KindOf(lane);
  metrics_.packets_received[static_cast<std::size_t>(kind)].Add();
  metrics_.bytes_received.Add(packet.size());
  c.received_bytes += packet.size();

  if (!peers_.Holds(c.last_peer, destination)) {
    c.last_peer = peers_.Find(destination);
    if (c.last_peer == kNone) {
      Drop(DropReason::kUnknownDest, kind, frame.frame.size());
      return TellNotHere(c, destination, kind);
    }
  }
  const Peer& peer = peers_.at(c.last_peer);
  if (peer.shard != index_) {
    if (peer.shard == Peer::kMesh) return ForwardOut(c.key, peer, lane, packet);
    return Lend(peer, lane, frame.frame.data(), frame.frame.size(), c.key, block);
  }
  if (peer.active == kNone) return Drop(DropReason::kDupClient, kind, frame.frame.size());
  RewriteToRecvPacket(frame.frame.data(), c.key);
  Connection& receiver = at(peer.active);
  if (receiver.last_source != c.peer) NoteSource(receiver, c.peer);
  pool_.AddReference(block);
  Deliver(receiver, lane,
          MakePacket(frame.frame.data(), frame.frame.size(), block,
                     block->kind == BlockKind::kReceive, now_ms_));
}

// From another relay of the region: delivered here or not at all.
void ShardCore::OnForwardPacket(Connection& c, const FrameView& frame, Block* block) {
  const core::MutableBytes payload = frame.payload();
  const core::NodePublic source = KeyAt(payload.data());
  const core::NodePublic destination = KeyAt(payload.data() + kKeyBytes);
  const Lane lane = LaneOf(payload.subspan(2 * kKeyBytes));
  const PacketKind kind = KindOf(lane);
  metrics_.packets_forwarded_in.Add();
  metrics_.packets_received[static_cast<std::size_t>(kind)].Add();
  metrics_.bytes_received.Add(payload.size() - 2 * kKeyBytes);
  c.received_bytes += payload.size() - 2 * kKeyBytes;

  const std::uint32_t index = peers_.Find(destination);
  // What another relay forwards is never forwarded again.
  if (index == kNone || peers_.at(index).shard == Peer::kMesh) {
    Drop(DropReason::kUnknownDestOnFwd, kind, frame.frame.size());
    return TellNotHere(c, destination.raw.data(), kind);
  }
  const Peer& peer = peers_.at(index);
  std::uint8_t* rewritten =
      RewriteForwardToRecvPacket(frame.frame.data(), static_cast<std::uint32_t>(payload.size()));
  const std::size_t size = frame.frame.size() - kKeyBytes;
  if (peer.shard != index_) return Lend(peer, lane, rewritten, size, source, block);
  if (peer.active == kNone) return Drop(DropReason::kDupClient, kind, size);
  Connection& receiver = at(peer.active);
  if (!peers_.Holds(receiver.last_source, source.raw.data())) {
    const std::uint32_t known = peers_.Find(source);
    if (known != kNone) NoteSource(receiver, known);
  }
  pool_.AddReference(block);
  Deliver(receiver, lane,
          MakePacket(rewritten, size, block, block->kind == BlockKind::kReceive, now_ms_));
}

void ShardCore::TellNotHere(Connection& c, const std::uint8_t* key, PacketKind kind) {
  if (kind != PacketKind::kDisco || !c.not_here.Allow(now_)) return;
  SendPeerGone(c, KeyAt(key), PeerGoneReason::kNotHere);
}

void ShardCore::Deliver(Connection& receiver, Lane lane, const Packet& packet) {
  const QueueLimits& limits = receiver.watcher ? watcher_limits_ : options_.limits.queue;
  if (receiver.queue.Push(lane, packet, limits, pool_, metrics_.drops) !=
      SendQueue::PushResult::kQueued) {
    pool_.Release(packet.block);
    return;
  }
  MarkDirty(receiver);
}

void ShardCore::NoteSource(Connection& receiver, std::uint32_t source) {
  if (sources_.Note(source, receiver.slot, peers_.at(source).first_receiver,
                    receiver.first_source)) {
    receiver.last_source = source;
  }
}

// --- to and from other shards ---

// The packet stays where it is; the other shard sends from our memory and gives
// the block back. When receive buffers are short it gets a copy instead, so that
// a slow receiver over there cannot stop receiving here.
void ShardCore::Lend(const Peer& peer, Lane lane, std::uint8_t* frame, std::size_t size,
                     const core::NodePublic& source, Block* block) {
  Neighbour& to = neighbours_[peer.shard];
  const PacketKind kind = KindOf(lane);
  if (to.loans >= to.out->returns.capacity()) return Drop(DropReason::kQueueTail, kind, size);
  ShardMessage message;
  message.kind = ShardMessage::Kind::kPacket;
  message.flags = static_cast<std::uint8_t>(lane);
  message.number = static_cast<std::uint32_t>(size);
  message.key = peer.key.raw;
  std::memcpy(frame + kHeaderBytes, source.raw.data(), kKeyBytes);
  frame[0] = static_cast<std::uint8_t>(FrameType::kRecvPacket);
  if (block->kind == BlockKind::kReceive && pool_.receive_free() < low_buffers_) {
    Block* cell = pool_.AllocateCell(size, BlockPool::Need::kOrdinary);
    if (cell == nullptr) return Drop(DropReason::kNoMemory, kind, size);
    std::memcpy(cell->data, frame, size);
    metrics_.bytes_lent_by_copy.Add(size);
    frame = cell->data;
    block = cell;
  } else {
    pool_.AddReference(block);
  }
  message.packet = {frame, block};
  if (!to.out->messages.TryPush(std::move(message))) {
    pool_.Release(block);
    return Drop(DropReason::kQueueTail, kind, size);
  }
  ++to.loans;
  metrics_.packets_to_shards.Add();
}

void ShardCore::OnLentPacket(Neighbour& from, ShardMessage& message) {
  metrics_.packets_from_shards.Add();
  const auto lane = static_cast<Lane>(message.flags);
  std::uint8_t* const data = message.packet.data;
  Block* const block = message.packet.block;
  const auto drop = [&](DropReason reason) {
    Drop(reason, KindOf(lane), message.number);
    pool_.Release(block);
  };
  if (!peers_.Holds(from.last_peer, message.key.data())) {
    from.last_peer = peers_.Find(message.key.data());
  }
  // Not here any more: it left while the packet was on its way.
  if (from.last_peer == kNone) return drop(DropReason::kGoneDisconnected);
  const Peer& peer = peers_.at(from.last_peer);
  if (peer.shard != index_) return drop(DropReason::kGoneDisconnected);
  if (peer.active == kNone) return drop(DropReason::kDupClient);
  Connection& receiver = at(peer.active);
  const std::uint8_t* source = data + kHeaderBytes;
  if (!peers_.Holds(receiver.last_source, source)) {
    const std::uint32_t index = peers_.Find(source);
    if (index != kNone) NoteSource(receiver, index);
  }
  Deliver(receiver, lane, MakePacket(data, message.number, block, true, now_ms_));
}

}  // namespace ringscale::relay

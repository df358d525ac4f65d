// Links: our own connections to the other relays of the region. By them we hear
// who is connected there, and over them go packets for those clients. A link lives
// on one shard; every shard knows which keys it leads to.
#include <algorithm>
#include <cstring>
#include <utility>

#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
// --- a link comes and goes ---

std::uint32_t ShardCore::OpenLink(LoggedInClient& client) {
  Connection* connection =
      client.mesh_link < kMaxMeshLinks && own_links_[client.mesh_link] == nullptr ? Allocate()
                                                                                  : nullptr;
  if (connection == nullptr) {
    metrics_.refused.Add();
    if (options_.mesh != nullptr) options_.mesh->OnMeshLinkEnded(client.mesh_link);
    return kNone;
  }
  Connection& c = *connection;
  c.key = client.key;
  c.fd = client.fd.get();
  c.remote = client.remote;
  c.tls = std::move(client.tls);
  c.can_mesh = true;  // waits for writes as long as mesh peers may
  c.mesh_link = client.mesh_link;
  c.state = ConnectionState::kOpen;
  c.connected = now_;
  own_links_[c.mesh_link] = std::make_unique<LinkState>();
  own_links_[c.mesh_link]->heard = now_;
  links_[c.mesh_link] = {.shard = index_, .slot = c.slot, .generation = c.generation};
  metrics_.mesh_links.Add(1);
  timers_.Start(c, now_ + options_.times.mesh_silence);
  ShardMessage up;
  up.kind = ShardMessage::Kind::kLinkUp;
  up.number = c.mesh_link;
  up.watcher = c.slot;
  up.generation = c.generation;
  Announce(up);
  FeedCopy(c, client.plaintext, false);
  FeedCopy(c, client.ciphertext, true);
  return c.slot;
}

// Its timer is cancelled, its state kFarewell.
void ShardCore::UnregisterLink(Connection& c) {
  c.queue.Clear(pool_, metrics_.drops, DropReason::kGoneDisconnected);
  if (c.partial_record != nullptr) pool_.Release(std::exchange(c.partial_record, nullptr));
  metrics_.mesh_links.Add(-1);
  metrics_.mesh_keys.Add(-static_cast<std::int64_t>(own_links_[c.mesh_link]->keys));
  own_links_[c.mesh_link].reset();
  ForgetLink(c.mesh_link);
  ShardMessage down;
  down.kind = ShardMessage::Kind::kLinkDown;
  down.number = c.mesh_link;
  Announce(down);
  if (options_.mesh != nullptr) options_.mesh->OnMeshLinkEnded(c.mesh_link);
}

void ShardCore::CheckLink(Connection& c) {
  const core::Instant silent_at = own_links_[c.mesh_link]->heard + options_.times.mesh_silence;
  if (silent_at <= now_) return CloseLater(c, CloseReason::kMeshSilent);
  timers_.Start(c, silent_at);
}

// --- what the other relay says ---

void ShardCore::ReadLinkFrames(Connection& c, core::MutableBytes bytes) {
  LinkState& link = *own_links_[c.mesh_link];
  link.heard = now_;
  const bool kept = !link.partial.empty();
  if (kept) {
    link.partial.insert(link.partial.end(), bytes.begin(), bytes.end());
    bytes = link.partial;
  }
  while (c.state == ConnectionState::kOpen) {
    const MeshFrameReader::Step step = link.reader.Next(bytes);
    bytes = bytes.subspan(step.consumed);
    if (step.status == MeshFrameReader::Status::kNeedMore) break;
    if (step.status == MeshFrameReader::Status::kBadLength) {
      return CloseLater(c, CloseReason::kProtocolError);
    }
    OnLinkFrame(c, step.frame);
  }
  if (c.state != ConnectionState::kOpen) return;
  if (kept) {
    link.partial.erase(link.partial.begin(),
                       link.partial.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  } else {
    link.partial.assign(bytes.begin(), bytes.end());
  }
}

void ShardCore::OnLinkFrame(Connection& c, const FrameView& frame) {
  const core::Bytes payload = frame.payload();
  switch (frame.type) {
    case FrameType::kPeerPresent: {
      const core::NodePublic key = KeyAt(payload.data());
      // Our own links are clients over there.
      if (key == options_.server_key || key.zero()) return;
      return AddForwarder(key, c.mesh_link);
    }
    case FrameType::kPeerGone:
      return RemoveForwarder(KeyAt(payload.data()), c.mesh_link);
    case FrameType::kPing: {
      std::uint8_t pong[kPongFrameBytes];
      const std::size_t size = WritePong(pong, payload.data());
      return SendControl(c, pong, size);
    }
    default:
      return;  // the reader yields no others
  }
}

// --- who can be reached by which link ---

void ShardCore::AddForwarder(const core::NodePublic& key, std::uint8_t link) {
  const PeerTable::Forwarded added = peers_.AddForwarder(key, link);
  LinkState* own = own_links_[link].get();
  if (own == nullptr || added.now == PeerTable::Forwarding::kUnchanged) return;
  ++own->keys;
  metrics_.mesh_keys.Add(1);
  if (added.now == PeerTable::Forwarding::kSeveral) metrics_.multiforwarder_created.Add();
  ShardMessage message;
  message.kind = ShardMessage::Kind::kForwarderUp;
  message.number = link;
  message.key = key.raw;
  Announce(message);
}

void ShardCore::RemoveForwarder(const core::NodePublic& key, std::uint8_t link) {
  const std::uint32_t peer = peers_.Find(key);
  if (peer != kNone) RemoveForwarder(peer, link);
}

void ShardCore::RemoveForwarder(std::uint32_t peer, std::uint8_t link) {
  const core::NodePublic key = peers_.at(peer).key;
  const PeerTable::Forwarding left = peers_.RemoveForwarder(peer, link);
  if (left == PeerTable::Forwarding::kUnchanged) return;
  if (left == PeerTable::Forwarding::kNone && peers_.at(peer).shard == Peer::kMesh) {
    TellReceivers(peer);
    peers_.Erase(peer);
  }
  LinkState* own = own_links_[link].get();
  if (own == nullptr) return;
  --own->keys;
  metrics_.mesh_keys.Add(-1);
  if (left == PeerTable::Forwarding::kOnly) metrics_.multiforwarder_deleted.Add();
  ShardMessage message;
  message.kind = ShardMessage::Kind::kForwarderDown;
  message.number = link;
  message.key = key.raw;
  Announce(message);
}

void ShardCore::ForgetLink(std::uint8_t link) {
  links_[link] = {};
  peers_.ForEach([&](std::uint32_t peer, const Peer&) { RemoveForwarder(peer, link); });
}

void ShardCore::ForgetClient(std::uint32_t peer) {
  if (peers_.at(peer).forwarders != kNone) return peers_.LeaveToMesh(peer);
  TellReceivers(peer);
  peers_.Erase(peer);
}

// --- packets ---

// The frame grows by a key, so the packet is copied: it then pins no receive
// buffer however long the link takes.
void ShardCore::ForwardOut(const core::NodePublic& source, const Peer& peer, Lane lane,
                           core::Bytes packet) {
  const PacketKind kind = KindOf(lane);
  const LinkPlace& place = links_[peers_.ForwarderOf(peer)];
  const std::size_t size = kForwardFrameOverhead + packet.size();
  if (place.shard == Peer::kNowhere) return Drop(DropReason::kUnknownDest, kind, size);
  Block* cell = pool_.AllocateCell(size, BlockPool::Need::kOrdinary);
  if (cell == nullptr) return Drop(DropReason::kNoMemory, kind, size);
  WriteForwardPacket(cell->data, source, peer.key, packet);
  metrics_.packets_forwarded_out.Add();
  if (place.shard == index_) {
    return DeliverToLink(at(place.slot), lane, MakePacket(cell->data, size, cell, false, now_ms_));
  }
  Neighbour& to = neighbours_[place.shard];
  ShardMessage message;
  message.kind = ShardMessage::Kind::kForward;
  message.flags = static_cast<std::uint8_t>(lane);
  message.number = static_cast<std::uint32_t>(size);
  message.watcher = place.slot;
  message.generation = place.generation;
  message.packet = {cell->data, cell};
  if (to.loans >= to.out->returns.capacity() || !to.out->messages.TryPush(std::move(message))) {
    pool_.Release(cell);
    return Drop(DropReason::kQueueTail, kind, size);
  }
  ++to.loans;
  metrics_.packets_to_shards.Add();
}

// Takes over one reference to the block.
void ShardCore::DeliverToLink(Connection& link, Lane lane, const Packet& packet) {
  if (link.state != ConnectionState::kOpen) {
    Drop(DropReason::kGoneDisconnected, KindOf(lane), packet.length);
    return pool_.Release(packet.block);
  }
  if (link.queue.Push(lane, packet, link_limits_, pool_, metrics_.drops) !=
      SendQueue::PushResult::kQueued) {
    return pool_.Release(packet.block);
  }
  MarkDirty(link);
}

// --- from other shards ---

void ShardCore::OnMeshMessage(std::uint16_t from, ShardMessage& message) {
  if (message.kind == ShardMessage::Kind::kForward) {
    metrics_.packets_from_shards.Add();
    const auto lane = static_cast<Lane>(message.flags);
    Connection* link = Get(message.watcher, message.generation);
    if (link == nullptr) {
      Drop(DropReason::kGoneDisconnected, KindOf(lane), message.number);
      return pool_.Release(message.packet.block);
    }
    return DeliverToLink(
        *link, lane,
        MakePacket(message.packet.data, message.number, message.packet.block, true, now_ms_));
  }
  if (message.number >= kMaxMeshLinks) return;
  const auto link = static_cast<std::uint8_t>(message.number);
  const core::NodePublic key{message.key};
  switch (message.kind) {
    case ShardMessage::Kind::kLinkUp:
      links_[link] = {.shard = from, .slot = message.watcher, .generation = message.generation};
      return;
    case ShardMessage::Kind::kLinkDown:
      return ForgetLink(link);
    case ShardMessage::Kind::kForwarderUp:
      return AddForwarder(key, link);
    case ShardMessage::Kind::kForwarderDown:
      return RemoveForwarder(key, link);
    default:
      return;
  }
}

}  // namespace ringscale::relay

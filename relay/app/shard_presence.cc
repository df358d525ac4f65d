// Who is connected where: the news between shards, watchers, and those who must
// hear that somebody left.
#include <algorithm>
#include <cstring>
#include <utility>

#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

constexpr std::size_t kMailPerTurn = 4096;  // per link; the rest waits a turn

std::uint8_t PresentFlags(const Connection& c) {
  std::uint8_t flags = 0;
  if (c.can_mesh) flags |= kPresentMeshPeer;
  if (c.is_prober) flags |= kPresentProber;
  if (c.not_ideal) flags |= kPresentNotIdeal;
  return flags == 0 ? kPresentRegular : flags;
}

using PresentFrame = std::array<std::uint8_t, kPeerPresentFrameBytes>;

PresentFrame FrameOf(const Connection& c) {
  PresentFrame frame;
  WritePeerPresent(frame.data(), c.key, c.remote, PresentFlags(c));
  return frame;
}

// The message carries what the frame does, so that the other shard needs nothing
// else to tell its watchers.
void FillPresence(ShardMessage& message, const Connection& c) {
  const PresentFrame frame = FrameOf(c);
  const std::uint8_t* at = frame.data() + kHeaderBytes + kKeyBytes;
  message.key = c.key.raw;
  std::memcpy(message.ip.data(), at, 16);
  message.port = core::LoadBe16(at + 16);
  message.flags = at[18];
}

PresentFrame FrameOf(const ShardMessage& message) {
  PresentFrame frame;
  WriteHeader(frame.data(), FrameType::kPeerPresent, kPeerPresentFrameBytes - kHeaderBytes);
  std::uint8_t* at = frame.data() + kHeaderBytes;
  std::memcpy(at, message.key.data(), kKeyBytes);
  std::memcpy(at + kKeyBytes, message.ip.data(), 16);
  core::StoreBe16(at + kKeyBytes + 16, message.port);
  at[kKeyBytes + 18] = message.flags;
  return frame;
}

}  // namespace

// --- to other shards ---

void ShardCore::SendTo(Neighbour& neighbour, const ShardMessage& message) {
  // News must arrive, and in order: what finds the mailbox full waits here.
  ShardMessage copy = message;
  if (neighbour.waiting.empty() && neighbour.out->messages.TryPush(std::move(copy))) return;
  neighbour.waiting.push_back(message);
}

void ShardCore::Announce(const ShardMessage& message) {
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.out != nullptr) SendTo(neighbour, message);
  }
}

void ShardCore::AnnounceUp(const Connection& c, std::uint32_t epoch) {
  if (!watchers_.empty()) {
    const PresentFrame frame = FrameOf(c);
    TellWatchers(index_, frame.data(), frame.size());
  }
  if (neighbours_.empty()) return;
  ShardMessage message;
  message.kind = ShardMessage::Kind::kKeyUp;
  message.number = epoch;
  FillPresence(message, c);
  Announce(message);
}

void ShardCore::EndTurn() {
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.out == nullptr) continue;
    while (!neighbour.waiting.empty() &&
           neighbour.out->messages.TryPush(ShardMessage(neighbour.waiting.front()))) {
      neighbour.waiting.pop_front();
    }
    neighbour.out->messages.Publish();
  }
  if (neighbours_.empty()) return;
  for (const LoanReturn& loan : pool_.returns()) {
    LoanReturn copy = loan;
    // As many places as there are loans.
    (void)neighbours_[loan.block->home].in->returns.TryPush(std::move(copy));
  }
  if (!pool_.returns().empty()) {
    for (Neighbour& neighbour : neighbours_) {
      if (neighbour.in != nullptr) neighbour.in->returns.Publish();
    }
    pool_.ClearReturns();
  }
}

std::uint64_t ShardCore::loans_outstanding() const {
  std::uint64_t loans = 0;
  for (const Neighbour& neighbour : neighbours_) loans += neighbour.loans;
  return loans;
}

// --- from other shards ---

void ShardCore::ReadLinks() {
  mail_left_ = false;
  for (std::size_t shard = 0; shard < neighbours_.size(); ++shard) {
    Neighbour& neighbour = neighbours_[shard];
    if (neighbour.in == nullptr) continue;
    neighbour.out->returns.Drain(neighbour.out->returns.capacity(), [&](LoanReturn&& loan) {
      neighbour.loans -= loan.count;
      pool_.Release(loan.block, loan.count);
    });
    neighbour.in->messages.Drain(kMailPerTurn, [&](ShardMessage&& message) {
      OnMessage(static_cast<std::uint16_t>(shard), message);
    });
    mail_left_ |= neighbour.in->messages.HasMail() || !neighbour.waiting.empty();
  }
}

void ShardCore::OnMessage(std::uint16_t from, ShardMessage& message) {
  switch (message.kind) {
    case ShardMessage::Kind::kPacket:
      return OnLentPacket(neighbours_[from], message);
    case ShardMessage::Kind::kKeyUp:
      return OnKeyUp(from, message);
    case ShardMessage::Kind::kKeyDown:
      return OnKeyDown(from, message);
    case ShardMessage::Kind::kCloseKey: {
      const std::uint32_t peer = peers_.Find(message.key.data());
      // Passing it on could go round in circles while the key moves.
      if (peer == kNone || peers_.at(peer).shard != index_) return;
      return CloseKey(peers_.at(peer).key, static_cast<CloseReason>(message.flags));
    }
    case ShardMessage::Kind::kReplay:
      return OnReplay(from, message);
    case ShardMessage::Kind::kReplayStart:
      if (Connection* c = Get(message.watcher, message.generation)) {
        c->replayed_shards |= std::uint64_t{1} << from;
      }
      return;
    case ShardMessage::Kind::kReplayKey:
      if (Connection* c = Get(message.watcher, message.generation)) {
        const PresentFrame frame = FrameOf(message);
        SendControl(*c, frame.data(), frame.size());
      }
      return;
    case ShardMessage::Kind::kLinkUp:
    case ShardMessage::Kind::kLinkDown:
    case ShardMessage::Kind::kForwarderUp:
    case ShardMessage::Kind::kForwarderDown:
    case ShardMessage::Kind::kForward:
      return OnMeshMessage(from, message);
    case ShardMessage::Kind::kNone:
      return;
  }
}

void ShardCore::OnKeyUp(std::uint16_t from, const ShardMessage& message) {
  const core::NodePublic key{message.key};
  if (peers_.SetRemote(key, from, message.number) == kNone) return;
  if (watchers_.empty()) return;
  const PresentFrame frame = FrameOf(message);
  TellWatchers(from, frame.data(), frame.size());
}

void ShardCore::OnKeyDown(std::uint16_t from, const ShardMessage& message) {
  const std::uint32_t peer = peers_.Find(message.key.data());
  if (peer == kNone || !peers_.IsGone(peers_.at(peer), from, message.number)) return;
  const core::NodePublic key = peers_.at(peer).key;
  ForgetClient(peer);
  TellWatchersGone(from, key);
}

// --- watchers ---

void ShardCore::OnWatch(Connection& c) {
  // A relay that lists itself among its mesh peers.
  if (c.key == options_.server_key || c.watcher) return;
  c.watcher = true;
  watchers_.push_back(c.slot);
  UpdateGauges();
  c.replayed_shards = std::uint64_t{1} << index_;
  std::array<std::uint8_t, 64 * kPeerPresentFrameBytes> frames;
  std::size_t size = 0;
  peers_.ForEach([&](std::uint32_t, const Peer& peer) {
    if (peer.shard != index_ || peer.active == kNone) return;
    const PresentFrame frame = FrameOf(at(peer.active));
    std::copy(frame.begin(), frame.end(), frames.begin() + static_cast<std::ptrdiff_t>(size));
    size += frame.size();
    if (size < frames.size()) return;
    SendControl(c, frames.data(), size);
    size = 0;
  });
  if (size != 0) SendControl(c, frames.data(), size);
  ShardMessage ask;
  ask.kind = ShardMessage::Kind::kReplay;
  ask.watcher = c.slot;
  ask.generation = c.generation;
  Announce(ask);
}

void ShardCore::OnReplay(std::uint16_t from, const ShardMessage& question) {
  ShardMessage answer;
  answer.kind = ShardMessage::Kind::kReplayStart;
  answer.watcher = question.watcher;
  answer.generation = question.generation;
  SendTo(neighbours_[from], answer);
  answer.kind = ShardMessage::Kind::kReplayKey;
  peers_.ForEach([&](std::uint32_t, const Peer& peer) {
    if (peer.shard != index_ || peer.active == kNone) return;
    FillPresence(answer, at(peer.active));
    SendTo(neighbours_[from], answer);
  });
}

// A watcher hears about the clients of a shard once it has been told all of them.
void ShardCore::TellWatchers(std::uint16_t about_shard, const std::uint8_t* frame,
                             std::size_t size) {
  for (const std::uint32_t slot : watchers_) {
    Connection& watcher = at(slot);
    if ((watcher.replayed_shards >> about_shard & 1) != 0) SendControl(watcher, frame, size);
  }
}

void ShardCore::TellWatchersGone(std::uint16_t about_shard, const core::NodePublic& key) {
  if (watchers_.empty()) return;
  std::uint8_t frame[kPeerGoneFrameBytes];
  const std::size_t size = WritePeerGone(frame, key, PeerGoneReason::kDisconnected);
  TellWatchers(about_shard, frame, size);
}

// --- those who received from somebody who left ---

void ShardCore::TellReceivers(std::uint32_t peer) {
  const core::NodePublic key = peers_.at(peer).key;
  sources_.TakeSource(
      peers_.at(peer).first_receiver,
      [this](std::uint32_t slot) -> std::uint32_t& { return at(slot).first_source; },
      [&](std::uint32_t slot) {
        Connection& receiver = at(slot);
        if (receiver.last_source == peer) receiver.last_source = kNone;
        SendPeerGone(receiver, key, PeerGoneReason::kDisconnected);
      });
}

void ShardCore::SendPeerGone(Connection& c, const core::NodePublic& key, PeerGoneReason reason) {
  std::uint8_t frame[kPeerGoneFrameBytes];
  const std::size_t size = WritePeerGone(frame, key, reason);
  (reason == PeerGoneReason::kNotHere ? metrics_.peer_gone_not_here
                                      : metrics_.peer_gone_disconnected)
      .Add();
  SendControl(c, frame, size);
}

void ShardCore::SendControl(Connection& c, const std::uint8_t* frames, std::size_t size) {
  if (c.state != ConnectionState::kOpen) return;
  Block* cell = pool_.AllocateCell(size, BlockPool::Need::kEssential);
  if (cell == nullptr) return CloseLater(c, CloseReason::kNoMemory);
  std::memcpy(cell->data, frames, size);
  const QueueLimits& limits = c.watcher ? watcher_limits_ : options_.limits.queue;
  const Packet packet = MakePacket(cell->data, size, cell, false, now_ms_);
  if (c.queue.Push(Lane::kControl, packet, limits, pool_, metrics_.drops) !=
      SendQueue::PushResult::kQueued) {
    pool_.Release(cell);
    return CloseLater(c, CloseReason::kControlOverflow);
  }
  MarkDirty(c);
}

}  // namespace ringscale::relay

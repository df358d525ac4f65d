#include "relay/route/peer_table.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace ringscale::relay {

PeerTable::PeerTable(std::uint16_t shard, const core::HashSecret& secret)
    : shard_(shard), secret_(secret) {}

std::uint32_t PeerTable::Find(const std::uint8_t* key) const {
  return index_.Find(Hash(key), [this, key](std::uint32_t index) {
    return std::memcmp(peers_[index].key.raw.data(), key, 32) == 0;
  });
}

bool PeerTable::Holds(std::uint32_t index, const std::uint8_t* key) const {
  return index < peers_.size() && peers_[index].shard != Peer::kNowhere &&
         std::memcmp(peers_[index].key.raw.data(), key, 32) == 0;
}

std::uint32_t PeerTable::Insert(const core::NodePublic& key) {
  std::uint32_t index;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(peers_.size());
    peers_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  peers_[index].key = key;
  index_.Insert(Hash(key.raw.data()), index);
  return index;
}

void PeerTable::Erase(std::uint32_t index) {
  Peer& peer = peers_[index];
  assert(peer.first_receiver == Peer::kNone && peer.forwarders == Peer::kNone);
  DropDuplicates(peer);
  index_.Erase(Hash(peer.key.raw.data()), index);
  peer = Peer{};
  free_.push_back(index);
}

PeerTable::Joined PeerTable::Join(const core::NodePublic& key, std::uint32_t connection,
                                  std::uint32_t epoch) {
  Joined joined;
  joined.peer = Find(key);
  if (joined.peer == kNone) joined.peer = Insert(key);
  Peer& peer = peers_[joined.peer];
  const bool here = peer.shard == shard_;
  peer.shard = shard_;
  peer.epoch = epoch;
  if (here && peer.duplicates != kNone) {
    DuplicateSet& set = *sets_[peer.duplicates];
    set.Add(connection);
    ++duplicate_connections_;
    joined.members = static_cast<std::uint32_t>(set.members().size());
  } else if (here && peer.active != kNone) {
    std::uint32_t place = 0;
    while (place < sets_.size() && sets_[place] != nullptr) ++place;
    if (place == sets_.size()) sets_.emplace_back();
    sets_[place] = std::make_unique<DuplicateSet>(peer.active, connection);
    peer.duplicates = place;
    ++duplicate_keys_;
    duplicate_connections_ += 2;
    joined.members = 2;
  } else {
    joined.first = true;
  }
  peer.active = connection;
  return joined;
}

std::uint32_t PeerTable::Leave(std::uint32_t index, std::uint32_t connection) {
  Peer& peer = peers_[index];
  if (peer.duplicates == kNone) {
    peer.active = kNone;
    return 0;
  }
  DuplicateSet& set = *sets_[peer.duplicates];
  set.Remove(connection);
  --duplicate_connections_;
  const auto left = static_cast<std::uint32_t>(set.members().size());
  peer.active = left == 1 ? set.members().front() : set.active();
  if (left == 1) DropDuplicates(peer);
  return left;
}

void PeerTable::DropDuplicates(Peer& peer) {
  if (peer.duplicates == kNone) return;
  duplicate_connections_ -= sets_[peer.duplicates]->members().size();
  --duplicate_keys_;
  sets_[peer.duplicates].reset();
  peer.duplicates = kNone;
}

void PeerTable::Spoke(std::uint32_t index, std::uint32_t connection) {
  Peer& peer = peers_[index];
  if (peer.duplicates == kNone) return;
  sets_[peer.duplicates]->Spoke(connection);
  peer.active = connection;
}

std::vector<std::uint32_t> PeerTable::ConnectionsOf(std::uint32_t index) const {
  const Peer& peer = peers_[index];
  if (peer.shard != shard_) return {};
  if (peer.duplicates != kNone) return sets_[peer.duplicates]->members();
  if (peer.active == kNone) return {};
  return {peer.active};
}

std::uint32_t PeerTable::SetRemote(const core::NodePublic& key, std::uint16_t shard,
                                   std::uint32_t epoch) {
  std::uint32_t index = Find(key);
  if (index != kNone) {
    // Epochs wrap; what counts is which is ahead.
    const Peer& known = peers_[index];
    const bool placed = known.shard != Peer::kMesh;
    if (placed && static_cast<std::int32_t>(epoch - known.epoch) < 0) return kNone;
    if (known.shard == shard_ && known.active != kNone) return kNone;
  } else {
    index = Insert(key);
  }
  Peer& peer = peers_[index];
  peer.shard = shard;
  peer.epoch = epoch;
  peer.active = kNone;
  return index;
}

// --- other relays of the region ---

PeerTable::Forwarded PeerTable::AddForwarder(const core::NodePublic& key, std::uint8_t link) {
  Forwarded result;
  result.peer = Find(key);
  if (result.peer == kNone) {
    result.peer = Insert(key);
    peers_[result.peer].shard = Peer::kMesh;
  }
  Peer& peer = peers_[result.peer];
  if (peer.forwarders == kNone) {
    if (free_forwarder_sets_.empty()) {
      peer.forwarders = static_cast<std::uint32_t>(forwarder_sets_.size());
      forwarder_sets_.emplace_back();
    } else {
      peer.forwarders = free_forwarder_sets_.back();
      free_forwarder_sets_.pop_back();
    }
  }
  ForwarderSet& set = forwarder_sets_[peer.forwarders];
  if (std::ranges::find(set, link) != set.end()) return result;
  set.push_back(link);
  result.now = set.size() == 1 ? Forwarding::kOnly : Forwarding::kSeveral;
  return result;
}

PeerTable::Forwarding PeerTable::RemoveForwarder(std::uint32_t index, std::uint8_t link) {
  Peer& peer = peers_[index];
  if (peer.forwarders == kNone) return Forwarding::kUnchanged;
  ForwarderSet& set = forwarder_sets_[peer.forwarders];
  if (std::erase(set, link) == 0) return Forwarding::kUnchanged;
  if (!set.empty()) return set.size() == 1 ? Forwarding::kOnly : Forwarding::kSeveral;
  free_forwarder_sets_.push_back(std::exchange(peer.forwarders, kNone));
  return Forwarding::kNone;
}

void PeerTable::LeaveToMesh(std::uint32_t index) {
  DropDuplicates(peers_[index]);
  peers_[index].shard = Peer::kMesh;
  peers_[index].active = kNone;
}

}  // namespace ringscale::relay

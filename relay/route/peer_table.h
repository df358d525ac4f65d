// Every key that is connected to this relay process, as one shard sees it: the
// keys whose connections live on this shard, and (the directory) which other
// shard has the rest. Each shard has its own copy, changed only by its own
// thread, so that a look-up takes no lock.
//
// Keys are chosen by strangers: the hash is keyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/keyed_hash.h"
#include "core/crypto/keys.h"
#include "relay/route/duplicate_set.h"
#include "relay/route/key_index.h"

namespace ringscale::relay {

struct Peer {
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::uint16_t kNowhere = 0xffff;

  core::NodePublic key;
  std::uint16_t shard = kNowhere;  // who has its connections; kNowhere: free place
  // Grows with every placement of a key on a shard: what an older placement says
  // about the key is ignored.
  std::uint32_t epoch = 0;
  // On its own shard: the connection that gets the packets, kNone when there are
  // duplicates and none is active.
  std::uint32_t active = kNone;
  std::uint32_t duplicates = kNone;      // index of a DuplicateSet
  std::uint32_t first_receiver = kNone;  // head of a list in SourceTracker
};
static_assert(sizeof(Peer) <= 56);

class PeerTable {
 public:
  static constexpr std::uint32_t kNone = Peer::kNone;

  PeerTable(std::uint16_t shard, const core::HashSecret& secret);

  // Index of the peer, valid until it is erased, or kNone.
  [[nodiscard]] std::uint32_t Find(const std::uint8_t* key) const;
  [[nodiscard]] std::uint32_t Find(const core::NodePublic& key) const {
    return Find(key.raw.data());
  }
  [[nodiscard]] Peer& at(std::uint32_t index) { return peers_[index]; }
  [[nodiscard]] const Peer& at(std::uint32_t index) const { return peers_[index]; }
  // True when the place still holds this key: what a cache asks first.
  [[nodiscard]] bool Holds(std::uint32_t index, const std::uint8_t* key) const;

  // --- connections of this shard ---
  struct Joined {
    std::uint32_t peer = kNone;
    bool first = false;         // the key had no connection here
    std::uint32_t members = 1;  // connections of the key now
  };
  Joined Join(const core::NodePublic& key, std::uint32_t connection, std::uint32_t epoch);
  // Returns how many connections of the key are left. At zero the peer stays in
  // the table until Erase, with no active connection.
  std::uint32_t Leave(std::uint32_t peer, std::uint32_t connection);
  // A frame came from `connection` of a peer with duplicates.
  void Spoke(std::uint32_t peer, std::uint32_t connection);
  // The connections of a peer of this shard.
  [[nodiscard]] std::vector<std::uint32_t> ConnectionsOf(std::uint32_t peer) const;

  // --- what other shards said ---
  // The key is on `shard`. Returns its index; kNone when older news than known.
  std::uint32_t SetRemote(const core::NodePublic& key, std::uint16_t shard, std::uint32_t epoch);
  // Whether an announcement "gone from `shard`" of this epoch is still true.
  [[nodiscard]] bool IsGone(const Peer& peer, std::uint16_t shard, std::uint32_t epoch) const {
    return peer.shard == shard && peer.epoch == epoch;
  }

  // The caller has emptied first_receiver.
  void Erase(std::uint32_t peer);

  // Calls `fn(index, peer)` for every peer, in order of index.
  template <class Fn>
  void ForEach(Fn&& fn) const {
    for (std::uint32_t i = 0; i < peers_.size(); ++i) {
      if (peers_[i].shard != Peer::kNowhere) fn(i, peers_[i]);
    }
  }

  [[nodiscard]] std::size_t size() const { return index_.size(); }
  [[nodiscard]] std::size_t duplicate_keys() const { return duplicate_keys_; }
  [[nodiscard]] std::size_t duplicate_connections() const { return duplicate_connections_; }

 private:
  [[nodiscard]] std::uint64_t Hash(const std::uint8_t* key) const {
    return core::KeyedHash(secret_, core::Bytes(key, 32));
  }
  std::uint32_t Insert(const core::NodePublic& key);
  void DropDuplicates(Peer& peer);

  std::uint16_t shard_;
  core::HashSecret secret_;
  KeyIndex index_;
  std::vector<Peer> peers_;
  std::vector<std::uint32_t> free_;
  std::vector<std::unique_ptr<DuplicateSet>> sets_;
  std::size_t duplicate_keys_ = 0;
  std::size_t duplicate_connections_ = 0;
};

}  // namespace ringscale::relay

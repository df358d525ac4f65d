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
  static constexpr std::uint16_t kMesh = 0xfffe;

  core::NodePublic key;
  // Who has its connections. kMesh: nobody here, another relay of the region has;
  // kNowhere: free place.
  std::uint16_t shard = kNowhere;
  // Grows with every placement of a key on a shard: what an older placement says
  // about the key is ignored.
  std::uint32_t epoch = 0;
  // On its own shard: the connection that gets the packets, kNone when there are
  // duplicates and none is active.
  std::uint32_t active = kNone;
  std::uint32_t duplicates = kNone;      // index of a DuplicateSet
  std::uint32_t first_receiver = kNone;  // head of a list in SourceTracker
  std::uint32_t forwarders = kNone;      // index of a ForwarderSet
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

  // --- other relays of the region ---
  // A client of this process always wins over them.
  enum class Forwarding : std::uint8_t { kUnchanged, kOnly, kSeveral, kNone };
  struct Forwarded {
    std::uint32_t peer = kNone;
    Forwarding now = Forwarding::kUnchanged;
  };
  // The key can be reached by the link; of several the first one stays preferred.
  Forwarded AddForwarder(const core::NodePublic& key, std::uint8_t link);
  // No longer. kNone: no link is left (a peer with shard kMesh is to be erased).
  Forwarding RemoveForwarder(std::uint32_t peer, std::uint8_t link);
  // The preferred link of a peer that has forwarders.
  [[nodiscard]] std::uint8_t ForwarderOf(const Peer& peer) const {
    return forwarder_sets_[peer.forwarders].front();
  }
  // Its last connection here has closed, but it has forwarders.
  void LeaveToMesh(std::uint32_t peer);

  // The caller has emptied first_receiver; the peer has no forwarders.
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
  // Links, in the order in which they announced the key.
  using ForwarderSet = std::vector<std::uint8_t>;
  std::vector<ForwarderSet> forwarder_sets_;
  std::vector<std::uint32_t> free_forwarder_sets_;
  std::size_t duplicate_keys_ = 0;
  std::size_t duplicate_connections_ = 0;
};

}  // namespace ringscale::relay

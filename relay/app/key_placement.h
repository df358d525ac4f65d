// Which shard a client goes to. All connections of one key live on one shard (the
// duplicate policy needs them together); a new key goes to the shard with the
// fewest connections, give or take a group. Thread-safe; used when connections come
// and go, never per packet.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/base/keyed_hash.h"
#include "core/crypto/keys.h"

namespace ringscale::relay {

class KeyPlacement {
 public:
  static constexpr std::uint16_t kNowhere = 0xffff;
  struct Place {
    std::uint16_t shard = kNowhere;
    // New with every placement of a key: tells old news about it from new.
    std::uint32_t epoch = 0;
  };

  // The first `group` keys share a shard, the next ones another: a packet that
  // changes shards wakes both, which few clients should not pay for.
  explicit KeyPlacement(std::uint16_t shards, std::uint16_t group = 1);

  // For a new connection of the key; Release must follow when it is gone.
  Place Acquire(const core::NodePublic& key);
  void Release(const core::NodePublic& key);
  [[nodiscard]] Place Find(const core::NodePublic& key) const;

 private:
  struct Entry {
    Place place;
    std::uint32_t connections = 0;
  };
  struct alignas(64) Stripe {
    mutable std::mutex mutex;
    std::unordered_map<core::NodePublic, Entry, core::KeyedHasher> keys;
  };
  static constexpr std::size_t kStripes = 32;
  static std::size_t StripeOf(const core::NodePublic& key) {
    return (core::KeyedHasher()(key) >> 16) % kStripes;
  }
  [[nodiscard]] std::uint16_t LeastLoaded() const;

  std::array<Stripe, kStripes> stripes_;
  const std::int64_t group_;
  std::vector<std::atomic<std::int64_t>> load_;
  std::atomic<std::uint32_t> next_epoch_{1};
};

}  // namespace ringscale::relay

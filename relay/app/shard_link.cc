#include "relay/app/shard_link.h"

#include <algorithm>
#include <bit>

namespace ringscale::relay {
namespace {

// What one shard may have under way to all others together; a link gets its part.
constexpr std::size_t kMessagesPerShard = 16384;
constexpr std::size_t kMinMessagesPerLink = 512;

}  // namespace

ShardLinks::ShardLinks(std::uint16_t shards, std::size_t capacity)
    : shards_(shards), links_(static_cast<std::size_t>(shards) * shards) {
  if (shards < 2) return;
  if (capacity == 0) {
    capacity = std::max(kMinMessagesPerLink, std::bit_floor(kMessagesPerShard / (shards - 1u)));
  }
  for (std::uint16_t from = 0; from < shards; ++from) {
    for (std::uint16_t to = 0; to < shards; ++to) {
      if (from == to) continue;
      links_[static_cast<std::size_t>(from) * shards + to] = std::make_unique<ShardLink>(capacity);
    }
  }
}

void ShardLinks::SetWaker(std::uint16_t shard, const core::io::Waker& waker) {
  for (std::uint16_t from = 0; from < shards_; ++from) {
    if (ShardLink* link = Get(from, shard)) link->messages.SetReader(waker);
  }
}

}  // namespace ringscale::relay

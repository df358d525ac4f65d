#include "relay/app/key_placement.h"

namespace ringscale::relay {

KeyPlacement::KeyPlacement(std::uint16_t shards, std::uint16_t group)
    : group_(group), load_(shards) {}

std::uint16_t KeyPlacement::LeastLoaded() const {
  const auto groups = [this](std::size_t shard) {
    return load_[shard].load(std::memory_order_relaxed) / group_;
  };
  std::size_t best = 0;
  for (std::size_t i = 1; i < load_.size(); ++i) {
    if (groups(i) < groups(best)) best = i;
  }
  return static_cast<std::uint16_t>(best);
}

KeyPlacement::Place KeyPlacement::Acquire(const core::NodePublic& key) {
  Stripe& stripe = stripes_[StripeOf(key)];
  const std::lock_guard lock(stripe.mutex);
  Entry& entry = stripe.keys[key];
  if (entry.connections == 0) {
    entry.place = {LeastLoaded(), next_epoch_.fetch_add(1, std::memory_order_relaxed)};
  }
  ++entry.connections;
  load_[entry.place.shard].fetch_add(1, std::memory_order_relaxed);
  return entry.place;
}

void KeyPlacement::Release(const core::NodePublic& key) {
  Stripe& stripe = stripes_[StripeOf(key)];
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.keys.find(key);
  if (found == stripe.keys.end()) return;
  load_[found->second.place.shard].fetch_sub(1, std::memory_order_relaxed);
  if (--found->second.connections == 0) stripe.keys.erase(found);
}

KeyPlacement::Place KeyPlacement::Find(const core::NodePublic& key) const {
  const Stripe& stripe = stripes_[StripeOf(key)];
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.keys.find(key);
  return found == stripe.keys.end() ? Place{} : found->second.place;
}

}  // namespace ringscale::relay

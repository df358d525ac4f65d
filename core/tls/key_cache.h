// Which slot of a fixed table belongs to a key: four-way sets, the least recently
// used slot of a set gives way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringscale::core::tls {

template <std::size_t kSlots>
class KeyCache {
 public:
  struct Found {
    std::size_t slot;
    bool fresh;  // the slot held another key: fill it
  };

  // Keys are named by DirectionKeys::key_id; 0 never hits.
  Found Find(std::uint64_t key_id) {
    const std::size_t first = static_cast<std::size_t>(key_id % kSets) * kWays;
    ++clock_;
    std::size_t oldest = first;
    for (std::size_t slot = first; slot < first + kWays; ++slot) {
      if (ids_[slot] == key_id && key_id != 0) {
        used_[slot] = clock_;
        return {slot, false};
      }
      if (used_[slot] < used_[oldest]) oldest = slot;
    }
    ids_[oldest] = key_id;
    used_[oldest] = clock_;
    return {oldest, true};
  }

  void Forget(std::size_t slot) { ids_[slot] = 0; }

 private:
  static constexpr std::size_t kWays = 4;
  static constexpr std::size_t kSets = kSlots / kWays;
  static_assert(kSets * kWays == kSlots);

  std::array<std::uint64_t, kSlots> ids_{};
  std::array<std::uint64_t, kSlots> used_{};
  std::uint64_t clock_ = 0;
};

}  // namespace ringscale::core::tls

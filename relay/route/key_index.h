// Open addressing from a hash to a 32-bit value; the owner keeps the keys and
// compares them. 8 bytes per place. Linear probing, deletion by shifting back, so
// that churn leaves no trace. Grows at Insert only, never at Find.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ringscale::relay {

class KeyIndex {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;

  explicit KeyIndex(std::size_t places = 64) : places_(places) {}  // a power of two

  // The value whose key is meant, or kNone. `same(value)` compares keys.
  template <class Same>
  [[nodiscard]] std::uint32_t Find(std::uint64_t hash, Same&& same) const {
    const auto tag = static_cast<std::uint32_t>(hash);
    for (std::size_t at = Home(tag);; at = Next(at)) {
      const Place& place = places_[at];
      if (place.value == kNone) return kNone;
      if (place.tag == tag && same(place.value)) return place.value;
    }
  }

  // The key must not be there yet.
  void Insert(std::uint64_t hash, std::uint32_t value) {
    if ((size_ + 1) * 3 > places_.size() * 2) Grow();
    Put({static_cast<std::uint32_t>(hash), value});
    ++size_;
  }

  // Removes exactly this value, which must be there.
  void Erase(std::uint64_t hash, std::uint32_t value) {
    std::size_t at = Home(static_cast<std::uint32_t>(hash));
    while (places_[at].value != value) at = Next(at);
    --size_;
    // Pull back what probed past the hole.
    for (std::size_t from = Next(at);; from = Next(from)) {
      const Place& place = places_[from];
      if (place.value == kNone) break;
      const std::size_t home = Home(place.tag);
      // May the entry move to `at`, or does its home lie between hole and entry?
      const bool stays = at <= from ? (at < home && home <= from) : (at < home || home <= from);
      if (stays) continue;
      places_[at] = place;
      at = from;
    }
    places_[at] = {};
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return places_.size(); }

 private:
  struct Place {
    std::uint32_t tag = 0;
    std::uint32_t value = kNone;
  };

  [[nodiscard]] std::size_t Home(std::uint32_t tag) const { return tag & (places_.size() - 1); }
  [[nodiscard]] std::size_t Next(std::size_t at) const { return (at + 1) & (places_.size() - 1); }
  void Put(Place place) {
    std::size_t at = Home(place.tag);
    while (places_[at].value != kNone) at = Next(at);
    places_[at] = place;
  }
  void Grow() {
    std::vector<Place> old(places_.size() * 2);
    std::swap(old, places_);
    for (const Place& place : old) {
      if (place.value != kNone) Put(place);
    }
  }

  std::vector<Place> places_;
  std::size_t size_ = 0;
};

}  // namespace ringscale::relay

// A set of node classes: a bitset that grows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringscale::control::policy {

// Nodes that every rule treats alike.
using ClassId = std::uint32_t;

class ClassSet {
 public:
  void Set(ClassId id, bool member = true) {
    const std::size_t word = id / 64;
    if (word >= words_.size()) {
      if (!member) return;
      words_.resize(word + 1);
    }
    const std::uint64_t bit = std::uint64_t{1} << (id % 64);
    words_[word] = member ? words_[word] | bit : words_[word] & ~bit;
    while (!words_.empty() && words_.back() == 0) words_.pop_back();
  }
  [[nodiscard]] bool Has(ClassId id) const {
    return id / 64 < words_.size() && (words_[id / 64] >> (id % 64) & 1) != 0;
  }
  ClassSet& operator|=(const ClassSet& other) {
    if (words_.size() < other.words_.size()) words_.resize(other.words_.size());
    for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
    return *this;
  }
  bool operator==(const ClassSet&) const = default;
  [[nodiscard]] bool empty() const { return words_.empty(); }
  // Calls visit(ClassId), ascending.
  template <class Visit>
  void Each(Visit&& visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(static_cast<ClassId>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
      }
    }
  }
  [[nodiscard]] std::size_t bytes() const { return words_.capacity() * sizeof(std::uint64_t); }

 private:
  std::vector<std::uint64_t> words_;  // never ends in a zero word
};

}  // namespace ringscale::control::policy

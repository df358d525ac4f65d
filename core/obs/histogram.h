// How often values of which size occurred. One writer thread, any readers, as Counter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/obs/metrics.h"

namespace ringscale::core {

// Values up to each bound, the bounds ascending, and beyond the last one.
template <std::size_t kBounds>
class Histogram {
 public:
  using Bounds = std::array<std::uint32_t, kBounds>;
  explicit Histogram(const Bounds& bounds) : bounds_(bounds) {}

  void Observe(std::uint64_t value) {
    std::size_t i = 0;
    while (i < kBounds && value > bounds_[i]) ++i;
    counts_[i].Add();
    sum_.Add(value);
  }
  // Adds what has been observed to the values of another reader.
  void AddTo(HistogramValues& values) const {
    values.counts.resize(kBounds + 1);
    for (std::size_t i = 0; i <= kBounds; ++i) values.counts[i] += counts_[i].Value();
    values.sum += sum_.Value();
  }

 private:
  const Bounds& bounds_;  // static
  std::array<Counter, kBounds + 1> counts_;
  Counter sum_;
};

}  // namespace ringscale::core

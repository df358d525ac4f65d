// Latencies in little memory: buckets whose width grows with the value, so that
// every value is known to within 1/64 of itself. One thread; merge afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/base/time.h"

namespace ringscale::bench {

class Histogram {
 public:
  // Negative durations count as zero, longer ones than kLongest as kLongest.
  void Add(core::Duration value, std::uint64_t count = 1);
  void Merge(const Histogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] core::Duration max() const { return max_; }
  // Nearest rank; the upper end of the bucket, never more than max(). Zero when
  // empty.
  [[nodiscard]] core::Duration Quantile(double fraction) const;

  // The distribution for plotting: at most one step a bucket, empty ones left out.
  struct Step {
    core::Duration value;
    double fraction = 0;  // of values that are not greater
  };
  [[nodiscard]] std::vector<Step> Cumulative() const;

  static constexpr core::Duration kLongest = core::Seconds(60);

 private:
  static constexpr int kSubBits = 6;
  static constexpr std::size_t kSub = std::size_t{1} << kSubBits;
  static constexpr std::size_t kBuckets = kSub * 32;
  static std::size_t BucketOf(std::uint64_t ns);
  static std::uint64_t UpperEnd(std::size_t bucket);

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  core::Duration max_;
};

}  // namespace ringscale::bench

#include "bench/lib/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ringscale::bench {

// The first kSub buckets are one nanosecond wide; then each further power of two
// has kSub buckets.
std::size_t Histogram::BucketOf(std::uint64_t ns) {
  if (ns < kSub) return static_cast<std::size_t>(ns);
  const int shift = static_cast<int>(std::bit_width(ns)) - 1 - kSubBits;
  const std::size_t bucket =
      (static_cast<std::size_t>(shift) + 1) * kSub + static_cast<std::size_t>((ns >> shift) - kSub);
  return std::min(bucket, kBuckets - 1);
}

std::uint64_t Histogram::UpperEnd(std::size_t bucket) {
  if (bucket < kSub) return bucket;
  const std::size_t shift = bucket / kSub - 1;
  return ((bucket % kSub + kSub + 1) << shift) - 1;
}

void Histogram::Add(core::Duration value, std::uint64_t count) {
  value = std::clamp(value, core::Duration{}, kLongest);
  buckets_[BucketOf(static_cast<std::uint64_t>(value.ns))] += count;
  count_ += count;
  max_ = std::max(max_, value);
}

void Histogram::Merge(const Histogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

core::Duration Histogram::Quantile(double fraction) const {
  if (count_ == 0) return {};
  const double rank = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
  const auto wanted = std::max<std::uint64_t>(static_cast<std::uint64_t>(rank), 1);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(max_, core::Nanos(static_cast<std::int64_t>(UpperEnd(i))));
  }
  return max_;
}

std::vector<Histogram::Step> Histogram::Cumulative() const {
  std::vector<Step> steps;
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (buckets_[i] == 0) continue;
    seen += buckets_[i];
    steps.push_back({.value = std::min(max_, core::Nanos(static_cast<std::int64_t>(UpperEnd(i)))),
                     .fraction = static_cast<double>(seen) / static_cast<double>(count_)});
  }
  return steps;
}

}  // namespace ringscale::bench

// A token bucket per source, for requests that strangers may send. Thread-safe,
// bounded: when the table is full the sources that have their tokens back go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <mutex>

#include "core/base/time.h"
#include "core/net/address.h"
#include "tools/serverd/front/source_limits.h"

namespace ringscale::serverd {

class RequestRate {
 public:
  RequestRate(double per_second, double burst) : per_second_(per_second), burst_(burst) {}

  bool Take(const core::IpAddress& source, core::Instant now) {
    const std::lock_guard lock(mutex_);
    if (buckets_.size() >= kSources) Forget(now);
    if (buckets_.size() >= kSources) return false;
    Bucket& bucket = buckets_.try_emplace(SourceOf(source), Bucket{burst_, now}).first->second;
    bucket.tokens = std::min(burst_, bucket.tokens + per_second_ * (now - bucket.since).seconds());
    bucket.since = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

 private:
  static constexpr std::size_t kSources = 16384;
  struct Bucket {
    double tokens = 0;
    core::Instant since;
  };

  void Forget(core::Instant now) {
    std::erase_if(buckets_, [&](const auto& entry) {
      return entry.second.tokens + per_second_ * (now - entry.second.since).seconds() >= burst_;
    });
  }

  const double per_second_;
  const double burst_;
  std::mutex mutex_;
  std::map<core::IpPrefix, Bucket> buckets_;
};

}  // namespace ringscale::serverd

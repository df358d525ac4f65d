// The figures of all shards of a relay as one.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/obs/metrics.h"
#include "relay/app/shard_metrics.h"

namespace ringscale::relayd {

// Any thread.
class RelayTotals {
 public:
  using Shards = std::vector<std::shared_ptr<const relay::ShardMetrics>>;
  explicit RelayTotals(Shards shards) : shards_(std::move(shards)) {}

  [[nodiscard]] std::uint64_t Sum(core::Counter relay::ShardMetrics::* counter) const;
  [[nodiscard]] std::int64_t Sum(core::Gauge relay::ShardMetrics::* gauge) const;
  [[nodiscard]] std::uint64_t Sum(
      relay::ShardMetrics::PerKind relay::ShardMetrics::* counters) const;
  [[nodiscard]] std::uint64_t Sum(relay::ShardMetrics::PerKind relay::ShardMetrics::* counters,
                                  relay::PacketKind kind) const;
  [[nodiscard]] std::uint64_t Closed(relay::CloseReason reason) const;
  [[nodiscard]] std::uint64_t Dropped(relay::DropReason reason, relay::PacketKind kind) const;
  [[nodiscard]] std::uint64_t DroppedBytes(relay::DropReason reason, relay::PacketKind kind) const;
  [[nodiscard]] std::uint64_t Rtt(relay::RttClass rtt) const;
  [[nodiscard]] core::HistogramValues PacketsPerSend() const;
  // What packets wait on the average of all shards, in milliseconds.
  [[nodiscard]] double QueueMillis() const;
  // Keys that are connected here.
  [[nodiscard]] std::int64_t LocalKeys() const;

 private:
  const Shards shards_;
};

}  // namespace ringscale::relayd

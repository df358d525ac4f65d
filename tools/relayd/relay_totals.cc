#include "tools/relayd/relay_totals.h"

namespace ringscale::relayd {

using relay::CloseReason;
using relay::DropReason;
using relay::PacketKind;
using relay::ShardMetrics;

std::uint64_t RelayTotals::Sum(core::Counter ShardMetrics::* counter) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += ((*shard).*counter).Value();
  return sum;
}

std::int64_t RelayTotals::Sum(core::Gauge ShardMetrics::* gauge) const {
  std::int64_t sum = 0;
  for (const auto& shard : shards_) sum += ((*shard).*gauge).Value();
  return sum;
}

std::uint64_t RelayTotals::Sum(ShardMetrics::PerKind ShardMetrics::* counters,
                               PacketKind kind) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) {
    sum += ((*shard).*counters)[static_cast<std::size_t>(kind)].Value();
  }
  return sum;
}

std::uint64_t RelayTotals::Sum(ShardMetrics::PerKind ShardMetrics::* counters) const {
  return Sum(counters, PacketKind::kDisco) + Sum(counters, PacketKind::kOther);
}

std::uint64_t RelayTotals::Closed(CloseReason reason) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->closed[static_cast<std::size_t>(reason)].Value();
  return sum;
}

std::uint64_t RelayTotals::Dropped(DropReason reason, PacketKind kind) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->drops.Value(reason, kind);
  return sum;
}

std::uint64_t RelayTotals::DroppedBytes(DropReason reason, PacketKind kind) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->drops.Bytes(reason, kind);
  return sum;
}

std::uint64_t RelayTotals::Rtt(relay::RttClass rtt) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->rtt[static_cast<std::size_t>(rtt)].Value();
  return sum;
}

core::HistogramValues RelayTotals::PacketsPerSend() const {
  core::HistogramValues values;
  for (const auto& shard : shards_) shard->packets_per_send.AddTo(values);
  return values;
}

double RelayTotals::QueueMillis() const {
  if (shards_.empty()) return 0;
  return static_cast<double>(Sum(&ShardMetrics::queue_age_us)) / 1000.0 /
         static_cast<double>(shards_.size());
}

std::int64_t RelayTotals::LocalKeys() const {
  return Sum(&ShardMetrics::connections) - Sum(&ShardMetrics::duplicate_connections) +
         Sum(&ShardMetrics::duplicate_keys);
}

}  // namespace ringscale::relayd

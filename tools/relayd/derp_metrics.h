// The relay's figures under the names that dashboards for derper read: JSON as its
// /debug/vars, and the same in the registry as its /debug/varz.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/obs/metrics.h"
#include "relay/app/shard_metrics.h"

namespace ringscale::relayd {

// The sum over all shards. Any thread.
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
  // Keys that are connected here.
  [[nodiscard]] std::int64_t LocalKeys() const;

 private:
  const Shards shards_;
};

class DerpMetrics {
 public:
  DerpMetrics(RelayTotals totals, std::string version);

  // Adds everything to the registry, which keeps this alive.
  static void Register(const std::shared_ptr<const DerpMetrics>& metrics,
                       core::MetricsRegistry& registry);
  // A JSON object.
  [[nodiscard]] std::string Vars() const;
  [[nodiscard]] const RelayTotals& totals() const { return totals_; }
  [[nodiscard]] core::Duration uptime() const { return core::MonotonicNow() - start_; }

 private:
  const RelayTotals totals_;
  const std::string version_;
  const core::Instant start_ = core::MonotonicNow();
  const core::WallTime start_wall_ = core::WallNow();
};

}  // namespace ringscale::relayd

// The relay's figures under the names that dashboards for derper read: JSON as its
// /debug/vars, and the same in the registry as its /debug/varz.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/obs/metrics.h"
#include "relay/app/rate_limit.h"
#include "tools/relayd/bootstrap_dns.h"
#include "tools/relayd/relay_totals.h"
#include "tools/serverd/front/front_stats.h"

namespace ringscale::relayd {

class DerpMetrics {
 public:
  struct Parts {
    RelayTotals relay;
    std::shared_ptr<const serverd::FrontTotals> fronts;
    std::shared_ptr<const BootstrapDnsStats> bootstrap_dns;
    std::string version;
    bool rates = false;  // receive rates are configured: show them
  };
  explicit DerpMetrics(Parts parts);

  // Adds everything to the registry, which keeps this alive.
  static void Register(const std::shared_ptr<const DerpMetrics>& metrics,
                       core::MetricsRegistry& registry);
  // A JSON object.
  [[nodiscard]] std::string Vars() const;
  [[nodiscard]] const RelayTotals& totals() const { return parts_.relay; }
  [[nodiscard]] core::Duration uptime() const { return core::MonotonicNow() - start_; }
  // The receive rate to show. Any thread.
  void SetRateLimit(const relay::RateLimit& limit);

 private:
  using Read = std::function<double()>;
  // Figures of one name, told apart by labels.
  struct Family {
    std::string_view set;  // object of /debug/vars that holds it; empty: the outermost
    std::string_view key;  // there; "gauge_" or "counter_" is no part of its other name
    std::string_view help;
    bool gauge = false;
    std::vector<std::pair<core::MetricLabels, Read>> samples;

    [[nodiscard]] std::string PrometheusName() const;
  };

  void One(std::string_view set, std::string_view key, std::string_view help, Read read);
  void AddRelayFigures();
  void AddLabelledFigures();
  void AddProcessFigures();

  const Parts parts_;
  const core::Instant start_ = core::MonotonicNow();
  const core::WallTime start_wall_ = core::WallNow();
  std::atomic<std::uint64_t> rate_{0};
  std::atomic<std::uint64_t> burst_{0};
  std::vector<Family> families_;  // those of a set follow each other
};

}  // namespace ringscale::relayd

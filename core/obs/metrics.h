// Counters and gauges, rendered in Prometheus text format 0.0.4.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringscale::core {

// One writer thread, any readers: a plain load and store, no locked
// instruction, so it may be used per packet.
class Counter {
 public:
  void Add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// One writer thread, any readers; may go down.
class Gauge {
 public:
  void Set(std::int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(std::int64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// Many writer threads: for counts that are not on the packet path.
class SharedCounter {
 public:
  void Add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// What a histogram has counted: for each bound the values above the one before and up
// to it, and one more for those beyond.
struct HistogramValues {
  std::vector<std::uint64_t> counts;
  std::uint64_t sum = 0;
};

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// What /metrics shows. Registration takes a function that reads the value when
// somebody asks; samples of the same name (one per shard, say) with equal
// labels are added up. Thread-safe.
class MetricsRegistry {
 public:
  enum class Kind : std::uint8_t { kCounter, kGauge };
  void Add(std::string name, Kind kind, std::string help, MetricLabels labels,
           std::function<double()> read);
  // A histogram of its own name; of several with that name the values add up.
  void AddHistogram(std::string name, std::string help, std::vector<std::uint32_t> bounds,
                    std::function<HistogramValues()> read);
  [[nodiscard]] std::string Render() const;

 private:
  struct Sample {
    std::string name;
    Kind kind;
    std::string help;
    MetricLabels labels;
    std::function<double()> read;
  };
  struct HistogramSample {
    std::string name;
    std::string help;
    std::vector<std::uint32_t> bounds;
    std::function<HistogramValues()> read;
  };
  mutable std::mutex mutex_;
  std::vector<Sample> samples_;
  std::vector<HistogramSample> histograms_;
};

}  // namespace ringscale::core

#include "bench/lib/relay_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <utility>

#include "bench/lib/machine_load.h"
#include "bench/lib/relay_report.h"

namespace ringscale::bench {
namespace {

// A line that is written over while a run goes on.
class Progress {
 public:
  explicit Progress(bool wanted) : wanted_(wanted && isatty(STDERR_FILENO) != 0) {}
  ~Progress() { Say({}); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Say(const std::string& text) const {
    if (wanted_) std::fprintf(stderr, "\r\033[K%s", text.c_str());
  }

 private:
  bool wanted_;
};

class Run {
 public:
  explicit Run(const RelayBenchOptions& options) : options_(options) {
    report_.command = options.command;
  }

  // Every target once a round; `measure` adds to the report and returns the row.
  template <class Measure>
  core::Result<> Each(Measure&& measure) {
    for (unsigned round = 0; round < options_.rounds; ++round) {
      for (const RelayTarget& target : options_.targets) {
        const Progress progress(!options_.quiet);
        if (options_.wait_quiet.ns > 0) {
          progress.Say("waiting for other processes");
          WaitForQuietMachine(options_.wait_quiet);
        }
        const auto say = [&](const std::string& text) { progress.Say(target.name + ": " + text); };
        core::Result<std::string> row = measure(report_, target, say);
        if (!row) return core::Forward(row);
        progress.Say({});
        Print(*row);
      }
    }
    return {};
  }

  void Print(const std::string& text) const {
    if (options_.json) return;
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  core::Result<> Finish() {
    if (options_.json) fmt::print("{}\n", ToJson(report_));
    if (options_.report.empty()) return {};
    std::ofstream file(options_.report);
    file << ToHtml(report_);
    file.close();
    if (!file) return core::Fail(core::ErrorCode::kIo, "cannot write " + options_.report);
    return {};
  }

 private:
  const RelayBenchOptions& options_;
  RelayReport report_;
};

}  // namespace

core::Result<> RunRelayThroughput(const RelayBenchOptions& options,
                                  const ThroughputOptions& throughput,
                                  const std::vector<double>& megabits) {
  Run run(options);
  run.Print(ThroughputHead());
  for (const double rate : megabits) {
    auto done = run.Each([&](RelayReport& report, const RelayTarget& target,
                             const ProgressFn& progress) -> core::Result<std::string> {
      ThroughputOptions one = throughput;
      one.bits_per_second = rate * 1e6;
      auto result = MeasureThroughput(target, one, progress);
      if (!result) return core::Forward(result);
      report.throughput.push_back(
          {.relay = target.name, .wanted_bits = one.bits_per_second, .result = std::move(*result)});
      return TableRow(report.throughput.back());
    });
    if (!done) return done;
  }
  return run.Finish();
}

core::Result<> RunRelayConnect(const RelayBenchOptions& options, const ConnectOptions& connect) {
  Run run(options);
  auto done = run.Each([&](RelayReport& report, const RelayTarget& target,
                           const ProgressFn& progress) -> core::Result<std::string> {
    auto result = MeasureConnect(target, connect, progress);
    if (!result) return core::Forward(result);
    report.connect.push_back({.relay = target.name,
                              .packet_bits = connect.latency.bits_per_second,
                              .with_logins = connect.with_logins,
                              .result = std::move(*result)});
    return TableRow(report.connect.back());
  });
  if (!done) return done;
  return run.Finish();
}

core::Result<> RunRelayStorm(const RelayBenchOptions& options, const StormOptions& storm) {
  Run run(options);
  auto done = run.Each([&](RelayReport& report, const RelayTarget& target,
                           const ProgressFn& progress) -> core::Result<std::string> {
    auto result = MeasureStorm(target, storm, progress);
    if (!result) return core::Forward(result);
    report.storm.push_back({.relay = target.name, .result = std::move(*result)});
    return TableRow(report.storm.back());
  });
  if (!done) return done;
  return run.Finish();
}

core::Result<> RunRelayTcp(const RelayBenchOptions& options, const TcpOptions& tcp,
                           const std::vector<std::size_t>& flows) {
  Run run(options);
  run.Print(TcpHead());
  for (const std::size_t count : flows) {
    auto done = run.Each([&](RelayReport& report, const RelayTarget& target,
                             const ProgressFn& progress) -> core::Result<std::string> {
      TcpOptions one = tcp;
      one.flows = count;
      auto result = MeasureTcp(target, one, progress);
      if (!result) return core::Forward(result);
      report.tcp.push_back({.relay = target.name, .result = std::move(*result)});
      return TableRow(report.tcp.back());
    });
    if (!done) return done;
  }
  return run.Finish();
}

core::Result<> RunRelayStun(const RelayBenchOptions& options, const StunOptions& stun) {
  Run run(options);
  auto done = run.Each([&](RelayReport& report, const RelayTarget& target,
                           const ProgressFn& progress) -> core::Result<std::string> {
    progress("STUN");
    auto result = MeasureStun(target, stun);
    if (!result) return core::Forward(result);
    report.stun.push_back({.relay = target.name, .result = *result});
    return TableRow(report.stun.back());
  });
  if (!done) return done;
  return run.Finish();
}

}  // namespace ringscale::bench

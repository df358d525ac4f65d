#include "bench/lib/relay_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

#include "bench/lib/machine_load.h"
#include "bench/lib/relay_figures.h"
#include "bench/lib/relay_report.h"
#include "bench/lib/soak_report.h"

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

// The report of one call and what of it has been printed.
class Run {
 public:
  explicit Run(const RelayBenchOptions& options) : options_(options) {
    report_.command = options.command;
  }

  // Every target once a round: measure(target, progress) measures it and adds to
  // report().
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
        const core::Result<> measured = measure(target, say);
        if (!measured) return measured;
        progress.Say({});
        PrintNew();
      }
    }
    return {};
  }

  RelayReport& report() { return report_; }

  core::Result<> Finish() {
    PrintNew();
    if (options_.json) fmt::print("{}\n", ToJson(report_));
    if (options_.report.empty()) return {};
    std::ofstream file(options_.report);
    file << ToHtml(report_);
    file.close();
    if (!file) return core::Fail(core::ErrorCode::kIo, "cannot write " + options_.report);
    return {};
  }

 private:
  void PrintNew() {
    for (; !options_.json && printed_ < report_.records.size(); ++printed_) {
      const Record& record = report_.records[printed_];
      if (record.mode != head_of_) {
        fmt::print("{}{}", head_of_.empty() ? "" : "\n", TableHead(record));
      }
      head_of_ = record.mode;
      fmt::print("{}", TableRow(record));
    }
    std::fflush(stdout);
  }

  const RelayBenchOptions& options_;
  RelayReport report_;
  std::size_t printed_ = 0;
  std::string head_of_;  // the mode whose table is being printed
};

// One measurement of each target, reported by `add`.
template <class Measure, class Add>
core::Result<> RunEach(const RelayBenchOptions& options, Measure&& measure, Add&& add) {
  Run run(options);
  auto done = run.Each([&](const RelayTarget& target, const ProgressFn& say) -> core::Result<> {
    auto result = measure(target, say);
    if (!result) return core::Forward(result);
    add(run.report(), target.name, *result);
    return {};
  });
  if (!done) return done;
  return run.Finish();
}

}  // namespace

core::Result<> RunRelayThroughput(const RelayBenchOptions& options, const std::string& mode,
                                  const ThroughputOptions& throughput,
                                  const std::vector<double>& megabits) {
  Run run(options);
  for (const double rate : megabits) {
    ThroughputOptions one = throughput;
    one.bits_per_second = rate * 1e6;
    auto done = run.Each([&](const RelayTarget& target, const ProgressFn& say) -> core::Result<> {
      auto result = MeasureThroughput(target, one, say);
      if (!result) return core::Forward(result);
      AddThroughput(run.report(), mode, target.name, *result);
      return {};
    });
    if (!done) return done;
  }
  return run.Finish();
}

core::Result<> RunRelayMesh(const RelayBenchOptions& options, const ThroughputOptions& throughput,
                            const std::vector<double>& megabits) {
  const auto& targets = options.targets;
  if (targets.size() < 2) {
    return core::Fail(core::ErrorCode::kInvalid, "mesh: needs two relays of a region");
  }
  Run run(options);
  for (const double rate : megabits) {
    ThroughputOptions one = throughput;
    one.bits_per_second = rate * 1e6;
    auto done = run.Each([&](const RelayTarget& target, const ProgressFn& say) -> core::Result<> {
      one.receivers_at = targets[(&target - targets.data() + 1) % targets.size()];
      auto result = MeasureThroughput(target, one, say);
      if (!result) return core::Forward(result);
      AddThroughput(run.report(), "mesh", target.name + " > " + one.receivers_at->name, *result);
      return {};
    });
    if (!done) return done;
  }
  return run.Finish();
}

core::Result<> RunRelayOverload(const RelayBenchOptions& options, const OverloadOptions& overload) {
  return RunEach(
      options,
      [&](const RelayTarget& target, const ProgressFn& say) {
        return MeasureOverload(target, overload, say);
      },
      AddOverload);
}

core::Result<> RunRelayConnect(const RelayBenchOptions& options, const ConnectOptions& connect) {
  return RunEach(
      options,
      [&](const RelayTarget& target, const ProgressFn& say) {
        return MeasureConnect(target, connect, say);
      },
      [&](RelayReport& report, const std::string& relay, const ConnectResult& result) {
        AddConnect(report, relay, connect, result);
      });
}

core::Result<> RunRelayStorm(const RelayBenchOptions& options, const StormOptions& storm) {
  return RunEach(
      options,
      [&](const RelayTarget& target, const ProgressFn& say) {
        return MeasureStorm(target, storm, say);
      },
      AddStorm);
}

core::Result<> RunRelayTcp(const RelayBenchOptions& options, const TcpOptions& tcp,
                           const std::vector<std::size_t>& flows) {
  Run run(options);
  for (const std::size_t count : flows) {
    TcpOptions one = tcp;
    one.flows = count;
    auto done = run.Each([&](const RelayTarget& target, const ProgressFn& say) -> core::Result<> {
      auto result = MeasureTcp(target, one, say);
      if (!result) return core::Forward(result);
      AddTcp(run.report(), target.name, *result);
      return {};
    });
    if (!done) return done;
  }
  return run.Finish();
}

core::Result<> RunRelayStun(const RelayBenchOptions& options, const StunOptions& stun) {
  return RunEach(
      options,
      [&](const RelayTarget& target, const ProgressFn& say) {
        say("STUN");
        return MeasureStun(target, stun);
      },
      AddStun);
}

core::Result<> ShowRelayRuns(const RelayBenchOptions& options,
                             const std::vector<std::string>& files) {
  Run run(options);
  run.report().command.clear();
  for (const std::string& name : files) {
    std::ifstream file(name);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (!file) return core::Fail(core::ErrorCode::kIo, "cannot read " + name);
    auto report = ReadReport(text);
    if (!report) return core::Fail(report.error().code, name + ": " + report.error().message);
    run.report().Add(std::move(*report));
  }
  return run.Finish();
}

core::Result<> RunRelaySoak(const RelayBenchOptions& options, const SoakOptions& soak) {
  if (!options.report.empty()) {
    return core::Fail(core::ErrorCode::kInvalid, "soak: has no page (--report); --json is there");
  }
  Run run(options);
  std::vector<SoakRow> rows;
  auto done = run.Each([&](const RelayTarget& target, const ProgressFn& say) -> core::Result<> {
    auto result = RunSoak(target, soak, say);
    if (!result) return core::Forward(result);
    rows.push_back({.relay = target.name, .result = std::move(*result)});
    if (!options.json) fmt::print("{}", SoakText(rows.back()));
    return {};
  });
  if (!done) return done;
  if (options.json) fmt::print("{}\n", SoakJson(options.command, rows));
  const bool good =
      std::ranges::all_of(rows, [](const SoakRow& row) { return row.result.Complaints().empty(); });
  if (good) return {};
  return core::Fail(core::ErrorCode::kInternal, "the soak found something wrong");
}

}  // namespace ringscale::bench

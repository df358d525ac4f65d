#include "bench/relay_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "bench/lib/process_stats.h"
#include "bench/lib/relay_bench.h"

namespace ringscale::bench {
namespace {

struct Arguments {
  std::vector<std::string> urls;
  std::vector<std::string> names;
  std::vector<int> pids;
  std::string server_name;
  double seconds = 5;
  double warm_up = 1;
  double wait_quiet = 0;
  std::vector<double> rates = {0};
  RelayBenchOptions bench;
  ThroughputOptions throughput;
};

core::Duration FromSeconds(double seconds) {
  return core::Nanos(static_cast<std::int64_t>(seconds * 1e9));
}

core::Result<> FindTargets(Arguments& arguments) {
  if (!arguments.names.empty() && arguments.names.size() != arguments.urls.size()) {
    return core::Fail(core::ErrorCode::kInvalid, "--name: one for each --url, or none");
  }
  if (!arguments.pids.empty() && arguments.pids.size() != arguments.urls.size()) {
    return core::Fail(core::ErrorCode::kInvalid, "--pid: one for each --url, or none");
  }
  for (std::size_t i = 0; i < arguments.urls.size(); ++i) {
    auto target = ParseRelayUrl(arguments.urls[i]);
    if (!target) return core::Forward(target);
    if (!arguments.names.empty()) target->name = arguments.names[i];
    if (!arguments.server_name.empty()) target->server_name = arguments.server_name;
    if (!arguments.pids.empty()) {
      target->pid = arguments.pids[i];
    } else if (target->address.ip.is_loopback()) {
      target->pid = FindListener(target->address.port);
    }
    arguments.bench.targets.push_back(std::move(*target));
  }
  return {};
}

}  // namespace

std::function<core::Result<>()> AddRelayCommand(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  auto* relay = app.add_subcommand("relay", "Load for DERP relays, one or several in turn.");
  relay->require_subcommand(1);
  relay->add_option("--url", a.urls, "derp://HOST:PORT (plain) or derps://HOST[:PORT] (TLS)")
      ->required();
  relay->add_option("--name", a.names, "what to call each relay in tables and plots");
  relay->add_option("--pid", a.pids,
                    "the server's process (default: who listens on the port here)");
  relay->add_option("--server-name", a.server_name, "SNI, when it is not the host of the URL");
  relay->add_option("--rounds", a.bench.rounds, "every relay so many times, in turn")
      ->capture_default_str();
  relay->add_option("--threads", a.throughput.threads, "threads of the generator")
      ->capture_default_str();
  relay->add_option("--wait-quiet", a.wait_quiet,
                    "before each run wait up to so many seconds for other processes to calm down");
  relay->add_flag("--json", a.bench.json, "print JSON instead of a table");
  relay->add_flag("--quiet", a.bench.quiet, "no progress on the terminal");
  relay->add_option("--report", a.bench.report, "write a page with plots to this file");

  auto* throughput = relay->add_subcommand(
      "throughput", "Pairs of clients, every packet's order and content checked.");
  throughput->add_option("--pairs", a.throughput.pairs, "pairs of clients")->capture_default_str();
  throughput->add_option("--receivers", a.throughput.receivers,
                         "that so many receivers share (default: one each)");
  throughput->add_option("--size", a.throughput.packet_bytes, "bytes a packet")
      ->check(CLI::Range(20, 65536))
      ->capture_default_str();
  throughput
      ->add_option("--rate", a.rates,
                   "Mbit/s offered, all pairs together; several: one run each; 0: as fast as "
                   "possible")
      ->capture_default_str();
  throughput->add_option("--coalesce", a.throughput.coalesce, "packets a write")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  throughput->add_option("--seconds", a.seconds, "measured time of a run")->capture_default_str();
  throughput->add_option("--warm-up", a.warm_up, "seconds before that")->capture_default_str();

  return [arguments, throughput]() -> core::Result<> {
    Arguments& given = *arguments;
    if (auto found = FindTargets(given); !found) return found;
    given.throughput.duration = FromSeconds(given.seconds);
    given.bench.wait_quiet = FromSeconds(given.wait_quiet);
    given.throughput.warm_up = FromSeconds(given.warm_up);
    if (*throughput) return RunRelayThroughput(given.bench, given.throughput, given.rates);
    return {};
  };
}

}  // namespace ringscale::bench

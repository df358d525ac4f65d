#include "bench/relay_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/lib/process_stats.h"
#include "bench/lib/relay_bench.h"
#include "bench/lib/relay_map.h"

namespace ringscale::bench {
namespace {

struct Arguments {
  std::vector<std::string> urls;
  std::string map;
  std::string region;
  std::vector<std::string> names;
  std::vector<int> pids;
  std::string server_name;
  double seconds = 5;
  double warm_up = 1;
  double wait_quiet = 0;
  double settle = 10;
  double latency_megabits = 50;
  bool no_realtime = false;
  std::size_t receivers = 1;
  std::size_t slow_pairs = 1;
  std::vector<double> rates = {0};
  double first_rate = 50;
  std::vector<std::string> files;
  RelayBenchOptions bench;
  ThroughputOptions throughput;
  OverloadOptions overload;
  ConnectOptions connect;
  StormOptions storm;
  StunOptions stun;
  SoakOptions soak;
  double life = 15;
  TcpOptions tcp;
  std::vector<std::size_t> flows = {1, 8};
  double receiver_megabits = 0;
  double round_trip_ms = 0;
};

core::Duration FromSeconds(double seconds) {
  return core::Nanos(static_cast<std::int64_t>(seconds * 1e9));
}

core::Result<std::vector<RelayTarget>> GivenTargets(const Arguments& arguments) {
  if (!arguments.map.empty()) {
    const auto json = ReadMap(arguments.map);
    if (!json) return core::Fail(json.error().code, json.error().message);
    return TargetsOfMap(*json, arguments.region);
  }
  std::vector<RelayTarget> targets;
  for (const std::string& url : arguments.urls) {
    auto target = ParseRelayUrl(url);
    if (!target) return core::Forward(target);
    targets.push_back(std::move(*target));
  }
  return targets;
}

core::Result<> FindTargets(Arguments& arguments) {
  auto targets = GivenTargets(arguments);
  if (!targets) return core::Forward(targets);
  if (targets->empty()) return core::Fail(core::ErrorCode::kInvalid, "needs --url or --map");
  const auto one_each = [&](std::size_t count) { return count == 0 || count == targets->size(); };
  if (!one_each(arguments.names.size())) {
    return core::Fail(core::ErrorCode::kInvalid, "--name: one for each relay, or none");
  }
  if (!one_each(arguments.pids.size())) {
    return core::Fail(core::ErrorCode::kInvalid, "--pid: one for each relay, or none");
  }
  for (std::size_t i = 0; i < targets->size(); ++i) {
    RelayTarget& target = (*targets)[i];
    if (!arguments.names.empty()) target.name = arguments.names[i];
    if (!arguments.server_name.empty()) target.server_name = arguments.server_name;
    if (!arguments.pids.empty()) {
      target.pid = arguments.pids[i];
    } else if (target.address.ip.is_loopback()) {
      target.pid = FindListener(target.address.port);
    }
  }
  arguments.bench.targets = std::move(*targets);
  return {};
}

void AddCommon(CLI::App& relay, Arguments& a) {
  auto* url =
      relay.add_option("--url", a.urls, "derp://HOST:PORT (plain) or derps://HOST[:PORT] (TLS)");
  relay.add_option("--map", a.map, "the relays of a DERP map (JSON): a file or an http(s) URL")
      ->excludes(url);
  relay.add_option("--region", a.region, "id or code of the map's region");
  relay.add_option("--name", a.names, "what to call each relay in tables and plots");
  relay.add_option("--pid", a.pids, "the server's process (default: who listens on the port here)");
  relay.add_option("--server-name", a.server_name, "SNI, when it is not the host of the URL");
  relay.add_option("--rounds", a.bench.rounds, "every relay so many times, in turn")
      ->capture_default_str();
  relay.add_option("--wait-quiet", a.wait_quiet,
                   "before each run wait up to so many seconds for other processes to calm down");
  relay.add_flag("--json", a.bench.json, "print JSON instead of a table");
  relay.add_flag("--quiet", a.bench.quiet, "no progress on the terminal");
  relay.add_option("--report", a.bench.report, "write a page with plots to this file");
}

void AddRates(CLI::App& command, Arguments& a) {
  command
      .add_option("--rate", a.rates,
                  "Mbit/s offered, all pairs together; several: one run each; 0: as fast as "
                  "possible")
      ->capture_default_str();
}

// What every mode with pairs of clients takes.
void AddPairs(CLI::App& command, Arguments& a) {
  ThroughputOptions& options = a.throughput;
  command.add_option("--pairs", options.pairs, "pairs of clients")->capture_default_str();
  command.add_option("--size", options.packet_bytes, "bytes a packet")
      ->check(CLI::Range(20, 65536))
      ->capture_default_str();
  command.add_option("--coalesce", options.coalesce, "packets a write")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--threads", options.threads, "threads of the generator")
      ->capture_default_str();
  command.add_option("--cipher", options.cipher_suites, "TLS 1.3 cipher suite")
      ->capture_default_str();
  command.add_option("--seconds", a.seconds, "measured time of a run")->capture_default_str();
  command.add_option("--warm-up", a.warm_up, "seconds before that")->capture_default_str();
}

CLI::App* AddThroughput(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "throughput", "Pairs of clients, every packet's order and content checked.");
  AddPairs(*command, a);
  AddRates(*command, a);
  return command;
}

CLI::App* AddFanIn(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand("fan-in", "Many senders to one receiver, or to few.");
  AddPairs(*command, a);
  AddRates(*command, a);
  command->add_option("--receivers", a.receivers, "how many share the senders")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return command;
}

CLI::App* AddSlow(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "slow",
      "Pairs of clients beside receivers that read slowly; what these get is checked, too.");
  AddPairs(*command, a);
  AddRates(*command, a);
  command->add_option("--slow", a.slow_pairs, "pairs whose receiver reads slowly")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--slow-bytes", a.throughput.slow_bytes_per_second,
                   "bytes a second each of these reads")
      ->capture_default_str();
  return command;
}

CLI::App* AddMesh(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "mesh", "Senders on one relay, receivers on the next of the same region.");
  AddPairs(*command, a);
  AddRates(*command, a);
  return command;
}

CLI::App* AddOverload(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "overload",
      "Finds what a relay carries and offers a multiple of it. The relay needs less CPU than the "
      "generator.");
  AddPairs(*command, a);
  command->add_option("--first-rate", a.first_rate, "Mbit/s to begin with")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--times", a.overload.times, "of what it carries")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return command;
}

void AddLatencyOptions(CLI::App& command, Arguments& a) {
  command.add_option("--latency-rate", a.latency_megabits, "Mbit/s of the packets that are timed")
      ->capture_default_str();
  command.add_flag("--no-realtime", a.no_realtime, "do not ask for real-time priority");
}

CLI::App* AddLatency(CLI::App& relay, Arguments& a) {
  auto* command =
      relay.add_subcommand("latency", "One-way delay of packets sent on a fixed schedule.");
  AddLatencyOptions(*command, a);
  command->add_option("--seconds", a.seconds, "measured time")->capture_default_str();
  return command;
}

CLI::App* AddConnect(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "connect",
      "Clients log in and leave; the delay of established traffic before and meanwhile.");
  AddLatencyOptions(*command, a);
  command
      ->add_option("--rate", a.connect.logins.per_second, "logins a second; 0: as fast as possible")
      ->capture_default_str();
  command->add_option("--in-flight", a.connect.logins.in_flight, "logins under way at once")
      ->capture_default_str();
  command->add_option("--seconds", a.seconds, "measured time of each half")->capture_default_str();
  return command;
}

void AddClients(CLI::App& command, Arguments& a) {
  AddLatencyOptions(command, a);
  command.add_option("--clients", a.storm.logins.total, "how many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--in-flight", a.storm.logins.in_flight, "logins under way at once")
      ->capture_default_str();
  command.add_option("--settle", a.settle, "seconds before memory is looked at")
      ->capture_default_str();
  command.add_option("--nice", a.storm.logins.nice, "of the thread that logs in")
      ->check(CLI::Range(0, 19))
      ->capture_default_str();
}

CLI::App* AddStorm(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "storm", "Many clients log in and stay, are all cut off and come back; memory afterwards.");
  AddClients(*command, a);
  return command;
}

CLI::App* AddIdle(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand("idle", "Many clients log in and stay: the memory of each.");
  AddClients(*command, a);
  return command;
}

CLI::App* AddTcp(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "tcp",
      "TCP inside the tunnel: the kernel's bulk flows between two TUN devices, each in a network\n"
      "namespace of its own, every packet through the relay; and pings to the same receiver on\n"
      "the data and the disco lane, and between two other clients. Needs root.");
  TunnelOptions& tunnel = a.tcp.tunnel;
  command->add_option("--flows", a.flows, "TCP flows; several: one run each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--mtu", tunnel.mtu, "of the TUN devices")
      ->check(CLI::Range(576, 16000))
      ->capture_default_str();
  command
      ->add_option("--receiver-rate", a.receiver_megabits,
                   "Mbit/s that the receiving client reads; 0: everything at once")
      ->capture_default_str();
  command
      ->add_option("--receiver-buffer", tunnel.receive_buffer,
                   "bytes of its socket's buffer, when it reads slowly")
      ->capture_default_str();
  command->add_option("--rtt", a.round_trip_ms, "milliseconds that the path takes besides")
      ->capture_default_str();
  command->add_option("--congestion", a.tcp.congestion, "what controls the senders' windows")
      ->capture_default_str();
  command->add_option("--metrics", a.tcp.metrics,
                      "URL of the relay's metrics, for drops by reason: /metrics of ringscale,\n"
                      "/debug/varz of derper");
  command->add_option("--cipher", a.tcp.cipher_suites, "TLS 1.3 cipher suite")
      ->capture_default_str();
  command->add_option("--seconds", a.seconds, "measured time of a run")->capture_default_str();
  command->add_option("--warm-up", a.warm_up, "seconds before that")->capture_default_str();
  return command;
}

CLI::App* AddSoak(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "soak",
      "Clients come, exchange packets, misbehave and go; the server's memory and descriptors.\n"
      "Fails when a packet is wrong, memory grows, or descriptors are left.");
  command->add_option("--connections", a.soak.connections, "how many at once")
      ->check(CLI::Range(10, 1'000'000))
      ->capture_default_str();
  command->add_option("--life", a.life, "seconds that a connection lasts, on average")
      ->check(CLI::Range(0.5, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--packets", a.soak.packets_per_second, "a second from each client that behaves")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  command->add_option("--seed", a.soak.seed, "of who does what")->capture_default_str();
  command->add_option("--seconds", a.seconds, "how long")->capture_default_str();
  return command;
}

CLI::App* AddStun(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand("stun", "Binding requests, as many as are answered.");
  command->add_option("--port", a.stun.port, "UDP port (default: the map's, else 3478)");
  command->add_option("--in-flight", a.stun.under_way, "requests under way at once")
      ->check(CLI::Range(64, 65536))
      ->capture_default_str();
  command->add_option("--seconds", a.seconds, "measured time")->capture_default_str();
  return command;
}

CLI::App* AddShow(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "show", "Runs that were kept with --json, side by side: a table, and a page with --report.");
  command->add_option("files", a.files, "what --json printed")->required();
  return command;
}

}  // namespace

std::function<core::Result<>()> AddRelayCommand(CLI::App& app, std::string command_line) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  a.bench.command = std::move(command_line);
  a.storm.logins.total = 2000;
  auto* relay = app.add_subcommand(
      "relay",
      "Load for DERP relays, one or several in turn. Reports what they carried, lost and cost,\n"
      "and when the generator itself was the limit.");
  relay->require_subcommand(1);
  AddCommon(*relay, a);
  auto* throughput = AddThroughput(*relay, a);
  auto* fan_in = AddFanIn(*relay, a);
  auto* slow = AddSlow(*relay, a);
  auto* mesh = AddMesh(*relay, a);
  auto* overload = AddOverload(*relay, a);
  auto* latency = AddLatency(*relay, a);
  auto* connect = AddConnect(*relay, a);
  auto* storm = AddStorm(*relay, a);
  auto* idle = AddIdle(*relay, a);
  auto* stun = AddStun(*relay, a);
  auto* soak = AddSoak(*relay, a);
  auto* tcp = AddTcp(*relay, a);
  auto* show = AddShow(*relay, a);

  return [=]() -> core::Result<> {
    Arguments& given = *arguments;
    if (*show) return ShowRelayRuns(given.bench, given.files);
    if (auto found = FindTargets(given); !found) return found;
    given.bench.wait_quiet = FromSeconds(given.wait_quiet);
    given.throughput.duration = FromSeconds(given.seconds);
    given.throughput.warm_up = FromSeconds(given.warm_up);
    given.connect.phase = FromSeconds(given.seconds);
    given.connect.with_logins = connect->parsed();
    given.storm.settle = FromSeconds(given.settle);
    given.storm.drop = storm->parsed();
    given.stun.duration = FromSeconds(given.seconds);
    given.soak.duration = FromSeconds(given.seconds);
    given.soak.life = FromSeconds(given.life);
    given.tcp.duration = FromSeconds(given.seconds);
    given.tcp.warm_up = FromSeconds(given.warm_up);
    given.tcp.round_trip = FromSeconds(given.round_trip_ms / 1e3);
    given.tcp.tunnel.read_bytes_per_second =
        static_cast<std::uint64_t>(given.receiver_megabits * 1e6 / 8);
    for (LatencyOptions* options : {&given.connect.latency, &given.storm.latency}) {
      options->bits_per_second = given.latency_megabits * 1e6;
      options->realtime = !given.no_realtime;
    }
    if (*fan_in) given.throughput.receivers = given.receivers;
    if (*slow) given.throughput.slow_pairs = given.slow_pairs;
    for (const auto* pairs : {throughput, fan_in, slow}) {
      if (!*pairs) continue;
      return RunRelayThroughput(given.bench, pairs->get_name(), given.throughput, given.rates);
    }
    if (*mesh) return RunRelayMesh(given.bench, given.throughput, given.rates);
    if (*overload) {
      given.overload.throughput = given.throughput;
      given.overload.first_bits = given.first_rate * 1e6;
      return RunRelayOverload(given.bench, given.overload);
    }
    if (*latency || *connect) return RunRelayConnect(given.bench, given.connect);
    if (*storm || *idle) return RunRelayStorm(given.bench, given.storm);
    if (*stun) return RunRelayStun(given.bench, given.stun);
    if (*soak) return RunRelaySoak(given.bench, given.soak);
    if (*tcp) return RunRelayTcp(given.bench, given.tcp, given.flows);
    return {};
  };
}

}  // namespace ringscale::bench

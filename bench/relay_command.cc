#include "bench/relay_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
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
  double settle = 10;
  double latency_megabits = 50;
  bool no_realtime = false;
  bool keep = false;
  std::vector<double> rates = {0};
  RelayBenchOptions bench;
  ThroughputOptions throughput;
  ConnectOptions connect;
  StormOptions storm;
  StunOptions stun;
  TcpOptions tcp;
  std::vector<std::size_t> flows = {1, 8};
  double receiver_megabits = 0;
  double round_trip_ms = 0;
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

void AddCommon(CLI::App& relay, Arguments& a) {
  relay.add_option("--url", a.urls, "derp://HOST:PORT (plain) or derps://HOST[:PORT] (TLS)")
      ->required();
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

CLI::App* AddThroughput(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "throughput", "Pairs of clients, every packet's order and content checked.");
  ThroughputOptions& options = a.throughput;
  command->add_option("--pairs", options.pairs, "pairs of clients")->capture_default_str();
  command->add_option("--receivers", options.receivers,
                      "the pairs share that many receivers (default: one each)");
  command->add_option("--size", options.packet_bytes, "bytes a packet")
      ->check(CLI::Range(20, 65536))
      ->capture_default_str();
  command
      ->add_option("--rate", a.rates,
                   "Mbit/s offered, all pairs together; several: one run each; 0: as fast as "
                   "possible")
      ->capture_default_str();
  command->add_option("--coalesce", options.coalesce, "packets a write")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--slow", options.slow_pairs,
                      "further pairs whose receivers read slowly; checked, not counted");
  command->add_option("--slow-bytes", options.slow_bytes_per_second, "bytes a second these read")
      ->capture_default_str();
  command->add_option("--threads", options.threads, "threads of the generator")
      ->capture_default_str();
  command->add_option("--cipher", options.cipher_suites, "TLS 1.3 cipher suite")
      ->capture_default_str();
  command->add_option("--seconds", a.seconds, "measured time of a run")->capture_default_str();
  command->add_option("--warm-up", a.warm_up, "seconds before that")->capture_default_str();
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

CLI::App* AddStorm(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand(
      "storm", "Many clients log in and stay, are all cut off and come back; memory afterwards.");
  AddLatencyOptions(*command, a);
  command->add_option("--clients", a.storm.logins.total, "how many")->capture_default_str();
  command->add_option("--in-flight", a.storm.logins.in_flight, "logins under way at once")
      ->capture_default_str();
  command->add_option("--settle", a.settle, "seconds before memory is looked at")
      ->capture_default_str();
  command->add_option("--nice", a.storm.logins.nice, "of the thread that logs in")
      ->check(CLI::Range(0, 19))
      ->capture_default_str();
  command->add_flag("--keep", a.keep, "do not cut them off: the memory of idle clients");
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

CLI::App* AddStun(CLI::App& relay, Arguments& a) {
  auto* command = relay.add_subcommand("stun", "Binding requests, as many as are answered.");
  command->add_option("--port", a.stun.port, "UDP port")->capture_default_str();
  command->add_option("--in-flight", a.stun.under_way, "requests under way at once")
      ->check(CLI::Range(64, 65536))
      ->capture_default_str();
  command->add_option("--seconds", a.seconds, "measured time")->capture_default_str();
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
  auto* latency = AddLatency(*relay, a);
  auto* connect = AddConnect(*relay, a);
  auto* storm = AddStorm(*relay, a);
  auto* stun = AddStun(*relay, a);
  auto* tcp = AddTcp(*relay, a);

  return [=]() -> core::Result<> {
    Arguments& given = *arguments;
    if (auto found = FindTargets(given); !found) return found;
    given.bench.wait_quiet = FromSeconds(given.wait_quiet);
    given.throughput.duration = FromSeconds(given.seconds);
    given.throughput.warm_up = FromSeconds(given.warm_up);
    given.connect.phase = FromSeconds(given.seconds);
    given.connect.with_logins = connect->parsed();
    given.storm.settle = FromSeconds(given.settle);
    given.storm.drop = !given.keep;
    given.stun.duration = FromSeconds(given.seconds);
    given.tcp.duration = FromSeconds(given.seconds);
    given.tcp.warm_up = FromSeconds(given.warm_up);
    given.tcp.round_trip = FromSeconds(given.round_trip_ms / 1e3);
    given.tcp.tunnel.read_bytes_per_second =
        static_cast<std::uint64_t>(given.receiver_megabits * 1e6 / 8);
    for (LatencyOptions* options : {&given.connect.latency, &given.storm.latency}) {
      options->bits_per_second = given.latency_megabits * 1e6;
      options->realtime = !given.no_realtime;
    }
    if (*throughput) return RunRelayThroughput(given.bench, given.throughput, given.rates);
    if (*latency || *connect) return RunRelayConnect(given.bench, given.connect);
    if (*storm) return RunRelayStorm(given.bench, given.storm);
    if (*stun) return RunRelayStun(given.bench, given.stun);
    if (*tcp) return RunRelayTcp(given.bench, given.tcp, given.flows);
    return {};
  };
}

}  // namespace ringscale::bench

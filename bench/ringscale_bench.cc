// ringscale-bench: load for control servers and relays, ours or not.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "bench/lib/control_bench.h"
#include "bench/lib/policy_bench.h"
#include "bench/lib/tls_bench.h"
#include "bench/relay_command.h"

int main(int argc, char** argv) {
  CLI::App app("Load for coordination servers and relays, and what it cost them.");
  app.require_subcommand(1);

  ringscale::bench::ControlBenchOptions control;
  int pid = 0;
  auto* control_command = app.add_subcommand(
      "control",
      "Synthetic nodes register by auth key, open map streams, change endpoints one at a time,\n"
      "and all drop and reconnect with the keys they have. Prints the server's CPU seconds and\n"
      "memory, the time until every other node was told of a change, bytes a peer and a change.\n"
      "Each node is a connection of its own that speaks Noise, HTTP/2 and zstd as the official\n"
      "client does. The full maps of 32 nodes are decompressed and their peers counted; of the\n"
      "others the bytes are counted. Progress goes to stderr, the result to stdout.");
  control_command
      ->add_option("--server", control.url, "http://HOST:PORT or https://HOST:PORT of the server")
      ->required();
  control_command
      ->add_option("--auth-key", control.auth_keys,
                   "a reusable pre-auth key; several: nodes take them in turn")
      ->required();
  control_command->add_option("--nodes", control.nodes, "how many nodes")->capture_default_str();
  control_command->add_option("--changes", control.changes, "how many endpoint changes")
      ->capture_default_str();
  control_command
      ->add_option("--in-flight", control.in_flight,
                   "connections being set up at once; those that wait for a map do not count")
      ->capture_default_str();
  auto* insecure = control_command->add_flag("--insecure", control.trust.insecure,
                                             "https: any certificate will do");
  control_command
      ->add_option("--ca", control.trust.ca_file,
                   "https: file with the certificate authority to trust (PEM)")
      ->check(CLI::ExistingFile)
      ->excludes(insecure);
  control_command->add_option("--pid", pid,
                              "process of the server (default: who listens on the port here)");
  control_command
      ->add_option("--limit", control.phase_limit_seconds, "seconds a phase may take at most")
      ->capture_default_str();
  control_command->add_flag("--json", control.json, "print JSON instead of a table");
  control_command->add_flag("--quiet", control.quiet, "no progress on the terminal");

  ringscale::bench::PolicyBenchOptions policy;
  auto* policy_command = app.add_subcommand(
      "policy",
      "A policy of 1,000 rules, with autogroup:self and via, over synthetic nodes: what compiling\n"
      "it, its index and changes cost, up to the bytes of each client's stream. No server, no\n"
      "network. The policy can be written to a file, for a server that `control` loads.");
  policy_command->add_option("--nodes", policy.nodes, "how many nodes; several: one after another")
      ->delimiter(',')
      ->capture_default_str();
  policy_command->add_option("--write", policy.write, "write the policy to this file and end");

  std::string command_line = "ringscale-bench";
  for (int i = 1; i < argc; ++i) command_line.append(" ").append(argv[i]);
  const auto run_relay = ringscale::bench::AddRelayCommand(app, command_line);

  ringscale::bench::TlsBenchOptions tls;
  auto* tls_command = app.add_subcommand(
      "tls",
      "Which transport for TLS is cheaper for the relay on this machine: its own records or\n"
      "the kernel's. Starts a server with each in turn and says what to set.");
  tls_command->add_option("--server", tls.server, "the program (default: ringscale beside this)");
  tls_command->add_option("--rounds", tls.rounds, "how often each is measured")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  tls_command->add_option("--pairs", tls.pairs, "pairs of clients")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  tls_command->add_option("--bytes", tls.packet_bytes, "size of a packet")
      ->check(CLI::Range(20, 65536))
      ->capture_default_str();
  double tls_seconds = 3;
  tls_command->add_option("--seconds", tls_seconds, "measured time of each run")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  tls_command->add_flag("--quiet", tls.quiet, "no progress on the terminal");

  CLI11_PARSE(app, argc, argv);

  ringscale::core::Result<> result;
  if (*control_command) {
    if (pid > 0) control.pid = pid;
    result = ringscale::bench::RunControlBench(control);
  } else if (*tls_command) {
    tls.duration = ringscale::core::Millis(static_cast<std::int64_t>(tls_seconds * 1000));
    result = ringscale::bench::RunTlsBench(tls);
  } else if (*policy_command) {
    result = ringscale::bench::RunPolicyBench(policy);
  } else {
    result = run_relay();
  }
  if (!result) {
    std::fprintf(stderr, "error: %s\n", result.error().message.c_str());
    return 1;
  }
  return 0;
}

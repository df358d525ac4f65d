// ringscale-bench control: synthetic nodes against a control server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/lib/control_target.h"
#include "core/base/result.h"

namespace ringscale::bench {

struct ControlBenchOptions {
  std::string url;  // http://HOST:PORT or https://HOST:PORT
  TargetTrust trust;
  std::vector<std::string> auth_keys;  // reusable; nodes take them in turn
  std::size_t nodes = 200;
  std::size_t changes = 50;    // endpoint changes, one at a time
  std::size_t in_flight = 64;  // connections being set up at once
  std::optional<pid_t> pid;    // the server; found by its port when it is on this machine
  bool json = false;
  bool quiet = false;  // no progress on stderr
  int phase_limit_seconds = 300;
};

// Runs all phases and prints the table (or JSON) to stdout. Fails when the server
// cannot be reached, or no node could register.
core::Result<> RunControlBench(const ControlBenchOptions& options);

}  // namespace ringscale::bench

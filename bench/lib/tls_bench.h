// Which of the relay's two TLS transports is cheaper on this machine: the server is
// started with each in turn and carries the same load over the loopback interface.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

struct TlsBenchOptions {
  std::string server;  // the program; empty: `ringscale` beside this one
  unsigned rounds = 3;
  std::size_t pairs = 10;
  std::size_t packet_bytes = 1400;
  double moderate_megabits = 200;  // beside a run as fast as possible
  core::Duration duration = core::Seconds(3);
  bool quiet = false;
};

// Prints a table and what to set; says so when the kernel has no TLS.
core::Result<> RunTlsBench(const TlsBenchOptions& options);

}  // namespace ringscale::bench

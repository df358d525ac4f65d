// Which of the relay's two TLS transports is cheaper on this machine: the server is
// started with each in turn and carries the same load over the loopback interface.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/tls/kernel_tls.h"

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

// Prints a table and what to set. Without TLS in the kernel it says so and measures
// user space alone.
core::Result<> RunTlsBench(const TlsBenchOptions& options);

// What to set, in sentences, from the server's CPU seconds per gigabyte as fast as
// it can; no figure for the kernel where it has no TLS.
std::string TlsAdvice(const core::tls::KernelTlsSupport& support, double user_cpu,
                      std::optional<double> kernel_cpu);

}  // namespace ringscale::bench

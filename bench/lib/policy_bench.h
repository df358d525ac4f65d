// ringscale-bench policy: what a large policy costs, without network and clients.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bench/lib/sample_policy.h"
#include "core/base/result.h"

namespace ringscale::bench {

struct PolicyBenchOptions {
  SamplePolicyShape shape;
  std::vector<std::size_t> nodes = {1000, 3000, 10'000};
  std::string write;  // the sample policy goes to this file, and nothing is measured
};

// Prints a table to stdout.
core::Result<> RunPolicyBench(const PolicyBenchOptions& options);

}  // namespace ringscale::bench

// What the machine gives this process: cores, CPU quota, descriptors; and the
// placing and weighting of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::core::engine {

struct Topology {
  std::vector<int> cores;           // the scheduler's affinity mask, ascending
  std::optional<double> cpu_limit;  // cgroup quota in CPUs; nullopt = none

  // How many threads per core-bound role make sense: one per core, but no more
  // than the quota (rounded up) can feed. At least 1.
  [[nodiscard]] std::size_t WorkerCount() const;
};

// Affinity of the calling thread and the quota of its cgroup (v2 cpu.max or v1
// cpu.cfs_quota_us, the tightest up the tree). The arguments are for tests.
Topology DetectTopology(const std::string& proc_root = "/proc",
                        const std::string& cgroup_root = "/sys/fs/cgroup");

// "<quota> <period>" or "max <period>" of cgroup v2, in CPUs.
std::optional<double> ParseCpuMax(std::string_view text);

// --- the calling thread ---

// At most 15 bytes; longer ones are cut.
void SetThreadName(const std::string& name);
Result<> PinThread(int core);
// Higher = less CPU when cores are short. Never fails for values from 0 up.
Result<> SetThreadNice(int nice);
// How long the thread runs at a time when others want its core too (0.1 to 100 ms). One
// with a shorter slice than the thread it finds there does not wait for that one's end.
// Kernels before 6.12 do not know it and change nothing; nor does it concern a thread that
// was given a real-time policy.
Result<> SetThreadSlice(Duration slice);

// --- the process ---

// Raises the soft limit on descriptors to the hard one; returns what holds now.
Result<std::uint64_t> RaiseFileLimit();

}  // namespace ringscale::core::engine

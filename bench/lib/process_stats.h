// What a process has used, read from /proc. For measuring the server beside the
// load; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringscale::bench {

struct ProcessStats {
  double cpu_seconds = 0;  // user + system of all threads so far
  std::uint64_t rss_bytes = 0;
  std::uint64_t peak_rss_bytes = 0;
};

std::optional<ProcessStats> ReadProcessStats(pid_t pid);
// What this machine's kernel keeps in its slabs, sockets above all; 0 when not known.
std::uint64_t KernelSlabBytes();
// How many descriptors it has open.
std::optional<std::size_t> CountDescriptors(pid_t pid);
// CPU seconds of this process.
double OwnCpuSeconds();
// The process that listens on a TCP port of this machine; nullopt when it cannot
// be told (another user's process, another machine).
std::optional<pid_t> FindListener(std::uint16_t port);

// The value below which `fraction` of the samples lie (nearest rank); 0 when empty.
double Percentile(std::vector<double> samples, double fraction);

}  // namespace ringscale::bench

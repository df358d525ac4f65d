#include "bench/lib/process_stats.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace ringscale::bench {
namespace {

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::uint64_t StatusKib(const std::string& status, const char* name) {
  const auto at = status.find(name);
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + std::strlen(name), nullptr, 10);
}

// The inode of the socket that listens on `port`, from one table of /proc/net.
std::optional<std::uint64_t> ListeningInode(const char* table, std::uint16_t port) {
  std::ifstream in(table);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
        timeout >> inode;
    const auto colon = local.rfind(':');
    if (state != "0A" || colon == std::string::npos) continue;
    if (std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) {
      return std::strtoull(inode.c_str(), nullptr, 10);
    }
  }
  return std::nullopt;
}

bool HoldsSocket(const std::string& pid, std::uint64_t inode) {
  const std::string folder = "/proc/" + pid + "/fd";
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return false;
  const std::string wanted = "socket:[" + std::to_string(inode) + "]";
  bool found = false;
  while (const dirent* entry = readdir(entries)) {
    char target[64] = {};
    const std::string link = folder + "/" + entry->d_name;
    const ssize_t n = readlink(link.c_str(), target, sizeof target - 1);
    if (n > 0 && wanted == std::string_view(target, static_cast<std::size_t>(n))) {
      found = true;
      break;
    }
  }
  closedir(entries);
  return found;
}

}  // namespace

std::optional<ProcessStats> ReadProcessStats(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const auto status = ReadFile(folder + "/status");
  clockid_t clock{};
  timespec used{};
  if (!status || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
    return std::nullopt;
  }
  ProcessStats stats;
  stats.cpu_seconds = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
  stats.rss_bytes = StatusKib(*status, "VmRSS:") * 1024;
  stats.peak_rss_bytes = StatusKib(*status, "VmHWM:") * 1024;
  return stats;
}

std::uint64_t KernelSlabBytes() {
  const auto meminfo = ReadFile("/proc/meminfo");
  return meminfo ? StatusKib(*meminfo, "\nSlab:") * 1024 : 0;
}

std::optional<std::size_t> CountDescriptors(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return std::nullopt;
  std::size_t count = 0;
  while (const dirent* entry = readdir(entries)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(entries);
  return count;
}

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::optional<pid_t> FindListener(std::uint16_t port) {
  auto inode = ListeningInode("/proc/net/tcp", port);
  if (!inode) inode = ListeningInode("/proc/net/tcp6", port);
  if (!inode) return std::nullopt;
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return std::nullopt;
  std::optional<pid_t> found;
  while (const dirent* entry = readdir(processes)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    if (HoldsSocket(entry->d_name, *inode)) {
      found = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
      break;
    }
  }
  closedir(processes);
  return found;
}

double Percentile(std::vector<double> samples, double fraction) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const double rank = std::ceil(fraction * static_cast<double>(samples.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return samples[std::min(index, samples.size() - 1)];
}

}  // namespace ringscale::bench

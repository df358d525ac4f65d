#include "core/engine/topology.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>

#include "core/base/fd.h"

namespace ringscale::core::engine {
namespace {

std::optional<std::string> ReadSmallFile(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  std::string text(4096, '\0');
  const ssize_t got = read(file.get(), text.data(), text.size());
  if (got < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(got));
  return text;
}

std::optional<std::int64_t> TakeNumber(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::optional<double> Quota(std::int64_t quota, std::int64_t period) {
  if (quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<double>(quota) / static_cast<double>(period);
}

std::optional<double> ReadV1(const std::string& folder) {
  const auto quota_text = ReadSmallFile(folder + "/cpu.cfs_quota_us");
  const auto period_text = ReadSmallFile(folder + "/cpu.cfs_period_us");
  if (!quota_text || !period_text) return std::nullopt;
  std::string_view quota_view = *quota_text;
  std::string_view period_view = *period_text;
  const auto quota = TakeNumber(quota_view);
  const auto period = TakeNumber(period_view);
  if (!quota || !period) return std::nullopt;
  return Quota(*quota, *period);
}

void Tighten(std::optional<double>& limit, std::optional<double> other) {
  if (other) limit = limit ? std::min(*limit, *other) : *other;
}

// The quota of a group and of every group above it. In a container the path may
// be one of the host that is not visible here; then only the root counts.
template <class Read>
std::optional<double> TightestUpward(const std::string& root, std::string path, Read&& read_quota) {
  std::optional<double> limit;
  while (!path.empty() && path != "/") {
    Tighten(limit, read_quota(root + path));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  Tighten(limit, read_quota(root));
  return limit;
}

// One line of /proc/self/cgroup: "<id>:<controllers>:<path>".
std::optional<double> LimitOfLine(std::string_view line, const std::string& cgroup_root) {
  const auto first = line.find(':');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = line.find(':', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view controllers = line.substr(first + 1, second - first - 1);
  const std::string path(line.substr(second + 1));
  if (controllers.empty()) {
    return TightestUpward(cgroup_root, path, [](const std::string& folder) {
      const auto text = ReadSmallFile(folder + "/cpu.max");
      return text ? ParseCpuMax(*text) : std::nullopt;
    });
  }
  const std::string listed = "," + std::string(controllers) + ",";
  if (!listed.contains(",cpu,")) return std::nullopt;
  std::optional<double> limit;
  for (const std::string& mount : {std::string(controllers), std::string("cpu")}) {
    Tighten(limit, TightestUpward(cgroup_root + "/" + mount, path, ReadV1));
  }
  return limit;
}

std::vector<int> AffinityCores() {
  // Masks of machines with more than 1,024 CPUs need more room.
  for (std::size_t cpus = 1024; cpus <= 65536; cpus *= 4) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(bytes, set);
    std::vector<int> cores;
    if (sched_getaffinity(0, bytes, set) == 0) {
      for (std::size_t core = 0; core < cpus; ++core) {
        if (CPU_ISSET_S(core, bytes, set)) cores.push_back(static_cast<int>(core));
      }
    }
    CPU_FREE(set);
    if (!cores.empty()) return cores;
  }
  return {0};
}

}  // namespace

std::size_t Topology::WorkerCount() const {
  std::size_t count = std::max<std::size_t>(cores.size(), 1);
  if (cpu_limit) {
    const auto fed = static_cast<std::size_t>(std::ceil(std::min(*cpu_limit, 65536.0)));
    count = std::clamp<std::size_t>(fed, 1, count);
  }
  return count;
}

std::optional<double> ParseCpuMax(std::string_view text) {
  if (text.starts_with("max")) return std::nullopt;
  const auto quota = TakeNumber(text);
  if (!quota) return std::nullopt;
  const auto period = TakeNumber(text);
  if (!period) return std::nullopt;
  return Quota(*quota, *period);
}

Topology DetectTopology(const std::string& proc_root, const std::string& cgroup_root) {
  Topology topology;
  topology.cores = AffinityCores();
  const auto groups = ReadSmallFile(proc_root + "/self/cgroup");
  std::string_view rest = groups ? std::string_view(*groups) : std::string_view();
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    Tighten(topology.cpu_limit, LimitOfLine(rest.substr(0, end), cgroup_root));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return topology;
}

void SetThreadName(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

Result<> PinThread(int core) {
  if (core < 0) return Fail(ErrorCode::kInvalid, "no core " + std::to_string(core));
  const auto cpus = static_cast<std::size_t>(core) + 1;
  cpu_set_t* const set = CPU_ALLOC(cpus);
  if (set == nullptr) return Fail(ErrorCode::kLimit, "no memory for a set of cores");
  const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
  CPU_ZERO_S(bytes, set);
  CPU_SET_S(static_cast<std::size_t>(core), bytes, set);
  const int error = pthread_setaffinity_np(pthread_self(), bytes, set);
  CPU_FREE(set);
  if (error != 0) return FailErrno("pinning a thread to core " + std::to_string(core), error);
  return {};
}

Result<> SetThreadNice(int nice) {
  // On Linux the priority belongs to the thread, whatever POSIX says.
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice) != 0) {
    return FailErrno("setting nice " + std::to_string(nice), errno);
  }
  return {};
}

Result<> SetThreadSlice(Duration slice) {
  // glibc has no wrapper, and its headers collide with the kernel's structure.
  struct Attributes {
    std::uint32_t size = sizeof(Attributes);
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0;
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
  } attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) {
    return FailErrno("reading how a thread is scheduled", errno);
  }
  if (attributes.policy != SCHED_OTHER) return {};
  attributes.runtime = static_cast<std::uint64_t>(slice.ns);
  if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0) {
    return FailErrno("setting a thread's slice", errno);
  }
  return {};
}

Result<std::uint64_t> RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return FailErrno("getrlimit", errno);
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  return static_cast<std::uint64_t>(limit.rlim_cur);
}

}  // namespace ringscale::core::engine

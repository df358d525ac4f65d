#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "core/engine/core_dumps.h"
#include "core/engine/loop_thread.h"
#include "core/engine/signals.h"
#include "core/engine/topology.h"
#include "tests/support/temp_folder.h"

namespace ringscale::core::engine {
namespace {

TEST(CoreDumps, AreForbidden) {
  const auto forbidden = [] {
    const auto done = ForbidCoreDumps();
    rlimit limit{1, 1};
    getrlimit(RLIMIT_CORE, &limit);
    const bool none = done && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && limit.rlim_cur == 0 &&
                      limit.rlim_max == 0;
    std::_Exit(none ? 0 : 1);
  };
  EXPECT_EXIT(forbidden(), testing::ExitedWithCode(0), "");
}

TEST(LoopThread, RunsTasksOnAThreadPlacedAsAsked) {
  const Topology topology = DetectTopology();
  LoopThreadOptions options;
  options.loop.name = "a-very-long-thread-name";
  options.nice = 3;
  options.core = topology.cores.back();
  auto thread = LoopThread::Start(options);
  ASSERT_TRUE(thread.has_value()) << thread.error().message;
  std::promise<void> done;
  EXPECT_TRUE((*thread)->loop().Post([&] {
    char name[32] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    EXPECT_STREQ(name, "a-very-long-thr");
    EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())), 3);
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    EXPECT_TRUE(CPU_ISSET(static_cast<std::size_t>(topology.cores.back()), &set));
    done.set_value();
  }));
  done.get_future().wait();
  (*thread)->Join();
  (*thread)->Join();
}

TEST(ThreadSlice, IsWhatTheKernelThenSays) {
  // Of struct sched_attr: its size, then at 24 the slice, which kernels before 6.12 leave 0.
  const auto slice = [] {
    std::array<std::uint64_t, 7> attributes{};
    EXPECT_EQ(syscall(SYS_sched_getattr, 0, attributes.data(), sizeof attributes, 0), 0);
    return attributes[3];
  };
  std::thread([&] {
    const bool known = slice() != 0;
    ASSERT_TRUE(SetThreadNice(2));
    ASSERT_TRUE(SetThreadSlice(Micros(700)));
    EXPECT_EQ(slice(), known ? 700'000u : 0u);
    EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())), 2);
  }).join();
}

TEST(LoopThread, TwoThreadsThatPostToEachOtherStopCleanly) {
  LoopThreadOptions options;
  auto first = LoopThread::Start(options);
  auto second = LoopThread::Start(options);
  ASSERT_TRUE(first.has_value() && second.has_value());
  struct Bouncer {
    Loop& a;
    Loop& b;
    void Bounce() {
      // Refused once the other has stopped: the ball is dropped then.
      (void)a.Post([this] { (void)b.Post([this] { Bounce(); }); });
    }
  } bouncer{(*first)->loop(), (*second)->loop()};
  for (int i = 0; i < 10; ++i) bouncer.Bounce();
  std::promise<void> round_trip;
  EXPECT_TRUE((*first)->loop().Post(
      [&] { EXPECT_TRUE((*second)->loop().Post([&] { round_trip.set_value(); })); }));
  round_trip.get_future().wait();
  // The second goes on posting to the first, whose thread is gone by then.
  (*first)->Join();
  EXPECT_FALSE((*first)->loop().Post([] {}));
  (*second)->Join();
}

TEST(LoopThread, ABadLoopIsAnError) {
  LoopThreadOptions options;
  options.loop.buffer_count = 3;  // no power of two
  EXPECT_FALSE(LoopThread::Start(options).has_value());
}

class TopologyFiles : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + "/" + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  [[nodiscard]] std::optional<double> Limit() const {
    return DetectTopology(root_ + "/proc", root_ + "/cgroup").cpu_limit;
  }
  const tests::TempFolder temp_;
  const std::string& root_ = temp_.path();
};

TEST_F(TopologyFiles, ReadsTheTightestQuotaOfCgroupV2) {
  Write("proc/self/cgroup", "0::/outer/inner\n");
  EXPECT_FALSE(Limit().has_value());
  Write("cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_FALSE(Limit().has_value());
  Write("cgroup/outer/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(Limit().value_or(0), 1.5);
  Write("cgroup/outer/inner/cpu.max", "25000 100000\n");
  EXPECT_DOUBLE_EQ(Limit().value_or(0), 0.25);
}

TEST_F(TopologyFiles, ReadsTheRootOfAContainer) {
  Write("proc/self/cgroup", "0::/\n");
  Write("cgroup/cpu.max", "50000 20000\n");
  EXPECT_DOUBLE_EQ(Limit().value_or(0), 2.5);
}

TEST_F(TopologyFiles, ReadsCgroupV1) {
  Write("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n");
  Write("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  Write("cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(Limit().has_value());
  Write("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  EXPECT_DOUBLE_EQ(Limit().value_or(0), 3.0);
}

TEST_F(TopologyFiles, BadFilesMeanNoQuota) {
  Write("proc/self/cgroup", "nonsense\n:::\n0::\n");
  Write("cgroup/cpu.max", "12");
  EXPECT_FALSE(Limit().has_value());
}

TEST(Topology, ParsesCpuMax) {
  EXPECT_DOUBLE_EQ(ParseCpuMax("100000 100000").value_or(0), 1.0);
  for (const char* bad : {"", "max", "max 100000", "x", "5", "5 0", "-5 100", "5 x"}) {
    EXPECT_FALSE(ParseCpuMax(bad).has_value()) << bad;
  }
}

TEST(Topology, WorkerCountFollowsCoresAndQuota) {
  Topology topology;
  topology.cores = {0, 1, 2, 3};
  EXPECT_EQ(topology.WorkerCount(), 4u);
  topology.cpu_limit = 0.25;
  EXPECT_EQ(topology.WorkerCount(), 1u);
  topology.cpu_limit = 1.5;
  EXPECT_EQ(topology.WorkerCount(), 2u);
  topology.cpu_limit = 64;
  EXPECT_EQ(topology.WorkerCount(), 4u);
  EXPECT_GE(DetectTopology().WorkerCount(), 1u);
}

TEST(Topology, FollowsTheAffinityMask) {
  std::future<void> other = std::async(std::launch::async, [] {
    const int core = DetectTopology().cores.front();
    ASSERT_TRUE(PinThread(core).has_value());
    EXPECT_EQ(DetectTopology().cores, std::vector<int>{core});
  });
  other.get();
  EXPECT_FALSE(PinThread(-1).has_value());
  EXPECT_FALSE(PinThread(60'000).has_value());
}

TEST(Topology, RaisesTheFileLimit) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 256);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(RaiseFileLimit().value_or(0), limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(Signals, ArriveAsCalls) {
  std::promise<int> first;
  std::promise<int> second;
  int calls = 0;
  auto watcher = SignalWatcher::Start(
      {SIGUSR1, SIGUSR2}, [&](int signal) { (++calls == 1 ? first : second).set_value(signal); });
  ASSERT_TRUE(watcher.has_value()) << watcher.error().message;
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(first.get_future().get(), SIGUSR1);
  kill(getpid(), SIGUSR2);
  EXPECT_EQ(second.get_future().get(), SIGUSR2);
  watcher->reset();
  kill(getpid(), SIGUSR1);  // still blocked: does not kill us
  sigset_t pending;
  sigpending(&pending);
  EXPECT_TRUE(sigismember(&pending, SIGUSR1));
}

TEST(Signals, ABrokenPipeIsAnError) {
  IgnoreBrokenPipes();
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1);
  close(ends[1]);
}

}  // namespace
}  // namespace ringscale::core::engine

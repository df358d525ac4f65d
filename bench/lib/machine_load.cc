#include "bench/lib/machine_load.h"

#include <time.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace ringscale::bench {
namespace {

constexpr core::Duration kLook = core::Millis(500);
constexpr double kQuietCores = 0.1;

}  // namespace

std::optional<double> MachineCpuSeconds() {
  std::ifstream in("/proc/stat");
  std::string label;
  double user = 0;
  double nice = 0;
  double system = 0;
  double idle = 0;
  double waiting = 0;
  double interrupts = 0;
  double soft_interrupts = 0;
  double stolen = 0;
  if (!(in >> label >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >>
        stolen)) {
    return std::nullopt;
  }
  return (user + nice + system + interrupts + soft_interrupts + stolen) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

double OwnThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void SleepFor(core::Duration duration) {
  const timespec time{.tv_sec = duration.ns / 1'000'000'000,
                      .tv_nsec = duration.ns % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

bool WaitForQuietMachine(core::Duration limit) {
  const core::Instant until = core::MonotonicNow() + limit;
  for (;;) {
    const auto before = MachineCpuSeconds();
    const core::Instant began = core::MonotonicNow();
    SleepFor(kLook);
    const auto after = MachineCpuSeconds();
    if (!before || !after) return false;
    const core::Instant now = core::MonotonicNow();
    if ((*after - *before) / (now - began).seconds() < kQuietCores) return true;
    if (now >= until) return false;
  }
}

}  // namespace ringscale::bench

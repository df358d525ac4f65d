// Seeded simulations of the relays of a region. A failing seed prints "seed=N"; run it
// again alone with RINGSCALE_SIM_SEED=N.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/simulation.h"

namespace ringscale::sim {
namespace {

constexpr int kParts = 10;

// 2,000 in all; RINGSCALE_SIM_SEEDS asks for another number.
std::uint64_t SeedsPerPart() {
  const char* wanted = std::getenv("RINGSCALE_SIM_SEEDS");
  return (wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 2000) / kParts;
}

// A broken invariant inside the relay aborts: the seed is printed then too.
std::uint64_t running_seed = 0;

void PrintSeed(int) {
  std::fprintf(stderr, "seed=%llu\n", static_cast<unsigned long long>(running_seed));
}

std::string RunSeed(std::uint64_t seed) {
  running_seed = seed;
  std::signal(SIGABRT, PrintSeed);
  const std::string problem = Simulation(seed).Run();
  std::signal(SIGABRT, SIG_DFL);
  return problem;
}

class RelaySimulation : public testing::TestWithParam<int> {};

TEST_P(RelaySimulation, HoldsItsInvariants) {
  if (const char* only = std::getenv("RINGSCALE_SIM_SEED")) {
    if (GetParam() != 0) GTEST_SKIP() << "RINGSCALE_SIM_SEED is set";
    const std::uint64_t seed = std::strtoull(only, nullptr, 10);
    EXPECT_EQ(RunSeed(seed), "") << "seed=" << seed;
    return;
  }
  const std::uint64_t count = SeedsPerPart();
  ASSERT_GT(count, 0U) << "RINGSCALE_SIM_SEEDS is at least " << kParts;
  const auto first = static_cast<std::uint64_t>(GetParam()) * count;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    ASSERT_EQ(RunSeed(seed), "") << "seed=" << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RelaySimulation, testing::Range(0, kParts));

// A simulation in which nothing happens finds nothing.
TEST(RelaySimulationItself, ReachesWhatItIsFor) {
  Simulation::Seen seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Simulation simulation(seed);
    ASSERT_EQ(simulation.Run(), "") << "seed=" << seed;
    seen += simulation.seen();
  }
  for (const auto& [what, times] : seen.counts) EXPECT_GT(times, 0u) << what;
}

TEST(RelaySimulationItself, RunsTheSameTwice) {
  for (const std::uint64_t seed : {3u, 14u, 159u}) {
    Simulation first(seed);
    Simulation second(seed);
    EXPECT_EQ(first.Run(), second.Run());
    EXPECT_EQ(first.fingerprint(), second.fingerprint());
  }
}

}  // namespace
}  // namespace ringscale::sim

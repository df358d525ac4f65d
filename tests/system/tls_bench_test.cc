// ringscale-bench tls on this machine: it measures what there is, and what it does
// not measure it names. No figure is judged.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/tls/kernel_tls.h"
#include "tests/system/bench_process.h"

namespace ringscale::tests {
namespace {

TEST(TlsBench, MeasuresWhatThereIsAndSaysWhatToSet) {
  const core::tls::KernelTlsSupport support = core::tls::ProbeKernelTls({});
  const Finished finished = RunBench("tls --quiet --rounds 1 --seconds 0.5 --pairs 2");
  ASSERT_EQ(finished.status, 0) << finished.output;
  const auto says = [&](std::string_view text) {
    return finished.output.find(text) != std::string::npos;
  };
  EXPECT_TRUE(finished.output.starts_with(support.why + "\n")) << finished.output;
  EXPECT_TRUE(says("user     as fast as possible")) << finished.output;
  EXPECT_TRUE(says("user     200 Mbit/s")) << finished.output;
  EXPECT_EQ(says("kernel   as fast as possible"), support.available) << finished.output;
  EXPECT_EQ(says("could not be measured"), !support.available) << finished.output;
  EXPECT_TRUE(says("set engine.tls = \"")) << finished.output;
}

TEST(TlsBench, AServerThatDoesNotStartIsAnError) {
  const Finished missing = RunBench("tls --quiet --server /nonexistent/ringscale");
  EXPECT_EQ(missing.status, 1);
  EXPECT_NE(missing.output.find("/nonexistent/ringscale"), std::string::npos) << missing.output;
  const Finished silent = RunBench("tls --quiet --server /bin/false");
  EXPECT_EQ(silent.status, 1);
  EXPECT_NE(silent.output.find("/bin/false does not serve"), std::string::npos) << silent.output;
}

}  // namespace
}  // namespace ringscale::tests

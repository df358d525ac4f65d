// ringscale-bench relay soak against a relay for a minute: its verdict is good.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/temp_folder.h"
#include "tests/system/bench_process.h"
#include "tests/system/relay_process.h"

namespace ringscale::tests {
namespace {

class RelaySoakTest : public testing::Test {
 protected:
  void SetUp() override { relay_ = std::make_unique<RelayProcess>(folder_); }
  void TearDown() override { relay_.reset(); }
  Finished Soak(const std::string& arguments) const {
    return RunBench("relay --quiet --json --url " + relay_->url() + " --pid " +
                    std::to_string(relay_->pid()) + " soak " + arguments);
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<RelayProcess> relay_;
};

TEST_F(RelaySoakTest, AMinuteOfComingGoingAndMisbehaving) {
  const Finished finished = Soak("--connections 400 --life 5 --seconds 60");
  ASSERT_EQ(finished.status, 0) << finished.output << relay_->LogTail();
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  ASSERT_EQ(parser.parse(finished.output).get(root), simdjson::SUCCESS) << finished.output;
  const simdjson::dom::element soak = simdjson::dom::array(root["soak"]).at(0);
  EXPECT_EQ(simdjson::dom::array(soak["complaints"]).size(), 0u);
  EXPECT_GT(std::uint64_t(soak["received"]), 1000u);
  for (const auto& [role, lives] : simdjson::dom::object(soak["lives"])) {
    EXPECT_GT(std::uint64_t(lives), 10u) << role;
  }
  EXPECT_EQ(std::uint64_t(soak["after"]["descriptors"]),
            std::uint64_t(soak["before"]["descriptors"]));
  EXPECT_TRUE(relay_->Running());
}

}  // namespace
}  // namespace ringscale::tests

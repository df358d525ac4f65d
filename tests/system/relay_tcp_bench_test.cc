// ringscale-bench relay tcp against a running relay: the kernel's TCP really goes
// through it, at the pace of its receiver. Functional; no figure is judged.
#include <gtest/gtest.h>
#include <simdjson.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "tests/support/temp_folder.h"
#include "tests/system/bench_process.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

class RelayTcpBenchTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    // What the children take before their configuration file.
    setenv("RINGSCALE_DERP_ENABLED", "true", 1);
    setenv("RINGSCALE_DERP_STUN_LISTEN", "", 1);
    setenv("RINGSCALE_DERP_VERIFY_CLIENTS", "false", 1);
    server_ = std::make_unique<ServerProcess>(folder_);
    const auto started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void TearDown() override {
    server_.reset();
    for (const char* name : {"RINGSCALE_DERP_ENABLED", "RINGSCALE_DERP_STUN_LISTEN",
                             "RINGSCALE_DERP_VERIFY_CLIENTS"}) {
      unsetenv(name);
    }
  }

  [[nodiscard]] Finished Bench(const std::string& url, const std::string& arguments) const {
    return RunBench("relay --quiet --json --pid " + std::to_string(server_->pid()) + " --url " +
                    url + " tcp --seconds 0.5 --warm-up 0.2 " + arguments);
  }

  // Checks what every run has; the rows.
  static simdjson::dom::array Rows(simdjson::dom::parser& parser, const Finished& finished) {
    simdjson::dom::element root;
    EXPECT_EQ(finished.status, 0) << finished.output;
    EXPECT_EQ(parser.parse(finished.output).get(root), simdjson::SUCCESS) << finished.output;
    simdjson::dom::array rows;
    EXPECT_EQ(root["records"].get(rows), simdjson::SUCCESS) << finished.output;
    for (const simdjson::dom::element row : rows) {
      for (const char* more : {"delivered_mbit", "packets", "segments", "window_bytes"}) {
        EXPECT_GT(Number(row, more), 0) << more;
      }
      // Every delivered segment of the flows is a packet of the tunnel.
      EXPECT_GE(Number(row, "packets") * 1280,
                Number(row, "delivered_mbit") * 1e6 / 8 * Number(row, "seconds") / 2);
      for (const char* delays :
           {"tcp_rtt_samples", "data_pings", "disco_pings", "bystander_pings"}) {
        EXPECT_GT(Number(row, delays), 0) << delays;
      }
    }
    return rows;
  }
  static double Number(simdjson::dom::element from, const char* key) {
    double value = -1;
    EXPECT_EQ(from[key].get(value), simdjson::SUCCESS) << key;
    return value;
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(RelayTcpBenchTest, FlowsThroughTheRelay) {
  for (const char* scheme : {"derp://", "derps://"}) {
    simdjson::dom::parser parser;
    const auto rows = Rows(parser, Bench(scheme + server_->host(), "--flows 1 --flows 3"));
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(Number(rows.at(0), "flows"), 1);
    EXPECT_EQ(Number(rows.at(1), "flows"), 3);
  }
}

TEST_F(RelayTcpBenchTest, ASlowReceiverSetsThePace) {
  simdjson::dom::parser parser;
  const auto rows =
      Rows(parser, Bench("derps://" + server_->host(), "--flows 1 --receiver-rate 10 --rtt 4"));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(Number(rows.at(0), "receiver_mbit"), 10);
  EXPECT_EQ(Number(rows.at(0), "added_round_trip_ms"), 4);
  EXPECT_LT(Number(rows.at(0), "delivered_mbit"), 20);
}

TEST_F(RelayTcpBenchTest, ErrorsSayWhatIsWrong) {
  const auto expect = [](const Finished& finished, std::string_view text) {
    EXPECT_NE(finished.status, 0);
    EXPECT_NE(finished.output.find(text), std::string::npos) << finished.output;
  };
  expect(Bench("derp://127.0.0.1:1", ""), "127.0.0.1:1");
  expect(Bench("derp://" + server_->host(), "--metrics http://" + server_->host() + "/no-page"),
         "/no-page answers HTTP/1.1 404");
}

}  // namespace
}  // namespace ringscale::tests

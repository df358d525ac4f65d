// ringscale-bench control against a running server: what it prints is complete and
// says that every node got there. Functional; no figure is judged.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/temp_folder.h"
#include "tests/system/bench_process.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

constexpr std::uint64_t kNodes = 20;
constexpr std::uint64_t kChanges = 3;

class ControlBenchTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<ServerProcess>(folder_);
    const auto started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
    ASSERT_TRUE(server_->Command("users create bench"));
    auto key = server_->Command("preauthkeys create --user bench --reusable");
    ASSERT_TRUE(key) << key.error().message;
    key_ = key->substr(0, key->find('\n'));
  }
  void TearDown() override { server_.reset(); }

  Finished Bench(const std::string& arguments, std::uint64_t nodes = kNodes) const {
    return RunBench("control --quiet --json --pid " + std::to_string(server_->pid()) + " --nodes " +
                    std::to_string(nodes) + " --changes " + std::to_string(kChanges) + " " +
                    arguments);
  }

  static void ExpectComplete(const Finished& finished) {
    ASSERT_EQ(finished.status, 0) << finished.output;
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    ASSERT_EQ(parser.parse(finished.output).get(root), simdjson::SUCCESS) << finished.output;
    const auto number = [&](simdjson::dom::element from, std::string_view key) {
      double value = -1;
      EXPECT_EQ(from[key].get(value), simdjson::SUCCESS) << key << " in " << finished.output;
      return value;
    };
    std::string names;
    for (simdjson::dom::element phase : simdjson::dom::array(root["phases"])) {
      const std::string_view name = phase["name"];
      names += name;
      names += ' ';
      EXPECT_EQ(number(phase, "done"), name == "changes" ? kChanges : kNodes) << name;
      EXPECT_EQ(number(phase, "failed"), 0) << name;
      EXPECT_GT(number(phase, "server_cpu_s"), 0) << name;
      EXPECT_GT(number(phase, "rss_bytes"), 0) << name;
      EXPECT_GT(number(phase, "bytes"), 0) << name;
    }
    EXPECT_EQ(names, "register connect changes reconnect ");
    const simdjson::dom::element maps = root["full_map"];
    EXPECT_EQ(number(maps, "decoded"), kNodes);
    EXPECT_EQ(number(maps, "damaged"), 0);
    EXPECT_EQ(number(maps, "peers_least"), kNodes - 1);
    EXPECT_EQ(number(maps, "peers_most"), kNodes - 1);
    EXPECT_GT(number(maps, "bytes_per_peer"), 0);
    const simdjson::dom::element change = root["change"];
    EXPECT_EQ(number(change, "count"), kChanges);
    EXPECT_EQ(number(change, "not_told"), 0);
    EXPECT_GT(number(change, "p99_ms"), 0);
    EXPECT_GT(number(change, "bytes_each"), 0);
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<ServerProcess> server_;
  std::string key_;
};

TEST_F(ControlBenchTest, Http) {
  ExpectComplete(Bench("--server http://" + server_->host() + " --auth-key " + key_));
}

TEST_F(ControlBenchTest, HttpsWithTheServersOwnAuthority) {
  const std::string url = " --server https://" + server_->host() + " --auth-key " + key_;
  const Finished refused = Bench(url);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.output.find("certificate verify failed"), std::string::npos) << refused.output;
  ExpectComplete(Bench(url + " --ca " + folder_ + "/data/tls-ca.pem"));
}

TEST_F(ControlBenchTest, HttpsWithoutAnyAuthority) {
  ExpectComplete(Bench("--insecure --server https://" + server_->host() + " --auth-key " + key_));
}

TEST_F(ControlBenchTest, ErrorsSayWhatIsWrong) {
  const std::string server = "--server http://" + server_->host();
  const auto expect = [](const Finished& finished, std::string_view text) {
    EXPECT_NE(finished.status, 0);
    EXPECT_NE(finished.output.find(text), std::string::npos) << finished.output;
  };
  expect(Bench(server + " --auth-key hskey-auth-wrong"), "no node could register");
  expect(Bench("--server ftp://127.0.0.1 --auth-key " + key_), "http://HOST:PORT");
  expect(Bench(server + " --auth-key " + key_, 100'000'000), "file descriptor");
  server_->KillNine();
  ASSERT_TRUE(server_->Start());
  ExpectComplete(Bench(server + " --auth-key " + key_));
}

}  // namespace
}  // namespace ringscale::tests

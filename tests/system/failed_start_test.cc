// A start that fails: the log's last line says why, in the log's format, and once.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/temp_folder.h"

namespace ringscale::tests {
namespace {

class FailedStart : public testing::Test {
 protected:
  // What `ringscale serve` says with this configuration, and its exit status.
  std::pair<std::string, int> Serve(const std::string& config) {
    const char* const binary = std::getenv("RINGSCALE_BINARY");
    EXPECT_NE(binary, nullptr);
    const std::string path = folder_ + "/ringscale.toml";
    std::ofstream(path) << config;
    const std::string line =
        std::string(binary) + " serve --config " + path + " --data-dir " + folder_ + "/data 2>&1";
    FILE* pipe = popen(line.c_str(), "r");
    std::string output;
    char piece[4096];
    std::size_t n = 0;
    while ((n = fread(piece, 1, sizeof piece, pipe)) > 0) output.append(piece, n);
    const int status = pclose(pipe);
    return {output, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
};

// An address that no machine has (RFC 5737).
constexpr const char* kConfig = "listen = [\"192.0.2.1:80\"]\n";

TEST_F(FailedStart, TheReasonIsTheLastLine) {
  const auto [output, status] = Serve(kConfig);
  EXPECT_EQ(status, 1);
  const std::string last = output.substr(output.rfind('\n', output.size() - 2) + 1);
  EXPECT_NE(last.find("cannot start: " + folder_ + "/ringscale.toml:1: listen: "),
            std::string::npos)
      << output;
  EXPECT_EQ(output.find("stopp"), std::string::npos) << "it had not started: " << output;
  EXPECT_EQ(output.find("Error:"), std::string::npos) << output;
}

TEST_F(FailedStart, InTheFormatOfTheLog) {
  const auto [output, status] = Serve(std::string(kConfig) + "[log]\nformat = \"json\"\n");
  EXPECT_EQ(status, 1);
  for (std::size_t at = 0; at < output.size(); at = output.find('\n', at) + 1) {
    EXPECT_EQ(output[at], '{') << output;
  }
}

}  // namespace
}  // namespace ringscale::tests

// SIGHUP: what a running server takes over, what it says needs a restart, and what it
// refuses as a whole.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "tests/support/temp_folder.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

class ReloadTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<ServerProcess>(folder_);
    std::ifstream in(Path());
    std::stringstream text;
    text << in.rdbuf();
    base_ = text.str();
    const auto started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void TearDown() override { EXPECT_EQ(server_->Terminate(), 0) << server_->LogTail(); }

  // The configuration becomes what it was at first with `more` at its end.
  void Configure(const std::string& more) { std::ofstream(Path()) << base_ << more; }
  // Sends SIGHUP and waits until the log has said what came of it; the new lines.
  std::string Reload() {
    const std::size_t before = Log().size();
    kill(server_->pid(), SIGHUP);
    for (int i = 0; i < 2000; ++i) {
      const std::string lines = Log().substr(before);
      // The last line of either.
      for (const char* end : {"configuration reloaded", "configuration not reloaded"}) {
        const auto at = lines.find(end);
        if (at != std::string::npos && lines.find('\n', at) != std::string::npos) return lines;
      }
      poll(nullptr, 0, 5);
    }
    return "no answer to SIGHUP";
  }
  [[nodiscard]] std::string Path() const { return folder_ + "/ringscale.toml"; }
  // "<file>:<line>" of the n-th line after those at first.
  [[nodiscard]] std::string Line(std::ptrdiff_t n) const {
    return Path() + ":" + std::to_string(std::count(base_.begin(), base_.end(), '\n') + n);
  }
  [[nodiscard]] std::string Log() const {
    std::ifstream in(folder_ + "/server.log");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::string base_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(ReloadTest, TakesOverWhatItCanAndNamesTheRest) {
  const std::string policy = folder_ + "/policy.hujson";
  std::ofstream(policy) << R"({"grants":[]})";
  Configure("[policy]\npath = \"" + policy + "\"\n[node]\nexpiry = \"1d\"\n" +
            "[engine]\nfronts = 3\n[prefixes]\nv6 = \"\"\n");
  const std::string log = Reload();
  EXPECT_TRUE(Has(log, "configuration reloaded changed=\"policy.path node.expiry\"")) << log;
  EXPECT_TRUE(Has(log, "need a restart keys=\"prefixes.v6 engine.fronts\"")) << log;
  const auto shown = server_->Command("policy get");
  ASSERT_TRUE(shown) << shown.error().message;
  EXPECT_TRUE(Has(*shown, "grants")) << *shown;

  // Back again: nothing is left that needs a restart.
  Configure("");
  const std::string again = Reload();
  EXPECT_TRUE(Has(again, "changed=\"policy.path node.expiry\"")) << again;
  EXPECT_FALSE(Has(again, "restart")) << again;
}

TEST_F(ReloadTest, ABadConfigurationChangesNothing) {
  Configure("[log]\nformat = \"json\"\n[node]\nexpiry = \"soon\"\n");
  const std::string wrong = Reload();
  EXPECT_TRUE(Has(wrong, Line(4) + ": node.expiry: expected a duration")) << wrong;
  EXPECT_FALSE(Has(wrong, "{")) << "the format is the old one: " << wrong;

  Configure("[tls]\ncert = \"/nope.pem\"\nkey = \"/nope.key\"\n[log]\nformat = \"json\"\n");
  const std::string missing = Reload();
  EXPECT_TRUE(Has(missing, Line(2) + ": tls.cert: expected a certificate chain")) << missing;
  EXPECT_FALSE(Has(missing, "{")) << missing;

  Configure("[log]\nformat = \"json\"\n");
  const std::string right = Reload();
  EXPECT_TRUE(Has(right, "\"changed\":\"log.format\"")) << right;
}

}  // namespace
}  // namespace ringscale::tests

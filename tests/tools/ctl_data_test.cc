// backup and restore, and what the composition root is given.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/tools/ctl_support.h"

namespace ringscale::ctl::testing {
namespace {

class CtlBackup : public ::testing::Test {
 protected:
  static std::string Read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string File(const std::string& name) const { return server_.folder() / name; }
  std::size_t Files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(server_.folder() / ""), {}));
  }
  FakeServer server_;
};

TEST_F(CtlBackup, WritesAPrivateFile) {
  server_.Answer("GET /local/backup", "the backup");
  const Outcome outcome = server_.Run("backup " + File("b"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Read(File("b")), "the backup");
  struct stat info{};
  ASSERT_EQ(::stat(File("b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);

  // An existing file stays unless it may go.
  server_.Answer("GET /local/backup", "another");
  server_.TakeAsked();
  const Outcome again = server_.Run("backup " + File("b"));
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.err.find("--force"), std::string::npos);
  EXPECT_TRUE(server_.TakeAsked().empty());
  EXPECT_EQ(Read(File("b")), "the backup");
  EXPECT_EQ(server_.Run("backup --force " + File("b")).code, 0);
  EXPECT_EQ(Read(File("b")), "another");
  EXPECT_EQ(Files(), 2U) << "nothing but the socket and the backup is left";
}

TEST_F(CtlBackup, LeavesNothingBehindWhenItFails) {
  server_.Answer("GET /local/backup", R"({"detail":"backup","status":500})", 500);
  const Outcome outcome = server_.Run("backup " + File("b"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("backup"), std::string::npos);
  EXPECT_EQ(Files(), 1U);
  EXPECT_EQ(server_.Run("backup /nonexistent/b").code, 1);
  EXPECT_NE(server_.Run("backup").err.find("missing FILE"), std::string::npos);
  ASSERT_EQ(::mkdir(File("d").c_str(), 0700), 0);
  EXPECT_EQ(server_.Run("backup --force " + File("d")).code, 1);
}

TEST_F(CtlBackup, GoesToStandardOutput) {
  server_.Answer("GET /local/backup", "the backup");
  EXPECT_NE(server_.Run("backup -", {.tty = true}).err.find("terminal"), std::string::npos);
  const int fd = ::open(File("out").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  std::istringstream in;
  std::ostringstream out;
  Terminal terminal;
  terminal.in = &in;
  terminal.out = &out;
  terminal.err = &out;
  terminal.out_fd = fd;
  EXPECT_EQ(ctl::Run({"backup", "-"}, TestCommands(server_.path()), terminal), 0);
  ::close(fd);
  EXPECT_EQ(Read(File("out")), "the backup");
  EXPECT_EQ(out.str(), "");
}

TEST(CtlRoot, CommandsOfTheCompositionRootGetTheirFlags) {
  Commands commands = TestCommands("");
  ServeFlags serve;
  commands.serve = [&](const ServeFlags& flags) {
    serve = flags;
    return 7;
  };
  ConfigtestFlags configtest;
  commands.configtest = [&](const ConfigtestFlags& flags) {
    configtest = flags;
    return 0;
  };
  RestoreFlags restore;
  commands.restore = [&](const RestoreFlags& flags) -> core::Result<std::string> {
    restore = flags;
    if (flags.file == "bad") return core::Fail(core::ErrorCode::kCorrupt, "not a backup");
    return "restored";
  };
  EXPECT_EQ(RunWith(commands, Words("serve")).code, 7);
  EXPECT_TRUE(serve.listen.empty());
  EXPECT_FALSE(serve.server_url || serve.data_dir || serve.log_level || serve.socket);
  EXPECT_EQ(RunWith(commands, Words("serve --listen :80,:443 --listen :99 --server-url http://a "
                                    "--data-dir /d --log-level debug -c f.toml --socket /s"))
                .code,
            7);
  EXPECT_EQ(serve.listen, (std::vector<std::string>{":80", ":443", ":99"}));
  EXPECT_EQ(serve.server_url, "http://a");
  EXPECT_EQ(serve.data_dir, "/d");
  EXPECT_EQ(serve.log_level, "debug");
  EXPECT_EQ(serve.config, "f.toml");
  EXPECT_EQ(serve.socket, "/s");

  EXPECT_EQ(RunWith(commands, Words("--config f.toml configtest --data-dir /d")).code, 0);
  EXPECT_EQ(configtest.config, "f.toml");
  EXPECT_EQ(configtest.data_dir, "/d");

  EXPECT_EQ(RunWith(commands, Words("restore file --force --data-dir /d")).out, "restored\n");
  EXPECT_EQ(restore.file, "file");
  EXPECT_TRUE(restore.force);
  EXPECT_EQ(restore.data_dir, "/d");
  const Outcome bad = RunWith(commands, Words("restore bad"));
  EXPECT_EQ(bad.code, 1);
  EXPECT_EQ(bad.err, "Error: not a backup\n");
  EXPECT_EQ(RunWith(commands, Words("restore -")).code, 0);
  EXPECT_EQ(restore.file, "-");
  EXPECT_EQ(RunWith(commands, Words("restore")).code, 1);
}

}  // namespace
}  // namespace ringscale::ctl::testing

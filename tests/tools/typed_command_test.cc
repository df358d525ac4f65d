// The command that a start prints for whoever runs the server.
#include "tools/serverd/typed_command.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"

namespace ringscale::serverd {
namespace {

TEST(TypedCommand, TheNameAloneWhereTheShellFindsThisProgram) {
  const tests::TempFolder folder;
  const std::string here = folder / "here";
  const std::string there = folder / "there";
  for (const auto& name : {here, there}) std::filesystem::create_directory(name);
  const std::string program = here + "/ringscale";
  std::ofstream{program} << "";
  const std::string path = "/nowhere:" + there + ":" + here;
  EXPECT_EQ(TypedCommand(program, "", {}), program);
  EXPECT_EQ(TypedCommand(program, there, {}), program);
  EXPECT_EQ(TypedCommand(program, path, {}), "ringscale");
  // A link to it is it; another program of that name, found first, is not.
  std::filesystem::create_symlink(program, there + "/ringscale");
  EXPECT_EQ(TypedCommand(program, there, {}), "ringscale");
  std::filesystem::remove(there + "/ringscale");
  std::ofstream{there + "/ringscale"} << "";
  EXPECT_EQ(TypedCommand(program, path, {}), program);
}

TEST(TypedCommand, ReachesTheSameServer) {
  const std::vector<std::string> flags = {"--data-dir", "/srv/my data"};
  EXPECT_EQ(TypedCommand("/opt/ringscale", "", flags), "/opt/ringscale --data-dir '/srv/my data'");
}

}  // namespace
}  // namespace ringscale::serverd

// The data directory's lock.
#include "storage/data_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

TEST(DataDir, IsMadeForItsOwnerOnly) {
  tests::TempFolder dir;
  const auto lock = DataDir::Lock(dir / "a/b/");
  ASSERT_TRUE(lock) << lock.error().message;
  EXPECT_EQ(lock->path(), dir / "a/b");
  struct stat status{};
  ASSERT_EQ(::stat((dir / "a/b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  EXPECT_EQ(ReadText(dir / "a/b/ringscale.lock"), std::to_string(::getpid()) + "\n");
}

TEST(DataDir, BelongsToOneProcess) {
  tests::TempFolder dir;
  const auto lock = DataDir::Lock(dir.path());
  ASSERT_TRUE(lock);
  const std::string expected = "another ringscale uses the data directory " + dir.path() +
                               " (pid " + std::to_string(::getpid()) + ")";
  EXPECT_EQ(InChild([&] {
              const auto second = DataDir::Lock(dir.path());
              if (second || second.error().code != ErrorCode::kConflict) return 1;
              return second.error().message == expected ? 0 : 2;
            }),
            0);
}

TEST(DataDir, IsFreeWhenItsOwnerIsGone) {
  tests::TempFolder dir;
  EXPECT_EQ(InChild([&] {
              const auto lock = DataDir::Lock(dir.path());
              ::kill(::getpid(), SIGKILL);
              return lock ? 0 : 1;
            }),
            100 + SIGKILL);
  EXPECT_TRUE(DataDir::Lock(dir.path()));
  EXPECT_TRUE(DataDir::Lock(dir.path()));  // the first one's lock ended with it
}

TEST(DataDir, WaitsForItsOwnerToEnd) {
  tests::TempFolder dir;
  int ready[2];
  int release[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(release), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = DataDir::Lock(dir.path());
    char byte = 'r';
    if (::write(ready[1], &byte, 1) != 1 || ::read(release[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_FALSE(DataDir::Lock(dir.path()));
  ASSERT_EQ(::write(release[1], &byte, 1), 1);
  EXPECT_TRUE(DataDir::Lock(dir.path(), core::Seconds(60)));
  for (const int fd : {ready[0], ready[1], release[0], release[1]}) ::close(fd);
}

TEST(DataDir, SaysWhatIsWrongWithThePlace) {
  tests::TempFolder dir;
  WriteText(dir / "file", "x");
  const auto on_file = DataDir::Lock(dir / "file");
  ASSERT_FALSE(on_file);
  EXPECT_NE(on_file.error().message.find("is not a directory"), std::string::npos);
  EXPECT_FALSE(DataDir::Lock(""));
  const auto on_proc = DataDir::Lock("/proc/sys");
  ASSERT_FALSE(on_proc);
  EXPECT_NE(on_proc.error().message.find("/proc/sys cannot be written"), std::string::npos)
      << on_proc.error().message;
}

}  // namespace
}  // namespace ringscale::storage

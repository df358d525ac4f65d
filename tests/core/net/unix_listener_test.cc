#include "core/net/unix_listener.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/temp_folder.h"

namespace ringscale::core::net {
namespace {

class UnixListenerTest : public ::testing::Test {
 protected:
  [[nodiscard]] mode_t Mode() const {
    struct stat status{};
    EXPECT_EQ(lstat(path_.c_str(), &status), 0);
    return status.st_mode & 07777;
  }
  const tests::TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::string path_ = temp_ / "ringscale.sock";
};

TEST_F(UnixListenerTest, ServesItsOwnerAndKnowsWhoAsks) {
  {
    const mode_t old_mask = umask(0);
    auto listener = UnixListener::Open(path_, {});
    EXPECT_EQ(umask(old_mask), 0u);  // as it was
    ASSERT_TRUE(listener.has_value()) << listener.error().message;
    EXPECT_EQ(Mode(), 0600u);
    const auto client = ConnectUnix(path_);
    ASSERT_TRUE(client.has_value()) << client.error().message;
    const Fd accepted(accept(listener->fd(), nullptr, nullptr));
    const auto who = ReadPeerCredentials(accepted.get());
    ASSERT_TRUE(who.has_value());
    EXPECT_EQ(who->pid, getpid());
    EXPECT_EQ(who->uid, geteuid());
    EXPECT_EQ(who->gid, getegid());
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(ConnectUnix(path_).error().code, ErrorCode::kNotFound);
}

TEST_F(UnixListenerTest, AnAdoptedSocketTakesItsFileAlong) {
  auto opened = UnixListener::Open(path_, {});
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  EXPECT_EQ(UnixSocketPath(opened->fd()), path_);
  EXPECT_EQ(UnixSocketPath(-1), "");
  {
    auto adopted = UnixListener::Adopt(Fd(dup(opened->fd())), path_);
    ASSERT_TRUE(adopted.has_value()) << adopted.error().message;
    opened->KeepFile();
    EXPECT_TRUE(ConnectUnix(path_).has_value());
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(UnixListener::Adopt(Fd(dup(opened->fd())), path_).has_value()) << "no file";
}

TEST_F(UnixListenerTest, GroupAccessIsOptIn) {
  UnixListenerOptions options;
  options.group = getegid();
  const auto listener = UnixListener::Open(path_, options);
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_EQ(Mode(), 0660u);
}

TEST_F(UnixListenerTest, ReplacesAFileThatNobodyAnswers) {
  {
    auto dead = UnixListener::Open(path_, {});
    ASSERT_TRUE(dead.has_value());
    dead->KeepFile();
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(ConnectUnix(path_).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(UnixListener::Open(path_, {}).has_value());
}

TEST_F(UnixListenerTest, LeavesALivingServerAlone) {
  const auto first = UnixListener::Open(path_, {});
  ASSERT_TRUE(first.has_value());
  const auto second = UnixListener::Open(path_, {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(ConnectUnix(path_).has_value());
}

TEST_F(UnixListenerTest, LeavesOtherFilesAlone) {
  std::ofstream(path_) << "precious";
  const auto listener = UnixListener::Open(path_, {});
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(UnixListenerTest, DoesNotRemoveASuccessorsFile) {
  auto old = UnixListener::Open(path_, {});
  ASSERT_TRUE(old.has_value());
  ASSERT_EQ(unlink(path_.c_str()), 0);
  const auto successor = UnixListener::Open(path_, {});
  ASSERT_TRUE(successor.has_value());
  {
    const UnixListener gone = std::move(*old);
  }
  EXPECT_TRUE(ConnectUnix(path_).has_value());
}

TEST_F(UnixListenerTest, SaysWhatIsWrongWithTheName) {
  EXPECT_EQ(UnixListener::Open("", {}).error().code, ErrorCode::kInvalid);
  const auto too_long = UnixListener::Open(folder_ + "/" + std::string(200, 'x'), {});
  ASSERT_FALSE(too_long.has_value());
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(too_long.error().message.contains("107"));
  EXPECT_FALSE(UnixListener::Open(folder_ + "/missing/socket", {}).has_value());
}

}  // namespace
}  // namespace ringscale::core::net

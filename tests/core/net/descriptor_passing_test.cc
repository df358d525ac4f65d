#include "core/net/descriptor_passing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace ringscale::core::net {
namespace {

class DescriptorPassing : public ::testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    near_ = Fd(pair[0]);
    far_ = Fd(pair[1]);
  }
  static ino_t InodeOf(int fd) {
    struct stat status{};
    EXPECT_EQ(fstat(fd, &status), 0);
    return status.st_ino;
  }
  Fd near_;
  Fd far_;
};

TEST_F(DescriptorPassing, PassesDuplicatesWithTheBytes) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const Fd out(pipe_ends[0]);
  const Fd in(pipe_ends[1]);
  const int sent[] = {out.get(), in.get()};
  ASSERT_TRUE(SendWithDescriptors(near_.get(), "two ends", sent));
  ASSERT_TRUE(SendWithDescriptors(near_.get(), " and no more", {}));
  near_.Reset();
  std::vector<Fd> received;
  std::string text;
  for (;;) {
    auto piece = ReceiveWithDescriptors(far_.get(), 5, received);
    ASSERT_TRUE(piece) << piece.error().message;
    if (piece->empty()) break;
    text += *piece;
  }
  EXPECT_EQ(text, "two ends and no more");
  ASSERT_EQ(received.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NE(received[i].get(), sent[i]);
    EXPECT_EQ(InodeOf(received[i].get()), InodeOf(sent[i]));
    EXPECT_EQ(fcntl(received[i].get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(DescriptorPassing, RefusesMoreThanTheKernelTakes) {
  const std::vector<int> many(kMaxPassedDescriptors + 1, far_.get());
  const auto refused = SendWithDescriptors(near_.get(), "x", many);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  const std::vector<int> enough(kMaxPassedDescriptors, far_.get());
  EXPECT_TRUE(SendWithDescriptors(near_.get(), "x", enough));
  std::vector<Fd> received;
  EXPECT_TRUE(ReceiveWithDescriptors(far_.get(), 1, received));
  EXPECT_EQ(received.size(), kMaxPassedDescriptors);
}

TEST_F(DescriptorPassing, NeverWaitsToSendAndWaitsToReceiveAsLongAsAllowed) {
  const std::string much(1 << 22, 'x');
  EXPECT_FALSE(SendWithDescriptors(near_.get(), much, {}));
  const timeval soon{.tv_sec = 0, .tv_usec = 1000};
  ASSERT_EQ(setsockopt(near_.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
  std::vector<Fd> received;
  const auto late = ReceiveWithDescriptors(near_.get(), 1, received);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  far_.Reset();
  EXPECT_FALSE(SendWithDescriptors(near_.get(), "x", {})) << "nobody is there";
}

}  // namespace
}  // namespace ringscale::core::net

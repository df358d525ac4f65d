#include "core/io/probe.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>

namespace ringscale::core::io {
namespace {

using internal::ExplainSetupFailure;
using internal::SetupFailure;

bool Mentions(const Error& error, std::string_view part) {
  return error.message.contains(part);
}

TEST(Probe, TellsTheReasonsApart) {
  const Error missing = ExplainSetupFailure({ENOSYS, ENOSYS, -1, "5.0.0"});
  EXPECT_TRUE(Mentions(missing, "ENOSYS"));
  EXPECT_TRUE(Mentions(missing, "5.0.0"));
  const Error seccomp = ExplainSetupFailure({EPERM, EPERM, 0, "6.8.0"});
  EXPECT_EQ(seccomp.code, ErrorCode::kPermission);
  EXPECT_TRUE(Mentions(seccomp, "seccomp"));
  const Error sysctl = ExplainSetupFailure({EPERM, EPERM, 2, "6.8.0"});
  EXPECT_TRUE(Mentions(sysctl, "kernel.io_uring_disabled=2"));
  EXPECT_FALSE(Mentions(sysctl, "seccomp"));
  const Error old = ExplainSetupFailure({EINVAL, 0, -1, "5.15.0"});
  EXPECT_EQ(old.code, ErrorCode::kUnsupported);
  EXPECT_TRUE(Mentions(old, "needs Linux 6.1"));
  EXPECT_TRUE(Mentions(old, "5.15.0"));
  const Error memory = ExplainSetupFailure({ENOMEM, ENOMEM, 0, "6.1.0"});
  EXPECT_TRUE(Mentions(memory, "ulimit -l"));
  const Error other = ExplainSetupFailure({EMFILE, EMFILE, 0, "6.1.0"});
  EXPECT_TRUE(Mentions(other, "Too many open files"));
}

TEST(Probe, LeavesNothingOpen) {
  // Skipping would hide a probe that always fails where io_uring works.
  const auto first = ProbeIoUring();
  if (!first) GTEST_SKIP() << first.error().message;
  EXPECT_TRUE(ProbeIoUring().has_value());
}

TEST(Probe, ForcedEpollIsEpoll) {
  EXPECT_EQ(ChooseRing(true), RingKind::kEpoll);
  setenv("RINGSCALE_RING", "epoll", 1);
  EXPECT_EQ(ChooseRing(), RingKind::kEpoll);
  unsetenv("RINGSCALE_RING");
  EXPECT_EQ(ChooseRing() == RingKind::kUring, ProbeIoUring().has_value());
}

}  // namespace
}  // namespace ringscale::core::io

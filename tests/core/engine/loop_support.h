// What the tests of the event loop share: socket pairs, a handler that records, a loop
// on each kind of ring.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/engine/loop.h"
#include "core/io/probe.h"

namespace ringscale::core::engine {

struct Pair {
  Fd near;
  Fd far;
};
inline Pair MakePair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

inline std::string Pattern(std::size_t bytes) {
  std::string out(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i * 131 + i / 251);
  return out;
}

inline std::string ReadToEnd(int fd) {
  std::string all;
  char part[65536];
  for (;;) {
    const ssize_t got = read(fd, part, sizeof part);
    if (got <= 0) return all;
    all.append(part, static_cast<std::size_t>(got));
  }
}

inline void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ASSERT_GT(written, 0);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

class Recorder : public StreamHandler {
 public:
  void OnReceive(StreamId stream, MutableBytes bytes) override {
    received += AsText(bytes);
    ++receive_calls;
    if (on_receive) on_receive(stream, bytes);
  }
  void OnSent(StreamId stream) override {
    ++sent_calls;
    if (on_sent) on_sent(stream);
  }
  void OnClosed(StreamId stream, int error) override {
    ++closed_calls;
    closed_error = error;
    if (on_closed) on_closed(stream);
  }

  std::string received;
  int receive_calls = 0;
  int sent_calls = 0;
  int closed_calls = 0;
  int closed_error = 1;
  std::function<void(StreamId, MutableBytes)> on_receive;
  std::function<void(StreamId)> on_sent;
  std::function<void(StreamId)> on_closed;
};

class LoopTest : public ::testing::TestWithParam<io::RingKind> {
 protected:
  void SetUp() override {
    if (GetParam() == io::RingKind::kUring) {
      const auto probed = io::ProbeIoUring();
      if (!probed) GTEST_SKIP() << probed.error().message;
    }
    Create({});
  }
  void Create(LoopOptions options) {
    options.force_epoll = GetParam() == io::RingKind::kEpoll;
    loop_.reset();
    auto loop = CreateLoop(options);
    ASSERT_TRUE(loop.has_value()) << loop.error().message;
    loop_ = std::move(*loop);
  }
  Loop& loop() { return *loop_; }
  // Runs until somebody calls Stop; the limit only ends a test that hangs.
  void Run() {
    loop().After(Seconds(30), [this] {
      ADD_FAILURE() << "the loop was not stopped";
      loop().Stop();
    });
    loop().Run();
  }
  void Destroy() { loop_.reset(); }

 private:
  std::unique_ptr<Loop> loop_;
};

// For INSTANTIATE_TEST_SUITE_P of such tests.
inline auto BothRings() {
  return ::testing::Values(io::RingKind::kUring, io::RingKind::kEpoll);
}
inline std::string NameOf(const ::testing::TestParamInfo<io::RingKind>& test) {
  return test.param == io::RingKind::kUring ? "Uring" : "Epoll";
}

}  // namespace ringscale::core::engine

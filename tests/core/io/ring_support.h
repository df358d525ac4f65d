// What the ring tests share: socket pairs, loopback sockets, a turn that waits.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "core/io/epoll_ring.h"
#include "core/io/probe.h"
#include "core/io/uring_ring.h"

namespace ringscale::core::io {

struct SocketPair {
  Fd near;
  Fd far;
};
SocketPair MakePair(int type = SOCK_STREAM);

// A listening (or bound, for datagrams) socket on 127.0.0.1 with a free port.
Fd LoopbackSocket(int type);
sockaddr_storage AddressOf(int fd, socklen_t& length);
Fd ConnectTo(int listening_fd);

// Blocking helpers for the far side.
void WriteAll(int fd, const std::string& bytes);
std::string ReadExactly(int fd, std::size_t count);

std::string Pattern(std::size_t bytes);

inline iovec Vec(const std::string& bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

// What the tests' operations are.
inline constexpr std::uint8_t kAccept = 1;
inline constexpr std::uint8_t kReceive = 2;
inline constexpr std::uint8_t kSend = 3;

using Rings = ::testing::Types<UringRing, EpollRing>;

template <class Ring>
class RingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::is_same_v<Ring, UringRing>) {
      const auto probed = ProbeIoUring();
      if (!probed) GTEST_SKIP() << probed.error().message;
    }
    RingOptions options;
    options.submission_entries = 64;
    options.completion_entries = 1024;
    options.buffer_count = 8;
    options.buffer_size = 1024;
    Open(options);
  }

  void Open(const RingOptions& options) {
    ring_.reset();
    auto ring = Ring::Create(options);
    ASSERT_TRUE(ring.has_value()) << ring.error().message;
    ring_ = std::move(*ring);
  }

  Ring& ring() { return *ring_; }

  // Turns until a completion is there; the wait only ends a test that hangs.
  Completion Next() {
    for (int turns = 0; waiting_.empty() && turns < 100; ++turns) {
      std::array<Completion, 64> out;
      const std::size_t count = ring_->Turn(out, Millis(200));
      waiting_.insert(waiting_.end(), out.begin(), out.begin() + static_cast<long>(count));
    }
    if (waiting_.empty()) {
      ADD_FAILURE() << "no completion";
      return {};
    }
    const Completion completion = waiting_.front();
    waiting_.pop_front();
    return completion;
  }

  // Completions that are there without waiting.
  std::vector<Completion> Settle() {
    std::vector<Completion> all(waiting_.begin(), waiting_.end());
    waiting_.clear();
    for (;;) {
      std::array<Completion, 64> out;
      const std::size_t count = ring_->Turn(out, Nanos(0));
      if (count == 0) return all;
      all.insert(all.end(), out.begin(), out.begin() + static_cast<long>(count));
    }
  }

  // The bytes of a completion; the buffer is given back.
  std::string Take(const Completion& completion) {
    if (!completion.has_buffer) return {};
    std::string bytes(reinterpret_cast<const char*>(ring_->BufferData(completion.buffer_id)),
                      static_cast<std::size_t>(completion.result));
    ring_->ReturnBuffer(completion.buffer_id);
    return bytes;
  }

 private:
  std::unique_ptr<Ring> ring_;
  std::deque<Completion> waiting_;
};

}  // namespace ringscale::core::io

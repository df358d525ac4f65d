// Ending the wait of a ring, from its own thread and from others.
#include <atomic>
#include <thread>

#include "core/io/waker.h"
#include "tests/core/io/ring_support.h"

namespace ringscale::core::io {
namespace {

template <class Ring>
class RingWakes : public RingTest<Ring> {};
TYPED_TEST_SUITE(RingWakes, Rings);

TYPED_TEST(RingWakes, AWakeBeforeTheTurnEndsItAtOnce) {
  this->ring().waker().Wake();
  this->ring().waker().Wake();
  EXPECT_TRUE(this->Next().wake);
  EXPECT_TRUE(this->Settle().empty());  // two wakes, one completion
}

TYPED_TEST(RingWakes, AWakerOutlivesItsRing) {
  const Waker waker = this->ring().waker();
  RingOptions options;
  options.buffer_count = 8;
  this->Open(options);
  waker.Wake();
  EXPECT_TRUE(this->Settle().empty());
}

// Another thread wakes the ring `wakes` times, and again only when `woken`, a turn of the
// ring, has seen the wake of before.
template <class Woken>
void WakeInTurn(const Waker& waker, int wakes, Woken&& woken) {
  std::atomic<int> sent{0};
  std::atomic<int> seen{0};
  std::thread other([&] {
    for (int i = 1; i <= wakes; ++i) {
      sent.store(i, std::memory_order_relaxed);
      waker.Wake();
      while (seen.load(std::memory_order_acquire) < i) std::this_thread::yield();
    }
  });
  while (seen.load(std::memory_order_relaxed) < wakes) {
    if (woken()) {
      // Visible because of the wake.
      seen.store(sent.load(std::memory_order_relaxed), std::memory_order_release);
    }
  }
  other.join();
}

TYPED_TEST(RingWakes, AnotherThreadWakesASleepingRing) {
  WakeInTurn(this->ring().waker(), 2000, [this] { return this->Next().wake; });
}

// A wake that falls into the pause before the wait must end the wait.
TYPED_TEST(RingWakes, WakesAreNotLostWhileCompletionsGather) {
  std::array<Completion, 16> out;
  WakeInTurn(this->ring().waker(), 500,
             [&] { return this->ring().Turn(out, Seconds(3600), Micros(20)) > 0 && out[0].wake; });
}

TYPED_TEST(RingWakes, WhatWasStartedGoesOutBeforeCompletionsGather) {
  SocketPair pair = MakePair();
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  // Nobody else ends this turn: the answer comes in its pause or in its wait.
  std::thread other([&] {
    std::array<char, 4> bytes{};
    ASSERT_EQ(recv(pair.far.get(), bytes.data(), bytes.size(), MSG_WAITALL), 4);
    WriteAll(pair.far.get(), "pong");
  });
  const std::string ping = "ping";
  const iovec vec = Vec(ping);
  this->ring().Send(pair.near.get(), &vec, 1, Token(kSend, 1, 1));
  std::array<Completion, 16> out;
  std::string received;
  while (received.size() < 4) {
    const std::size_t count = this->ring().Turn(out, Seconds(3600), Millis(1));
    for (std::size_t i = 0; i < count; ++i) {
      if (out[i].token.op() == kReceive) received += this->Take(out[i]);
    }
  }
  EXPECT_EQ(received, "pong");
  other.join();
}

// Two rings that wake each other, each sleeping in between: the deferred form
// goes by MSG_RING between io_uring rings.
TYPED_TEST(RingWakes, RingsWakeEachOtherWithTheirTurns) {
  RingOptions options;
  options.buffer_count = 8;
  options.buffer_size = 256;
  options.defer_wakes = true;
  this->Open(options);
  constexpr int kRounds = 2000;
  std::atomic<const Waker*> other_waker{nullptr};
  const Waker mine = this->ring().waker();
  std::atomic<int> ball{0};  // even: ours
  std::thread other([&] {
    auto ring = TypeParam::Create(options);
    ASSERT_TRUE(ring.has_value());
    const Waker waker = (*ring)->waker();
    other_waker.store(&waker, std::memory_order_release);
    other_waker.notify_one();
    std::array<Completion, 16> out;
    while (ball.load(std::memory_order_acquire) < 2 * kRounds) {
      (*ring)->Turn(out, Seconds(10));
      const int now = ball.load(std::memory_order_acquire);
      if (now % 2 == 1) {
        ball.store(now + 1, std::memory_order_release);
        mine.Wake();
      }
    }
    (*ring)->Turn(out, Nanos(0));  // sends the last wake
  });
  other_waker.wait(nullptr);
  const Waker& theirs = *other_waker.load(std::memory_order_acquire);
  std::array<Completion, 16> out;
  for (int round = 0; round < kRounds; ++round) {
    ball.store(2 * round + 1, std::memory_order_release);
    theirs.Wake();
    while (ball.load(std::memory_order_acquire) == 2 * round + 1) {
      this->ring().Turn(out, Seconds(10));
    }
  }
  other.join();
  EXPECT_EQ(ball.load(), 2 * kRounds);
}

}  // namespace
}  // namespace ringscale::core::io

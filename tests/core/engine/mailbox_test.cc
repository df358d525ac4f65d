#include "core/engine/mailbox.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "core/io/epoll_ring.h"
#include "core/io/probe.h"
#include "core/io/uring_ring.h"

namespace ringscale::core::engine {
namespace {

class CountingTarget : public io::WakeTarget {
 public:
  int signals = 0;

 protected:
  void Signal() override { ++signals; }
};

TEST(Mailbox, FullIsAResult) {
  Mailbox<int> mailbox(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(mailbox.TryPush(int{i}));
  EXPECT_FALSE(mailbox.TryPush(4));
  EXPECT_FALSE(mailbox.HasMail());  // nothing published yet
  mailbox.Publish();
  EXPECT_TRUE(mailbox.HasMail());
  std::vector<int> got;
  EXPECT_EQ(mailbox.Drain(3, [&](int&& value) { got.push_back(value); }), 3u);
  EXPECT_TRUE(mailbox.HasMail());
  EXPECT_TRUE(mailbox.TryPush(5));
  mailbox.Publish();
  EXPECT_EQ(mailbox.Drain(100, [&](int&& value) { got.push_back(value); }), 2u);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 5}));
  EXPECT_EQ(mailbox.Drain(100, [](int&&) { FAIL(); }), 0u);
}

TEST(Mailbox, AFailedPushLeavesTheMessage) {
  Mailbox<std::unique_ptr<int>> mailbox(1);
  EXPECT_TRUE(mailbox.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(mailbox.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(Mailbox, WakesASleepingReaderOncePerSleep) {
  const auto target = std::make_shared<CountingTarget>();
  Mailbox<int> mailbox(64);
  mailbox.SetReader(io::Waker(target));
  mailbox.Publish();  // nothing to say
  EXPECT_EQ(target->signals, 0);
  EXPECT_TRUE(mailbox.TryPush(1));
  mailbox.Publish();  // the reader is awake
  EXPECT_EQ(target->signals, 0);
  EXPECT_FALSE(target->PrepareSleep());  // there is mail
  EXPECT_TRUE(target->Awake());
  EXPECT_TRUE(target->PrepareSleep());
  EXPECT_TRUE(mailbox.TryPush(2));
  EXPECT_TRUE(mailbox.TryPush(3));
  mailbox.Publish();
  EXPECT_TRUE(mailbox.TryPush(4));
  mailbox.Publish();
  EXPECT_EQ(target->signals, 1);
  EXPECT_TRUE(target->Awake());
  EXPECT_FALSE(target->Awake());
}

template <class Ring>
class MailboxStress : public ::testing::Test {};
using Rings = ::testing::Types<io::UringRing, io::EpollRing>;
TYPED_TEST_SUITE(MailboxStress, Rings);

// Ping-pong batches of random size between two threads that sleep in their rings
// whenever there is nothing to do. A lost wake would show as ten silent seconds.
TYPED_TEST(MailboxStress, NothingIsLostOrReorderedBetweenSleepingThreads) {
  if (std::is_same_v<TypeParam, io::UringRing> && !io::ProbeIoUring()) GTEST_SKIP();
  struct Message {
    std::uint64_t number = 0;
    std::uint64_t check = 0;
  };
  constexpr std::uint64_t kMessages = 200'000;
  Mailbox<Message> there(64);
  Mailbox<Message> back(64);
  io::RingOptions options;
  options.submission_entries = 16;
  options.completion_entries = 64;
  options.buffer_count = 2;
  options.buffer_size = 64;
  options.defer_wakes = true;

  std::atomic<bool> reader_ready{false};
  std::atomic<bool> writer_ready{false};
  // Sends `first` numbers on, in order, as they come in.
  std::thread echo([&] {
    auto ring = TypeParam::Create(options);
    ASSERT_TRUE(ring.has_value());
    there.SetReader((*ring)->waker());
    reader_ready.store(true);
    reader_ready.notify_one();
    writer_ready.wait(false);
    std::array<io::Completion, 16> out;
    std::uint64_t expected = 0;
    while (expected < kMessages) {
      const std::size_t got = there.Drain(48, [&](Message&& message) {
        EXPECT_EQ(message.number, expected);
        EXPECT_EQ(message.check, expected * 3);
        ++expected;
        // The way back has room: no more than 64 numbers are under way.
        EXPECT_TRUE(back.TryPush(std::move(message)));
      });
      back.Publish();
      (*ring)->Turn(out, got > 0 || there.HasMail() ? Nanos(0) : Seconds(10));
    }
  });
  reader_ready.wait(false);
  auto ring = TypeParam::Create(options);
  ASSERT_TRUE(ring.has_value());
  back.SetReader((*ring)->waker());
  writer_ready.store(true);
  writer_ready.notify_one();
  std::array<io::Completion, 16> out;
  std::uint64_t sent = 0;
  std::uint64_t answered = 0;
  std::uint64_t dice = 1;
  while (answered < kMessages) {
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t batch = dice >> 60;
    for (std::uint64_t i = 0; i < batch && sent < kMessages && sent - answered < 64; ++i) {
      EXPECT_TRUE(there.TryPush({sent, sent * 3}));
      ++sent;
    }
    there.Publish();
    const std::size_t got = back.Drain(64, [&](Message&& message) {
      EXPECT_EQ(message.number, answered);
      ++answered;
    });
    const bool idle = got == 0 && (sent - answered == 64 || sent == kMessages);
    (*ring)->Turn(out, idle ? Seconds(10) : Nanos(0));
  }
  echo.join();
  EXPECT_EQ(answered, kMessages);
}

}  // namespace
}  // namespace ringscale::core::engine

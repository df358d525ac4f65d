#include "core/io/ring.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <set>
#include <thread>

#include "core/io/datagram.h"
#include "core/io/waker.h"
#include "tests/core/io/ring_support.h"

namespace ringscale::core::io {
namespace {

constexpr std::uint8_t kAccept = 1;
constexpr std::uint8_t kReceive = 2;
constexpr std::uint8_t kSend = 3;

using Rings = ::testing::Types<UringRing, EpollRing>;
TYPED_TEST_SUITE(RingTest, Rings);

iovec Vec(const std::string& bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

TEST(Token, KeepsItsParts) {
  const Token token(0xab, 0x123456, 0xfedcba98);
  EXPECT_EQ(token.op(), 0xab);
  EXPECT_EQ(token.slot(), 0x123456u);
  EXPECT_EQ(token.generation(), 0xfedcba98u);
}

TYPED_TEST(RingTest, TurnReturnsWhenTheTimeIsOver) {
  std::array<Completion, 16> out;
  EXPECT_EQ(this->ring().Turn(out, Millis(1)), 0u);
  EXPECT_EQ(this->ring().Turn(out, Nanos(0)), 0u);
}

// Timers of earlier waits stay armed: a nearer end must not wait for theirs.
TYPED_TEST(RingTest, AWaitEndsThoughAnEarlierOneWasMeantToLastLonger) {
  SocketPair pair = MakePair();
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  std::array<Completion, 16> out;
  for (const Duration wait : {Millis(40), Millis(10), Millis(2)}) {
    WriteAll(pair.far.get(), "x");
    ASSERT_EQ(this->ring().Turn(out, Seconds(3600)), 1u);
    EXPECT_EQ(this->Take(out[0]), "x");
    EXPECT_EQ(this->ring().Turn(out, wait), 0u);
  }
}

// A completion during a long wait leaves its timer behind; it ends a later wait
// early at most, and never the ring.
TYPED_TEST(RingTest, ManyLongWaitsOneAfterTheOther) {
  SocketPair pair = MakePair();
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  std::array<Completion, 16> out;
  for (int i = 0; i < 20'000; ++i) {
    WriteAll(pair.far.get(), "x");
    std::size_t count = 0;
    while (count == 0) count = this->ring().Turn(out, Seconds(10) + Micros(i % 7 * 900));
    ASSERT_EQ(count, 1u);
    EXPECT_EQ(this->Take(out[0]), "x");
  }
}

TYPED_TEST(RingTest, AcceptsManyWithOneOperation) {
  const Fd listener = LoopbackSocket(SOCK_STREAM);
  this->ring().AcceptMultishot(listener.get(), Token(kAccept, 7, 1));
  std::vector<Fd> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(ConnectTo(listener.get()));
  std::set<int> accepted;
  for (int i = 0; i < 40; ++i) {
    const Completion completion = this->Next();
    ASSERT_GE(completion.result, 0);
    EXPECT_EQ(completion.token, Token(kAccept, 7, 1));
    EXPECT_TRUE(completion.more);
    accepted.insert(completion.result);
    // Blocking mode and close-on-exec, as promised.
    EXPECT_EQ(fcntl(completion.result, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(fcntl(completion.result, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  EXPECT_EQ(accepted.size(), 40u);
  for (const int fd : accepted) close(fd);
  this->ring().CancelFd(listener.get());
  const Completion last = this->Next();
  EXPECT_EQ(last.result, -ECANCELED);
  EXPECT_FALSE(last.more);
}

TYPED_TEST(RingTest, ReceivesUntilTheEndWithOneOperation) {
  SocketPair pair = MakePair();
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  for (const std::string text : {"one", "three", "a longer text"}) {
    WriteAll(pair.far.get(), text);
    const Completion completion = this->Next();
    EXPECT_TRUE(completion.more);
    EXPECT_EQ(this->Take(completion), text);
  }
  EXPECT_EQ(this->ring().FreeBuffers(), 8u);
  pair.far.Reset();
  const Completion last = this->Next();
  EXPECT_EQ(last.result, 0);
  EXPECT_FALSE(last.more);
  EXPECT_FALSE(last.has_buffer);
}

TYPED_TEST(RingTest, ReceiveOnceTakesOneBufferful) {
  SocketPair pair = MakePair();
  const std::string bytes = Pattern(3000);
  WriteAll(pair.far.get(), bytes);
  std::string got;
  while (got.size() < bytes.size()) {
    this->ring().ReceiveOnce(pair.near.get(), Token(kReceive, 1, 1));
    const Completion completion = this->Next();
    ASSERT_GT(completion.result, 0);
    EXPECT_LE(completion.result, 1024);
    EXPECT_FALSE(completion.more);
    got += this->Take(completion);
    EXPECT_TRUE(this->Settle().empty());  // nothing without being asked
  }
  EXPECT_EQ(got, bytes);
}

TYPED_TEST(RingTest, ReceiveEndsWithNoBuffersAndGoesOnAfterwards) {
  SocketPair pair = MakePair();
  const std::string bytes = Pattern(20 * 1024);
  WriteAll(pair.far.get(), bytes);
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  std::string got;
  std::vector<Completion> held;
  for (;;) {
    const Completion completion = this->Next();
    if (!completion.has_buffer) {
      EXPECT_EQ(completion.result, -ENOBUFS);
      EXPECT_FALSE(completion.more);
      break;
    }
    held.push_back(completion);
  }
  EXPECT_EQ(held.size(), 8u);
  EXPECT_EQ(this->ring().FreeBuffers(), 0u);
  for (const Completion& completion : held) got += this->Take(completion);
  EXPECT_EQ(this->ring().FreeBuffers(), 8u);
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 2));
  while (got.size() < bytes.size()) {
    const Completion completion = this->Next();
    if (completion.result == -ENOBUFS) {
      this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 2));
    } else {
      ASSERT_GT(completion.result, 0);
      got += this->Take(completion);
    }
  }
  EXPECT_EQ(got, bytes);
}

TYPED_TEST(RingTest, ReceiveOnceWithoutBuffersFails) {
  SocketPair full = MakePair();
  WriteAll(full.far.get(), Pattern(20 * 1024));
  this->ring().ReceiveMultishot(full.near.get(), Token(kReceive, 1, 1));
  std::vector<Completion> held;
  for (Completion next = this->Next(); next.has_buffer; next = this->Next()) held.push_back(next);
  SocketPair pair = MakePair();
  WriteAll(pair.far.get(), "x");
  this->ring().ReceiveOnce(pair.near.get(), Token(kReceive, 2, 1));
  EXPECT_EQ(this->Next().result, -ENOBUFS);
  for (const Completion& completion : held) this->Take(completion);
  this->ring().ReceiveOnce(pair.near.get(), Token(kReceive, 2, 1));
  EXPECT_EQ(this->Take(this->Next()), "x");
}

TYPED_TEST(RingTest, SendsOnePiece) {
  SocketPair pair = MakePair();
  const std::string bytes = "hello";
  const iovec vec = Vec(bytes);
  this->ring().Send(pair.near.get(), &vec, 1, Token(kSend, 1, 1));
  const Completion completion = this->Next();
  EXPECT_EQ(completion.token, Token(kSend, 1, 1));
  EXPECT_EQ(completion.result, 5);
  EXPECT_FALSE(completion.more);
  EXPECT_EQ(ReadExactly(pair.far.get(), 5), "hello");
}

TYPED_TEST(RingTest, SendsMoreThanTheSocketTakesAndOnlyThenCompletes) {
  SocketPair pair = MakePair();
  const std::string bytes = Pattern(3 * 1024 * 1024 + 17);
  // Uneven pieces, so that partial sends end inside and between them.
  std::vector<iovec> pieces;
  for (std::size_t at = 0, step = 1; at < bytes.size(); step = step * 3 % 70'001 + 1) {
    const std::size_t length = std::min(step, bytes.size() - at);
    pieces.push_back({const_cast<char*>(bytes.data()) + at, length});
    at += length;
  }
  ASSERT_LT(pieces.size(), 1024u);
  this->ring().Send(pair.near.get(), pieces.data(), static_cast<unsigned>(pieces.size()),
                    Token(kSend, 1, 1));
  EXPECT_TRUE(this->Settle().empty());
  std::string got;
  std::thread reader([&] { got = ReadExactly(pair.far.get(), bytes.size()); });
  const Completion completion = this->Next();
  reader.join();
  EXPECT_EQ(completion.result, static_cast<std::int32_t>(bytes.size()));
  EXPECT_TRUE(got == bytes);
}

TYPED_TEST(RingTest, SendToAPeerThatIsGoneFails) {
  SocketPair pair = MakePair();
  pair.far.Reset();
  const std::string bytes = "hello";
  const iovec vec = Vec(bytes);
  this->ring().Send(pair.near.get(), &vec, 1, Token(kSend, 1, 1));
  EXPECT_EQ(this->Next().result, -EPIPE);
}

TYPED_TEST(RingTest, ReceiveSeesAReset) {
  const Fd listener = LoopbackSocket(SOCK_STREAM);
  Fd client = ConnectTo(listener.get());
  const Fd server(accept(listener.get(), nullptr, nullptr));
  this->ring().ReceiveMultishot(server.get(), Token(kReceive, 1, 1));
  EXPECT_TRUE(this->Settle().empty());
  const linger reset{1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client.Reset();
  const Completion completion = this->Next();
  EXPECT_EQ(completion.result, -ECONNRESET);
  EXPECT_FALSE(completion.more);
}

TYPED_TEST(RingTest, CancelEndsReceiveAndBlockedSend) {
  SocketPair pair = MakePair();
  const std::string bytes = Pattern(4 * 1024 * 1024);
  const iovec vec = Vec(bytes);
  this->ring().ReceiveMultishot(pair.near.get(), Token(kReceive, 1, 1));
  this->ring().Send(pair.near.get(), &vec, 1, Token(kSend, 1, 1));
  EXPECT_TRUE(this->Settle().empty());
  this->ring().CancelFd(pair.near.get());
  std::map<std::uint8_t, Completion> ended;
  for (int i = 0; i < 2; ++i) {
    const Completion completion = this->Next();
    EXPECT_FALSE(completion.more);
    ended[completion.token.op()] = completion;
  }
  EXPECT_EQ(ended[kReceive].result, -ECANCELED);
  // What had gone out, less than everything.
  EXPECT_GT(ended[kSend].result, 0);
  EXPECT_LT(ended[kSend].result, static_cast<std::int32_t>(bytes.size()));
  EXPECT_TRUE(this->Settle().empty());
}

TYPED_TEST(RingTest, CancelWithoutOperationsIsHarmless) {
  SocketPair pair = MakePair();
  this->ring().CancelFd(pair.near.get());
  EXPECT_TRUE(this->Settle().empty());
}

TYPED_TEST(RingTest, ADescriptorNumberMayComeBackAsAnotherSocket) {
  for (std::uint32_t generation = 1; generation <= 20; ++generation) {
    SocketPair pair = MakePair();
    this->ring().ReceiveOnce(pair.near.get(), Token(kReceive, 1, generation));
    WriteAll(pair.far.get(), "x");
    const Completion completion = this->Next();
    EXPECT_EQ(completion.token.generation(), generation);
    EXPECT_EQ(this->Take(completion), "x");
    // A duplicate keeps the old socket alive under the ring's eyes.
    const Fd elsewhere(dup(pair.near.get()));
    pair.near.Reset();
    WriteAll(pair.far.get(), "unseen");
    SocketPair next = MakePair();
    this->ring().ReceiveMultishot(next.near.get(), Token(kReceive, 2, generation));
    WriteAll(next.far.get(), "y");
    const Completion fresh = this->Next();
    EXPECT_EQ(fresh.token, Token(kReceive, 2, generation));
    EXPECT_EQ(this->Take(fresh), "y");
    this->ring().CancelFd(next.near.get());
    EXPECT_EQ(this->Next().result, -ECANCELED);
    EXPECT_TRUE(this->Settle().empty());
  }
}

TYPED_TEST(RingTest, DatagramsComeWithTheirSender) {
  const Fd server = LoopbackSocket(SOCK_DGRAM);
  const Fd client = LoopbackSocket(SOCK_DGRAM);
  const int one = 1;
  setsockopt(server.get(), IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  msghdr layout{};
  layout.msg_namelen = sizeof(sockaddr_in6);
  layout.msg_controllen = 64;
  this->ring().ReceiveMessageMultishot(server.get(), &layout, Token(kReceive, 1, 1));
  socklen_t server_length = 0;
  sockaddr_storage server_address = AddressOf(server.get(), server_length);
  socklen_t client_length = 0;
  const sockaddr_storage client_address = AddressOf(client.get(), client_length);

  for (const std::size_t size : {std::size_t{0}, std::size_t{20}, std::size_t{5000}}) {
    const std::string payload = Pattern(size);
    sendto(client.get(), payload.data(), payload.size(), 0,
           reinterpret_cast<sockaddr*>(&server_address), server_length);
    const Completion completion = this->Next();
    ASSERT_TRUE(completion.has_buffer);
    // io_uring ends the operation with an empty datagram.
    EXPECT_TRUE(completion.more || size == 0);
    if (!completion.more) {
      this->ring().ReceiveMessageMultishot(server.get(), &layout, Token(kReceive, 1, 1));
    }
    const MutableBytes received(this->ring().BufferData(completion.buffer_id),
                                static_cast<std::size_t>(completion.result));
    const auto view = DatagramView::Parse(received, layout);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->Sender(), SocketAddress::FromNative(client_address));
    EXPECT_GE(view->control.size(), CMSG_LEN(sizeof(in_pktinfo)));
    EXPECT_EQ(view->truncated, size == 5000);
    EXPECT_EQ(AsText(view->payload), payload.substr(0, view->payload.size()));
    if (size < 5000) {
      EXPECT_EQ(view->payload.size(), size);
    }
    this->ring().ReturnBuffer(completion.buffer_id);
  }
}

TYPED_TEST(RingTest, SendsDatagrams) {
  const Fd server = LoopbackSocket(SOCK_DGRAM);
  const Fd client = LoopbackSocket(SOCK_DGRAM);
  socklen_t length = 0;
  sockaddr_storage address = AddressOf(client.get(), length);
  std::vector<std::string> payloads;
  for (int i = 0; i < 20; ++i) payloads.push_back("datagram " + std::to_string(i));
  std::vector<iovec> vecs(payloads.size());
  std::vector<msghdr> messages(payloads.size());
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    vecs[i] = Vec(payloads[i]);
    messages[i].msg_name = &address;
    messages[i].msg_namelen = length;
    messages[i].msg_iov = &vecs[i];
    messages[i].msg_iovlen = 1;
    this->ring().SendMessage(server.get(), &messages[i],
                             Token(kSend, static_cast<std::uint32_t>(i), 1));
  }
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result,
              static_cast<std::int32_t>(payloads[completion.token.slot()].size()));
  }
  for (const std::string& payload : payloads) {
    char got[64];
    EXPECT_EQ(recv(client.get(), got, sizeof got, 0), static_cast<ssize_t>(payload.size()));
    EXPECT_EQ(std::string(got, payload.size()), payload);
  }
}

TYPED_TEST(RingTest, ADescriptorInNonBlockingModeWorksToo) {
  SocketPair pair = MakePair();
  fcntl(pair.near.get(), F_SETFL, O_NONBLOCK);
  this->ring().ReceiveOnce(pair.near.get(), Token(kReceive, 1, 1));
  EXPECT_TRUE(this->Settle().empty());
  WriteAll(pair.far.get(), "x");
  EXPECT_EQ(this->Take(this->Next()), "x");
  const std::string bytes = Pattern(2 * 1024 * 1024);
  const iovec vec = Vec(bytes);
  this->ring().Send(pair.near.get(), &vec, 1, Token(kSend, 1, 1));
  std::string got;
  std::thread reader([&] { got = ReadExactly(pair.far.get(), bytes.size()); });
  EXPECT_EQ(this->Next().result, static_cast<std::int32_t>(bytes.size()));
  reader.join();
  EXPECT_TRUE(got == bytes);
}

TYPED_TEST(RingTest, ManyConnectionsInterleave) {
  constexpr std::size_t kPairs = 200;
  constexpr int kRounds = 5;
  std::vector<SocketPair> pairs;
  std::vector<std::string> got(kPairs);
  for (std::size_t i = 0; i < kPairs; ++i) {
    pairs.push_back(MakePair());
    this->ring().ReceiveMultishot(pairs[i].near.get(),
                                  Token(kReceive, static_cast<std::uint32_t>(i), 1));
  }
  std::string expected;
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = "round " + std::to_string(round) + ";";
    expected += text;
    for (const SocketPair& pair : pairs) WriteAll(pair.far.get(), text);
    std::size_t missing = kPairs * text.size();
    while (missing > 0) {
      const Completion completion = this->Next();
      if (completion.result == -ENOBUFS) {
        this->ring().ReceiveMultishot(pairs[completion.token.slot()].near.get(), completion.token);
        continue;
      }
      ASSERT_GT(completion.result, 0);
      missing -= static_cast<std::size_t>(completion.result);
      got[completion.token.slot()] += this->Take(completion);
      if (!completion.more) {
        this->ring().ReceiveMultishot(pairs[completion.token.slot()].near.get(), completion.token);
      }
    }
  }
  for (const std::string& bytes : got) EXPECT_EQ(bytes, expected);
}

TYPED_TEST(RingTest, StartingMoreThanTheSubmissionQueueHoldsWorks) {
  std::vector<SocketPair> pairs;
  const std::string bytes = "x";
  const iovec vec = Vec(bytes);
  for (std::uint32_t i = 0; i < 300; ++i) {
    pairs.push_back(MakePair());
    this->ring().Send(pairs.back().near.get(), &vec, 1, Token(kSend, i, 1));
  }
  std::set<std::uint32_t> done;
  while (done.size() < pairs.size()) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result, 1);
    EXPECT_TRUE(done.insert(completion.token.slot()).second);
  }
}

TYPED_TEST(RingTest, MoreCompletionsThanPlacesStayForTheNextTurn) {
  std::vector<SocketPair> pairs;
  const std::string bytes = "x";
  const iovec vec = Vec(bytes);
  for (std::uint32_t i = 0; i < 60; ++i) {
    pairs.push_back(MakePair());
    this->ring().Send(pairs.back().near.get(), &vec, 1, Token(kSend, i, 1));
  }
  std::size_t done = 0;
  while (done < pairs.size()) {
    std::array<Completion, 16> out;
    // The long wait would end the test's patience if anything were forgotten.
    const std::size_t count = this->ring().Turn(out, Seconds(30));
    ASSERT_GT(count, 0u);
    done += count;
  }
  EXPECT_EQ(done, pairs.size());
}

TYPED_TEST(RingTest, OverflowingTheCompletionQueueLosesNothing) {
  RingOptions options;
  options.submission_entries = 64;
  options.completion_entries = 64;
  options.buffer_count = 8;
  options.buffer_size = 1024;
  this->Open(options);
  std::vector<SocketPair> pairs;
  for (std::uint32_t i = 0; i < 500; ++i) {
    pairs.push_back(MakePair());
    this->ring().ReceiveOnce(pairs.back().near.get(), Token(kReceive, i, 1));
  }
  EXPECT_TRUE(this->Settle().empty());
  for (SocketPair& pair : pairs) pair.far.Reset();
  std::set<std::uint32_t> ended;
  while (ended.size() < pairs.size()) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result, 0);
    EXPECT_TRUE(ended.insert(completion.token.slot()).second);
  }
}

TYPED_TEST(RingTest, AWakeBeforeTheTurnEndsItAtOnce) {
  this->ring().waker().Wake();
  this->ring().waker().Wake();
  EXPECT_TRUE(this->Next().wake);
  EXPECT_TRUE(this->Settle().empty());  // two wakes, one completion
}

TYPED_TEST(RingTest, AWakerOutlivesItsRing) {
  const Waker waker = this->ring().waker();
  RingOptions options;
  options.buffer_count = 8;
  this->Open(options);
  waker.Wake();
  EXPECT_TRUE(this->Settle().empty());
}

TYPED_TEST(RingTest, AnotherThreadWakesASleepingRing) {
  const Waker waker = this->ring().waker();
  std::atomic<int> sent{0};
  std::atomic<int> seen{0};
  constexpr int kWakes = 2000;
  std::thread other([&] {
    for (int i = 1; i <= kWakes; ++i) {
      sent.store(i, std::memory_order_relaxed);
      waker.Wake();
      while (seen.load(std::memory_order_acquire) < i) std::this_thread::yield();
    }
  });
  while (seen.load(std::memory_order_relaxed) < kWakes) {
    if (this->Next().wake) {
      // Visible because of the wake.
      seen.store(sent.load(std::memory_order_relaxed), std::memory_order_release);
    }
  }
  other.join();
}

// A wake that falls into the pause before the wait must end the wait.
TYPED_TEST(RingTest, WakesAreNotLostWhileCompletionsGather) {
  const Waker waker = this->ring().waker();
  std::atomic<int> sent{0};
  std::atomic<int> seen{0};
  constexpr int kWakes = 500;
  std::thread other([&] {
    for (int i = 1; i <= kWakes; ++i) {
      sent.store(i, std::memory_order_relaxed);
      waker.Wake();
      while (seen.load(std::memory_order_acquire) < i) std::this_thread::yield();
    }
  });
  std::array<Completion, 16> out;
  while (seen.load(std::memory_order_relaxed) < kWakes) {
    const std::size_t count = this->ring().Turn(out, Seconds(3600), Micros(20));
    if (count > 0 && out[0].wake) {
      seen.store(sent.load(std::memory_order_relaxed), std::memory_order_release);
    }
  }
  other.join();
}

TYPED_TEST(RingTest, WhatWasStartedGoesOutBeforeCompletionsGather) {
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
TYPED_TEST(RingTest, RingsWakeEachOtherWithTheirTurns) {
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

TEST(Epoll, BoundsWhatOneConnectionGetsPerTurn) {
  RingOptions options;
  options.buffer_count = 64;
  options.buffer_size = 256;
  auto ring = EpollRing::Create(options);
  ASSERT_TRUE(ring.has_value());
  SocketPair loud = MakePair();
  SocketPair quiet = MakePair();
  (*ring)->ReceiveMultishot(loud.near.get(), Token(kReceive, 1, 1));
  (*ring)->ReceiveMultishot(quiet.near.get(), Token(kReceive, 2, 1));
  WriteAll(loud.far.get(), Pattern(64 * 256));
  WriteAll(quiet.far.get(), "psst");
  std::array<Completion, 64> out;
  const std::size_t count = (*ring)->Turn(out, Seconds(10));
  std::map<std::uint32_t, int> per_slot;
  for (std::size_t i = 0; i < count; ++i) ++per_slot[out[i].token.slot()];
  EXPECT_EQ(per_slot[1], 4);
  EXPECT_EQ(per_slot[2], 1);
}

TEST(BufferMemory, RefusesBadCounts) {
  EXPECT_FALSE(BufferMemory::Create(0, 1024).has_value());
  EXPECT_FALSE(BufferMemory::Create(3, 1024).has_value());
  EXPECT_FALSE(BufferMemory::Create(65536, 1024).has_value());
  EXPECT_FALSE(BufferMemory::Create(4, 0).has_value());
}

TEST(BufferMemoryDeathTest, StopsWhenABufferComesBackTwice) {
  auto memory = BufferMemory::Create(4, 64);
  ASSERT_TRUE(memory.has_value());
  memory->Hold(1);
  memory->Release(1);
  EXPECT_DEATH(memory->Release(1), "");
}

}  // namespace
}  // namespace ringscale::core::io

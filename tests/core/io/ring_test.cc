// One operation at a time: accept, receive, send, cancel; and waits.
#include "core/io/ring.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>
#include <thread>

#include "tests/core/io/ring_support.h"

namespace ringscale::core::io {
namespace {

TYPED_TEST_SUITE(RingTest, Rings);

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

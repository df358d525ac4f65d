#include "core/engine/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/engine/loop_thread.h"
#include "core/io/probe.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"

namespace ringscale::core::engine {
namespace {

struct Pair {
  Fd near;
  Fd far;
};
Pair MakePair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

std::string Pattern(std::size_t bytes) {
  std::string out(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i * 131 + i / 251);
  return out;
}

std::string ReadToEnd(int fd) {
  std::string all;
  char part[65536];
  for (;;) {
    const ssize_t got = read(fd, part, sizeof part);
    if (got <= 0) return all;
    all.append(part, static_cast<std::size_t>(got));
  }
}

void WriteAll(int fd, std::string_view bytes) {
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

INSTANTIATE_TEST_SUITE_P(Rings, LoopTest,
                         ::testing::Values(io::RingKind::kUring, io::RingKind::kEpoll),
                         [](const auto& parameter) {
                           return parameter.param == io::RingKind::kUring ? "Uring" : "Epoll";
                         });

TEST_P(LoopTest, EchoesOverASocketPair) {
  Pair pair = MakePair();
  Recorder handler;
  handler.on_receive = [&](StreamId id, MutableBytes bytes) {
    loop().Send(id, std::string(AsText(bytes)));
  };
  handler.on_closed = [&](StreamId) { loop().Stop(); };
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  EXPECT_NE(id, StreamId{});
  const std::string bytes = Pattern(1'000'000);
  std::string echoed(bytes.size(), '\0');
  std::thread peer([&] {
    std::thread writer([&] { WriteAll(pair.far.get(), bytes); });
    for (std::size_t done = 0; done < echoed.size();) {
      const ssize_t got = read(pair.far.get(), echoed.data() + done, echoed.size() - done);
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    writer.join();
    pair.far.Reset();
  });
  Run();
  peer.join();
  EXPECT_TRUE(echoed == bytes);
  EXPECT_EQ(handler.closed_calls, 1);
  EXPECT_EQ(handler.closed_error, 0);
}

TEST_P(LoopTest, SendsOfOneTurnGoOutInOrderAndOnSentComesOnceEmpty) {
  Pair pair = MakePair();
  Recorder handler;
  handler.on_sent = [&](StreamId id) {
    EXPECT_EQ(loop().QueuedBytes(id), 0u);
    loop().Stop();
  };
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  std::string expected;
  // More pieces than one gathered send takes.
  for (int i = 0; i < 1000; ++i) {
    const std::string piece = "piece " + std::to_string(i) + ";";
    expected += piece;
    loop().Send(id, piece);
    loop().Send(id, std::string());
  }
  SliceList slices;
  slices.push_back(SharedSlice::Own("tail1;"));
  slices.push_back(SharedSlice::Own(""));
  slices.push_back(SharedSlice::Own("tail2;"));
  loop().Send(id, std::move(slices));
  expected += "tail1;tail2;";
  EXPECT_EQ(loop().QueuedBytes(id), expected.size());
  Run();
  EXPECT_EQ(handler.sent_calls, 1);
  loop().Close(id);
  Destroy();
  EXPECT_EQ(ReadToEnd(pair.far.get()), expected);
}

TEST_P(LoopTest, SendsSharedMemoryToManyStreams) {
  constexpr std::size_t kStreams = 20;
  const SharedSlice shared = SharedSlice::Own(Pattern(100'000));
  std::vector<Pair> pairs;
  std::vector<Recorder> handlers(kStreams);
  std::size_t finished = 0;
  for (Recorder& handler : handlers) {
    pairs.push_back(MakePair());
    handler.on_sent = [&](StreamId id) {
      loop().Close(id);
      if (++finished == kStreams) loop().Stop();
    };
    const StreamId id = loop().Attach(std::move(pairs.back().near), handler);
    loop().Send(id, SliceList{shared, shared});
  }
  std::vector<std::string> got(kStreams);
  std::thread reader([&] {
    for (std::size_t i = 0; i < kStreams; ++i) got[i] = ReadToEnd(pairs[i].far.get());
  });
  Run();
  Destroy();
  reader.join();
  const std::string expected = std::string(shared.bytes) + std::string(shared.bytes);
  for (const std::string& bytes : got) EXPECT_TRUE(bytes == expected);
}

TEST_P(LoopTest, CloseInsideOnReceiveIsSilent) {
  Pair pair = MakePair();
  Recorder handler;
  handler.on_receive = [&](StreamId id, MutableBytes) {
    loop().Close(id);
    loop().Close(id);            // stale by now
    loop().Send(id, "ignored");  // as is this
    EXPECT_EQ(loop().QueuedBytes(id), 0u);
    loop().After(Millis(1), [&] { loop().Stop(); });
  };
  loop().Attach(std::move(pair.near), handler);
  WriteAll(pair.far.get(), "x");
  Run();
  EXPECT_EQ(ReadToEnd(pair.far.get()), "");
  EXPECT_EQ(handler.receive_calls, 1);
  EXPECT_EQ(handler.closed_calls, 0);
}

TEST_P(LoopTest, CloseWithOperationsInFlightClosesSoon) {
  Pair pair = MakePair();
  Recorder handler;
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  loop().Send(id, Pattern(8 * 1024 * 1024));  // blocks
  std::promise<void> closing;
  loop().After(Millis(2), [&, id] {
    loop().Close(id);
    closing.set_value();
  });
  std::thread peer([&] {
    closing.get_future().wait();
    ReadToEnd(pair.far.get());  // ends only when it is closed
    loop().Stop();
  });
  // Nothing is read before the close: the send is really in flight then.
  Run();
  peer.join();
  EXPECT_EQ(handler.closed_calls, 0);
}

TEST_P(LoopTest, AResetEndsTheStreamWithItsError) {
  auto listener = net::OpenTcpListener(*net::ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  const SocketAddress address = net::LocalAddress(listener->get());
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, false);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&native), length), 0);
  Fd server(accept(listener->get(), nullptr, nullptr));
  Recorder handler;
  handler.on_closed = [&](StreamId id) {
    loop().Send(id, "to nobody");
    loop().Close(id);
    loop().Stop();
  };
  loop().Attach(std::move(server), handler);
  loop().After(Millis(1), [&] {
    const linger reset{1, 0};
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client.Reset();
  });
  Run();
  EXPECT_EQ(handler.closed_error, -ECONNRESET);
  EXPECT_EQ(handler.closed_calls, 1);
}

TEST_P(LoopTest, ABrokenSendEndsTheStream) {
  Pair pair = MakePair();
  Recorder handler;
  handler.on_closed = [&](StreamId) { loop().Stop(); };
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  loop().PauseReceive(id);
  loop().Send(id, Pattern(8 * 1024 * 1024));
  loop().After(Millis(2), [&] { pair.far.Reset(); });
  Run();
  EXPECT_EQ(handler.closed_calls, 1);
  EXPECT_LT(handler.closed_error, 0);
}

TEST_P(LoopTest, AnAnswerStillReachesAPeerThatHasEndedItsDirection) {
  Pair pair = MakePair();
  Recorder handler;
  const std::string answer = Pattern(4 * 1024 * 1024);
  handler.on_receive = [&](StreamId id, MutableBytes) { loop().Send(id, answer); };
  loop().Attach(std::move(pair.near), handler);
  WriteAll(pair.far.get(), "question");
  shutdown(pair.far.get(), SHUT_WR);
  std::string got;
  std::thread peer([&] {
    got = ReadToEnd(pair.far.get());
    loop().Stop();
  });
  Run();
  peer.join();
  EXPECT_TRUE(got == answer);
  EXPECT_EQ(handler.closed_calls, 1);
}

TEST_P(LoopTest, PauseHoldsBytesBackAndResumeDeliversThem) {
  Pair pair = MakePair();
  Recorder handler;
  bool paused = false;
  handler.on_receive = [&](StreamId id, MutableBytes) {
    EXPECT_FALSE(paused);
    if (handler.receive_calls == 1) {
      loop().PauseReceive(id);
      paused = true;
      WriteAll(pair.far.get(), " second");
      loop().After(Millis(3), [&, id] {
        EXPECT_EQ(handler.received, "first");
        paused = false;
        loop().ResumeReceive(id);
        EXPECT_EQ(handler.received, "first");  // not inside the call
      });
    } else {
      loop().Stop();
    }
  };
  loop().Attach(std::move(pair.near), handler);
  WriteAll(pair.far.get(), "first");
  Run();
  EXPECT_EQ(handler.received, "first second");
}

TEST_P(LoopTest, PauseFromOutsideKeepsWhatWasOnItsWay) {
  Pair pair = MakePair();
  Recorder handler;
  handler.on_receive = [&](StreamId, MutableBytes) {
    if (handler.received == "onetwo") loop().Stop();
  };
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  loop().PauseReceive(id);  // the receive is in flight
  WriteAll(pair.far.get(), "one");
  loop().After(Millis(3), [&, id] {
    EXPECT_EQ(handler.receive_calls, 0);
    const auto fd = loop().Detach(id);  // would lose the kept bytes
    EXPECT_FALSE(fd.has_value());
    EXPECT_EQ(fd.error().code, ErrorCode::kConflict);
    loop().ResumeReceive(id);
    loop().ResumeReceive(id);
    WriteAll(pair.far.get(), "two");
  });
  Run();
  EXPECT_EQ(handler.received, "onetwo");
}

TEST_P(LoopTest, DetachInsideOnReceiveGivesTheDescriptor) {
  Pair pair = MakePair();
  Recorder handler;
  Fd taken;
  handler.on_receive = [&](StreamId id, MutableBytes bytes) {
    auto fd = loop().Detach(id);
    ASSERT_TRUE(fd.has_value()) << fd.error().message;
    taken = std::move(*fd);
    EXPECT_EQ(AsText(bytes), "hello");  // still valid
    EXPECT_FALSE(loop().Detach(id).has_value());
    loop().After(Millis(3), [&] { loop().Stop(); });
  };
  loop().Attach(std::move(pair.near), handler);
  WriteAll(pair.far.get(), "hello");
  Run();
  // Nothing reads it any more but us.
  WriteAll(pair.far.get(), "next");
  char got[16];
  ASSERT_EQ(read(taken.get(), got, sizeof got), 4);
  EXPECT_EQ(std::string_view(got, 4), "next");
  EXPECT_EQ(handler.closed_calls, 0);
}

TEST_P(LoopTest, DetachWhilePausedWorksAndWhileSendingDoesNot) {
  Pair pair = MakePair();
  Recorder handler;
  Fd taken;
  handler.on_receive = [&](StreamId id, MutableBytes) {
    loop().PauseReceive(id);
    loop().Send(id, "answer");
    const auto early = loop().Detach(id);
    EXPECT_FALSE(early.has_value());
    EXPECT_EQ(early.error().code, ErrorCode::kConflict);
  };
  handler.on_sent = [&](StreamId id) {
    auto fd = loop().Detach(id);
    ASSERT_TRUE(fd.has_value()) << fd.error().message;
    taken = std::move(*fd);
    loop().Stop();
  };
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  const auto receiving = loop().Detach(id);
  EXPECT_FALSE(receiving.has_value());
  WriteAll(pair.far.get(), "hello");
  Run();
  EXPECT_TRUE(taken.valid());
}

TEST_P(LoopTest, ADetachedDescriptorLivesInAnotherLoop) {
  Pair pair = MakePair();
  LoopThreadOptions options;
  options.loop.force_epoll = GetParam() == io::RingKind::kEpoll;
  auto thread = LoopThread::Start(options);
  ASSERT_TRUE(thread.has_value());
  Loop& other = (*thread)->loop();
  Recorder second;
  second.on_receive = [&](StreamId id, MutableBytes bytes) {
    other.Send(id, "second got " + std::string(AsText(bytes)));
  };
  second.on_closed = [&](StreamId) { other.Stop(); };
  Recorder first;
  first.on_receive = [&](StreamId id, MutableBytes) {
    auto fd = loop().Detach(id);
    ASSERT_TRUE(fd.has_value());
    EXPECT_TRUE(other.Post(
        [&other, &second, fd = std::move(*fd)]() mutable { other.Attach(std::move(fd), second); }));
    loop().Stop();
  };
  loop().Attach(std::move(pair.near), first);
  WriteAll(pair.far.get(), "one");
  Run();
  WriteAll(pair.far.get(), "two");
  char got[64];
  const ssize_t length = read(pair.far.get(), got, sizeof got);
  EXPECT_EQ(std::string_view(got, static_cast<std::size_t>(std::max<ssize_t>(length, 0))),
            "second got two");
  pair.far.Reset();
  (*thread)->Join();
}

TEST_P(LoopTest, CloseAfterFlushSendsEverythingFirst) {
  Pair pair = MakePair();
  const std::string bytes = Pattern(4 * 1024 * 1024);
  {
    Recorder handler;
    const StreamId id = loop().Attach(std::move(pair.near), handler);
    loop().Send(id, bytes);
    loop().CloseAfterFlush(id);
    EXPECT_EQ(loop().QueuedBytes(id), 0u);  // the id is stale
  }  // the handler is gone
  std::string got;
  std::thread peer([&] {
    WriteAll(pair.far.get(), "nobody wants this");
    got = ReadToEnd(pair.far.get());
    loop().Stop();
  });
  Run();
  peer.join();
  EXPECT_TRUE(got == bytes);
}

TEST_P(LoopTest, CloseAfterFlushDoesNotResetOverUnreadBytes) {
  auto listener = net::OpenTcpListener(*net::ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  sockaddr_storage native{};
  const socklen_t length = net::LocalAddress(listener->get()).ToNative(native, false);
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&native), length), 0);
  Recorder handler;
  handler.on_receive = [&](StreamId id, MutableBytes) {
    loop().Send(id, "413 too large");
    loop().CloseAfterFlush(id);
  };
  loop().Attach(Fd(accept(listener->get(), nullptr, nullptr)), handler);
  std::string got;
  std::thread peer([&] {
    WriteAll(client.get(), Pattern(500'000));
    got = ReadToEnd(client.get());
    loop().Stop();
  });
  Run();
  peer.join();
  EXPECT_EQ(got, "413 too large");
  EXPECT_EQ(handler.receive_calls, 1);
}

TEST_P(LoopTest, CloseAfterFlushGivesUpAtItsLimit) {
  Pair pair = MakePair();
  Recorder handler;
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  loop().Send(id, Pattern(8 * 1024 * 1024));
  loop().CloseAfterFlush(id, Millis(5));
  loop().After(Millis(50), [&] { loop().Stop(); });
  Run();
  Destroy();
  EXPECT_LT(ReadToEnd(pair.far.get()).size(), std::size_t{8} * 1024 * 1024);
  EXPECT_EQ(handler.closed_calls, 0);
}

TEST_P(LoopTest, AStaleIdDoesNotTouchTheNextStreamOfItsSlot) {
  Recorder handler;
  Pair first = MakePair();
  const StreamId old = loop().Attach(std::move(first.near), handler);
  Pair second = MakePair();
  StreamId fresh;
  Recorder next;
  next.on_receive = [&](StreamId, MutableBytes) { loop().Stop(); };
  loop().Close(old);
  loop().After(Millis(2), [&] {
    fresh = loop().Attach(std::move(second.near), next);
    EXPECT_NE(fresh, old);
    loop().Close(old);
    loop().Send(old, "wrong");
    loop().PauseReceive(old);
    loop().CloseAfterFlush(old);
    WriteAll(second.far.get(), "right");
  });
  Run();
  EXPECT_EQ(next.received, "right");
  loop().Close(fresh);
}

TEST_P(LoopTest, MoreStreamsThanBuffersAllGetTheirBytes) {
  LoopOptions options;
  options.buffer_count = 4;
  options.buffer_size = 512;
  Create(options);
  constexpr std::size_t kStreams = 300;
  std::vector<Pair> pairs;
  std::vector<Recorder> handlers(kStreams);
  std::size_t complete = 0;
  const std::string bytes = Pattern(3000);
  for (Recorder& handler : handlers) {
    pairs.push_back(MakePair());
    handler.on_receive = [&](StreamId, MutableBytes) {
      if (handler.received.size() == bytes.size() && ++complete == kStreams) loop().Stop();
    };
    loop().Attach(std::move(pairs.back().near), handler);
    WriteAll(pairs.back().far.get(), bytes);
  }
  Run();
  for (const Recorder& handler : handlers) EXPECT_TRUE(handler.received == bytes);
}

TEST_P(LoopTest, ListensAndStops) {
  auto listener = net::OpenTcpListener(*net::ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  const SocketAddress address = net::LocalAddress(listener->get());
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, false);
  const auto connect_once = [&] {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length) != 0) fd.Reset();
    return fd;
  };
  std::vector<SocketAddress> peers;
  std::vector<Fd> clients;
  loop().Listen(listener->get(), [&](Fd fd, const SocketAddress& peer) {
    EXPECT_TRUE(fd.valid());
    peers.push_back(peer);
    if (peers.size() == 50) {
      loop().StopListening(listener->get());
      listener->Reset();  // the loop has its own descriptor
      loop().After(Millis(5), [&] { loop().Stop(); });
    }
  });
  for (int i = 0; i < 50; ++i) clients.push_back(connect_once());
  Run();
  ASSERT_EQ(peers.size(), 50u);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    EXPECT_EQ(peers[i], net::LocalAddress(clients[i].get()));
  }
  EXPECT_FALSE(connect_once().valid());
}

TEST_P(LoopTest, AcceptingGoesOnAfterDescriptorsRanOut) {
  auto listener = net::OpenTcpListener(*net::ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  sockaddr_storage native{};
  const socklen_t length = net::LocalAddress(listener->get()).ToNative(native, false);
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int accepted = 0;
  loop().Listen(listener->get(), [&](Fd, const SocketAddress&) {
    ++accepted;
    loop().Stop();
  });
  // Takes every descriptor there is.
  std::vector<Fd> hoard;
  for (int fd = dup(client.get()); fd >= 0; fd = dup(client.get())) hoard.emplace_back(fd);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&native), length), 0);
  loop().After(Millis(20), [&] {
    EXPECT_EQ(accepted, 0);
    hoard.clear();
  });
  Run();
  EXPECT_EQ(accepted, 1);
}

TEST_P(LoopTest, TimersFireInOrderAndCancelledOnesDoNot) {
  std::vector<int> fired;
  loop().After(Millis(6), [&] {
    fired.push_back(3);
    loop().Stop();
  });
  loop().After(Millis(2), [&] { fired.push_back(1); });
  TimerId doomed;
  loop().After(Millis(2), [&] {
    fired.push_back(2);
    loop().CancelTimer(doomed);
    loop().CancelTimer(doomed);
  });
  doomed = loop().After(Millis(2), [&] { fired.push_back(99); });
  loop().CancelTimer(TimerId{});
  const Instant start = MonotonicNow();
  Run();
  EXPECT_EQ(fired, (std::vector<int>{1, 2, 3}));
  EXPECT_GE(MonotonicNow() - start, Millis(6));
  EXPECT_GE(loop().Now() - start, Millis(5));
}

TEST_P(LoopTest, ATimerMayCancelItselfAndStartOthers) {
  int fired = 0;
  TimerId self;
  self = loop().After(Nanos(0), [&] {
    loop().CancelTimer(self);
    loop().After(Nanos(-5), [&] {
      ++fired;
      loop().Stop();
    });
  });
  Run();
  EXPECT_EQ(fired, 1);
}

TEST_P(LoopTest, PostsFromManyThreadsArriveOnceEach) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  std::vector<int> per_thread(kThreads, 0);  // touched by the loop's thread only
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        while (!loop().Post([&, t, i] {
          EXPECT_EQ(per_thread[static_cast<std::size_t>(t)]++, i);
          if (++total == kThreads * kPosts) loop().Stop();
        })) {
          std::this_thread::yield();
        }
      }
    });
  }
  Run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, kThreads * kPosts);
}

TEST_P(LoopTest, PostIsBoundedAndRefusedAfterTheEnd) {
  LoopOptions options;
  options.post_queue_limit = 3;
  Create(options);
  int runs = 0;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(loop().Post([&] { ++runs; }));
  auto token = std::make_shared<int>(1);
  EXPECT_FALSE(loop().Post([token] {}));
  EXPECT_EQ(token.use_count(), 1);
  loop().After(Millis(1), [&] { loop().Stop(); });
  Run();
  EXPECT_EQ(runs, 3);
  EXPECT_FALSE(loop().Post([] {}));
}

TEST_P(LoopTest, RunsAgainAfterStop) {
  for (int round = 1; round <= 3; ++round) {
    int runs = 0;
    loop().After(Millis(1), [&] {
      ++runs;
      loop().Stop();
    });
    Run();
    EXPECT_EQ(runs, 1) << "round " << round;
  }
}

TEST_P(LoopTest, ATaskMayPostAgain) {
  int rounds = 0;
  std::function<void()> again = [&] {
    if (++rounds == 100) {
      loop().Stop();
    } else {
      EXPECT_TRUE(loop().Post(again));
    }
  };
  EXPECT_TRUE(loop().Post(again));
  Run();
  EXPECT_EQ(rounds, 100);
}

TEST_P(LoopTest, DestroyingALoopClosesEverythingSilently) {
  Pair pair = MakePair();
  Recorder handler;
  const StreamId id = loop().Attach(std::move(pair.near), handler);
  loop().Send(id, Pattern(8 * 1024 * 1024));
  auto token = std::make_shared<int>(1);
  loop().After(Seconds(100), [token] {});
  loop().After(Millis(2), [&] { loop().Stop(); });
  Run();
  EXPECT_TRUE(token.use_count() > 1);
  Destroy();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_LT(ReadToEnd(pair.far.get()).size(), std::size_t{8} * 1024 * 1024);
  EXPECT_EQ(handler.closed_calls, 0);
}

}  // namespace
}  // namespace ringscale::core::engine

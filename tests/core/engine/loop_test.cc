// Streams of the event loop: what arrives, what is sent, how they end.
#include <gtest/gtest.h>

#include <cerrno>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/core/engine/loop_support.h"

namespace ringscale::core::engine {
namespace {

INSTANTIATE_TEST_SUITE_P(Rings, LoopTest, BothRings(), NameOf);

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
  for (const char* tail : {"tail1;", "", "tail2;"}) loop().Send(id, SharedSlice::Own(tail));
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
    loop().Send(id, shared);
    loop().Send(id, shared);
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

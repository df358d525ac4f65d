// Streams that are paused, detached, or closed once everything is sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/engine/loop_thread.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/core/engine/loop_support.h"

namespace ringscale::core::engine {
namespace {

using LoopHold = LoopTest;
INSTANTIATE_TEST_SUITE_P(Rings, LoopHold, BothRings(), NameOf);

TEST_P(LoopHold, PauseHoldsBytesBackAndResumeDeliversThem) {
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

TEST_P(LoopHold, PauseFromOutsideKeepsWhatWasOnItsWay) {
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

TEST_P(LoopHold, DetachInsideOnReceiveGivesTheDescriptor) {
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

TEST_P(LoopHold, DetachWhilePausedWorksAndWhileSendingDoesNot) {
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

TEST_P(LoopHold, ADetachedDescriptorLivesInAnotherLoop) {
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

TEST_P(LoopHold, CloseAfterFlushSendsEverythingFirst) {
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

TEST_P(LoopHold, CloseAfterFlushDoesNotResetOverUnreadBytes) {
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

TEST_P(LoopHold, CloseAfterFlushGivesUpAtItsLimit) {
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

}  // namespace
}  // namespace ringscale::core::engine

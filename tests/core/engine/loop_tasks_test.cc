// Listeners, timers and posted tasks of the event loop.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/core/engine/loop_support.h"

namespace ringscale::core::engine {
namespace {

using LoopTasks = LoopTest;
INSTANTIATE_TEST_SUITE_P(Rings, LoopTasks, BothRings(), NameOf);

TEST_P(LoopTasks, ListensAndStops) {
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

TEST_P(LoopTasks, AcceptingGoesOnAfterDescriptorsRanOut) {
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

TEST_P(LoopTasks, TimersFireInOrderAndCancelledOnesDoNot) {
  std::vector<int> fired;
  const Instant start = loop().Now();  // from which timers count
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
  Run();
  EXPECT_EQ(fired, (std::vector<int>{1, 2, 3}));
  EXPECT_GE(MonotonicNow() - start, Millis(6));
  EXPECT_GE(loop().Now() - start, Millis(5));
}

TEST_P(LoopTasks, ATimerMayCancelItselfAndStartOthers) {
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

TEST_P(LoopTasks, PostsFromManyThreadsArriveOnceEach) {
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

TEST_P(LoopTasks, PostIsBoundedAndRefusedAfterTheEnd) {
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

TEST_P(LoopTasks, RunsAgainAfterStop) {
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

TEST_P(LoopTasks, ATaskMayPostAgain) {
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

}  // namespace
}  // namespace ringscale::core::engine

// Slow and silent clients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/relay/shard_support.h"

namespace ringscale::relay {
namespace {

class RelaySlow : public RelayShardTest {
 protected:
  struct Two {
    SimClient& sender;
    SimClient& stuck;  // takes nothing
  };
  Two StartWithStuck(const WorldOptions& options = {}) {
    Start(options);
    SimClient& sender = Connect();
    SimClient& stuck = Connect();
    stuck.socket().window = 0;
    return {sender, stuck};
  }
};
INSTANTIATE_TEST_SUITE_P(All, RelaySlow, AllVariants(), NameOf);

TEST_P(RelaySlow, ABlockedReceiverDelaysNobodyElse) {
  Start();
  SimClient& alice = Connect();
  SimClient& bob = Connect();
  SimClient& cathy = Connect();
  cathy.socket().window = 0;
  for (int i = 0; i < 100; ++i) SendPacket(alice, cathy, Frame(1400, 1));
  SendPacket(alice, bob, Text("hi"));
  EXPECT_EQ(world_->Receive(bob, core::Millis(20)), RecvPacket(alice.key(), Text("hi")));
}

TEST_P(RelaySlow, AReceiverThatTakesNothingIsClosedAfterTheWriteTimeout) {
  auto [a, b] = StartWithStuck();
  SendPacket(a, b, Text("x"));
  world_->Skip(core::Millis(1900));
  EXPECT_FALSE(b.closed());
  world_->Skip(core::Millis(200));
  EXPECT_TRUE(b.closed());
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 1u);
  EXPECT_EQ(world_->Dropped(DropReason::kWriteError), 1u);
}

// It reads so slowly that its kernel has no news for seconds.
TEST_P(RelaySlow, AReceiverWhoseWindowIsClosedHasFiveTimeouts) {
  auto [a, b] = StartWithStuck();
  b.socket().says_full = true;
  SendPacket(a, b, Text("x"));
  world_->Skip(core::Millis(9900));
  EXPECT_FALSE(b.closed());
  b.socket().window = 10;
  world_->Run(core::Micros(1));
  b.socket().window = 0;
  world_->Skip(core::Millis(8900));
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 0u) << "it took something meanwhile";
  world_->Skip(core::Seconds(1));
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 1u);
}

// What its kernel had no room for is sent again after pauses that double: meanwhile its
// window is open and nothing is acknowledged.
TEST_P(RelaySlow, AReceiverWhoseWindowWasClosedHasFiveTimeouts) {
  auto [a, b] = StartWithStuck();
  b.socket().says_full = true;
  SendPacket(a, b, Text("x"));
  world_->Skip(core::Millis(1100));
  b.socket().says_full = false;
  world_->Skip(core::Millis(8800));
  EXPECT_FALSE(b.closed());
  world_->Skip(core::Millis(200));
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 1u);
}

TEST_P(RelaySlow, AReceiverThatAnswersIsNotGone) {
  auto [a, b] = StartWithStuck();
  b.socket().silent = core::Millis(1900);
  SendPacket(a, b, Text("x"));
  world_->Skip(core::Millis(5000));
  EXPECT_FALSE(b.closed());
  b.socket().silent = core::Millis(2000);
  world_->Skip(core::Millis(1100));
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 1u);
}

TEST_P(RelaySlow, AMeshPeerHasThirtySeconds) {
  Start();
  SimClient& a = Connect();
  SimClient& m = Mesh();
  m.socket().window = 0;
  m.socket().says_full = true;
  SendPacket(a, m, Text("x"));
  world_->Skip(core::Seconds(29));
  EXPECT_FALSE(m.closed());
  world_->Skip(core::Seconds(2));
  EXPECT_TRUE(m.closed());
}

TEST_P(RelaySlow, ASlowReceiverThatMakesProgressIsKept) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 1000;
  for (int i = 0; i < 100; ++i) SendPacket(a, b, Frame(1400, 1));
  for (int i = 0; i < 100; ++i) {
    world_->Skip(core::Millis(300));
    b.Read(500, world_->aead());
    ASSERT_FALSE(b.closed());
  }
  EXPECT_EQ(world_->Closed(CloseReason::kWriteTimeout), 0u);
  EXPECT_EQ(b.complaint(), "");
}

TEST_P(RelaySlow, OldPacketsAreDroppedFreshOnesArrive) {
  auto [a, b] = StartWithStuck();
  SendPacket(a, b, Text("in flight"));
  world_->Skip(core::Millis(10));
  SendPacket(a, b, Text("old"));
  world_->Skip(core::Millis(1200));
  SendPacket(a, b, Text("fresh"));
  world_->Skip(core::Millis(10));
  b.socket().window = 1 << 20;
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("in flight")));
  EXPECT_EQ(world_->Receive(b), RecvPacket(a.key(), Text("fresh")));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 1u);
}

TEST_P(RelaySlow, TheTimeInQueuesIsAnAverageThatForgets) {
  WorldOptions options;
  options.limits.queue.max_age_ms = 1000;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  const auto age_ms = [&] {
    return static_cast<double>(
               world_->Sum([](const ShardMetrics& m) { return m.queue_age_us.Value(); })) /
           1000;
  };
  for (int i = 0; i < 20; ++i) {
    SendPacket(a, b, Text("at once"));
    world_->Run(core::Millis(1));
  }
  EXPECT_LT(age_ms(), 2);
  b.socket().window = 0;
  SendPacket(a, b, Text("in flight"));
  world_->Skip(core::Millis(10));
  SendPacket(a, b, Text("waits"));
  world_->Skip(core::Millis(500));
  b.socket().window = 1 << 20;
  world_->Receive(b);
  world_->Run(core::Millis(20));
  // A tenth of the half second that one send has waited.
  EXPECT_GT(age_ms(), 45);
  EXPECT_LT(age_ms(), 60);
  for (int i = 0; i < 60; ++i) {
    SendPacket(a, b, Text("at once"));
    world_->Run(core::Millis(1));
  }
  EXPECT_LT(age_ms(), 3);
}

TEST_P(RelaySlow, SendsAreCountedByWhatTheyCarry) {
  auto [a, b] = StartWithStuck();
  SendPacket(a, b, Text("in flight"));
  world_->Run(core::Millis(5));
  for (int i = 0; i < 12; ++i) SendPacket(a, b, Text("behind it"));
  world_->Run(core::Millis(5));
  b.socket().window = 1 << 20;
  ReceiveAll(*world_, b);
  core::HistogramValues values;
  world_->Sum([&](const ShardMetrics& m) {
    m.packets_per_send.AddTo(values);
    return 0;
  });
  EXPECT_EQ(values.sum, 13u);
  EXPECT_EQ(values.counts[1], 1u);   // one packet
  EXPECT_EQ(values.counts[11], 1u);  // eleven to fifteen
}

// A receiver that has stopped keeps no more than what came in the last moment.
TEST_P(RelaySlow, OldPacketsMakeRoomWhileNothingCanBeSent) {
  WorldOptions options;
  options.limits.queue.max_age_ms = 200;
  auto [a, b] = StartWithStuck(options);
  SendPacket(a, b, Text("in flight"));
  world_->Run(core::Millis(3));
  for (int i = 0; i < 50; ++i) SendPacket(a, b, Frame(1000, 1));
  world_->Skip(core::Millis(300));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 0u);
  SendPacket(a, b, Text("fresh"));
  world_->Run(core::Millis(3));
  EXPECT_EQ(world_->Dropped(DropReason::kQueueAge), 50u);
}

TEST_P(RelaySlow, DiscoOvertakesAQueueOfData) {
  auto [a, b] = StartWithStuck();
  for (int i = 0; i < 20; ++i) {
    SendPacket(a, b, Frame(1400, 1));
    world_->Run(core::Millis(1));
  }
  SendPacket(a, b, Disco());
  world_->Run(core::Millis(5));
  b.socket().window = 1 << 20;
  const auto frames = ReceiveAll(*world_, b);
  ASSERT_EQ(frames.size(), 21u);
  const auto disco = std::find_if(frames.begin(), frames.end(), [](const Frame& frame) {
    return frame.size() == kPacketFrameOverhead + Disco().size();
  });
  EXPECT_LT(disco - frames.begin(), 5) << "only what was in flight is ahead of it";
}

TEST_P(RelaySlow, ASendCarriesWhatTheReceiverTakesInItsTime) {
  WorldOptions options;
  options.limits.batch = {.bytes = 64'000, .pieces = 512, .time_ms = 20, .least_bytes = 4'000};
  options.limits.queue.max_age_ms = 100'000;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  // The size of the first send of a queue of 100 kB, which stays in flight.
  const auto first_send = [&] {
    b.socket().window = 0;
    SendPacket(a, b, Text("x"));
    world_->Run(core::Millis(3));
    for (int i = 0; i < 100; ++i) SendPacket(a, b, Frame(1000, 1));
    world_->Run(core::Millis(3));
    b.socket().window = 2000;
    world_->Run(core::Millis(3));
    return b.socket().send ? b.socket().send->total : 0;
  };
  EXPECT_LT(first_send(), 6'000u) << "of a receiver that nothing is known of";
  b.socket().window = 1 << 20;
  EXPECT_EQ(ReceiveAll(*world_, b).size(), 101u);
  EXPECT_GE(first_send(), 64'000u) << "of one that has taken everything at once";
  for (int i = 0; i < 80; ++i) {
    world_->Run(core::Millis(40));
    b.Read(1000, world_->aead());
  }
  ASSERT_TRUE(b.socket().send);
  EXPECT_LT(b.socket().send->total, 6'000u) << "of one that takes 500 bytes in 20 ms";
  b.socket().window = 1 << 20;
  EXPECT_GT(ReceiveAll(*world_, b).size(), 10u);
  EXPECT_EQ(b.complaint(), "");
}

// A CPU quota, or other processes.
TEST_P(RelaySlow, AShardThatDoesNotGetItsCoreBlamesNoReceiver) {
  WorldOptions options;
  options.limits.batch = {.bytes = 64'000, .pieces = 512, .time_ms = 20, .least_bytes = 4'000};
  options.limits.queue.max_age_ms = 100'000;
  Start(options);
  SimClient& a = Connect();
  SimClient& b = Connect();
  std::vector<SimClient*> others;
  for (int i = 0; i < 40; ++i) others.push_back(&Connect());
  b.socket().window = 0;
  for (int i = 0; i < 300; ++i) SendPacket(a, b, Frame(1000, 1));
  world_->Run(core::Millis(3));
  // It takes everything at once: sends grow.
  while (!b.socket().send || b.socket().send->total < 60'000) {
    b.socket().window = b.socket().outbound.size() + b.socket().send->total;
    world_->Run(core::Millis(1));
    b.socket().window = 0;
  }
  // Everybody goes on while the shard stands still.
  for (SimClient* client : others) SendPacket(*client, a, Text("meanwhile"));
  world_->Stall(core::Millis(30));
  b.socket().window = b.socket().outbound.size() + b.socket().send->total;
  world_->Run(core::Millis(1));
  ASSERT_TRUE(b.socket().send);
  EXPECT_GE(b.socket().send->total, 60'000u);
}

TEST_P(RelaySlow, SlowReceiversPinNoReceiveBuffers) {
  WorldOptions options;
  options.ring = {.buffer_count = 16, .buffer_size = 4096};
  Start(options);
  SimClient& a = Connect();
  SimClient& z = Connect();
  std::vector<SimClient*> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(&Connect());
    slow.back()->socket().window = 0;
  }
  for (int round = 0; round < 3; ++round) {
    for (SimClient* s : slow) {
      SendPacket(a, *s, Frame(1000, 1));
      world_->Run(core::Millis(1));
    }
  }
  SendPacket(a, z, Text("still here"));
  EXPECT_EQ(world_->Receive(z), RecvPacket(a.key(), Text("still here")));
  for (std::size_t i = 0; i < world_->shard_count(); ++i) {
    EXPECT_GE(world_->shard(i).core().pool().receive_free(), 4u);
  }
  EXPECT_GT(world_->Sum([](const ShardMetrics& m) {
    return m.bytes_settled.Value() + m.bytes_lent_by_copy.Value();
  }),
            0u);
}

TEST_P(RelaySlow, TheLaneBoundDropsTheOldestOfASlowReceiver) {
  WorldOptions options;
  options.limits.queue.bytes[static_cast<std::size_t>(Lane::kData)] = 20'000;
  options.times.write_timeout = core::Seconds(0);
  auto [a, b] = StartWithStuck(options);
  for (std::uint32_t i = 0; i < 100; ++i) {
    Frame packet(1000);
    core::StoreBe32(packet.data(), i);
    SendPacket(a, b, packet);
    world_->Run(core::Millis(1));
  }
  EXPECT_GT(world_->Dropped(DropReason::kQueueHead), 50u);
  b.socket().window = 1 << 20;
  const auto frames = ReceiveAll(*world_, b);
  EXPECT_EQ(core::LoadBe32(frames.back().data() + kPacketFrameOverhead), 99u);
  EXPECT_EQ(frames.size() + world_->Dropped(DropReason::kQueueHead), 100u);
}

}  // namespace
}  // namespace ringscale::relay

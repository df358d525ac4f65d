// Limits, revocation, the end, and what an idle connection costs.
#include <gtest/gtest.h>

#include <vector>

#include "tests/relay/shard_support.h"

namespace ringscale::relay {
namespace {

using RelayLimits = RelayShardTest;
INSTANTIATE_TEST_SUITE_P(All, RelayLimits, AllVariants(), NameOf);

TEST_P(RelayLimits, BeyondTheConnectionLimitClientsAreRefused) {
  WorldOptions options;
  options.limits.connections = 3;
  Start(options);
  std::vector<SimClient*> clients;
  for (int i = 0; i < 4 * GetParam().shards; ++i) clients.push_back(&Connect());
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.connections.Value(); }),
            3u * GetParam().shards);
  EXPECT_EQ(world_->Sum([](const ShardMetrics& m) { return m.refused.Value(); }),
            GetParam().shards);
  clients[0]->Close();
  world_->Run(core::Millis(5));
  EXPECT_FALSE(Connect().closed());
}

TEST_P(RelayLimits, ARevokedKeyIsClosed) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  world_->CloseKey(a.key());
  EXPECT_TRUE(world_->RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(a.got_close_notify(), GetParam().tls);
  EXPECT_EQ(world_->Closed(CloseReason::kRevoked), 1u);
  EXPECT_FALSE(b.closed());
}

TEST_P(RelayLimits, StoppingSendsWhatIsQueuedAndClosesEverybody) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  b.socket().window = 600;
  for (int i = 0; i < 20; ++i) SendPacket(a, b, Frame(500, 1));
  world_->Run(core::Millis(3));
  world_->Stop(core::Seconds(1));
  std::size_t frames = 0;
  for (int i = 0; i < 5000 && !world_->stopped(); ++i) {
    world_->Step();
    b.Read(1 << 20, world_->aead());
    for (const Frame& frame : b.frames()) frames += TypeOf(frame) == FrameType::kRecvPacket ? 1 : 0;
    b.frames().clear();
  }
  EXPECT_TRUE(world_->stopped());
  EXPECT_EQ(frames, 20u);
  a.Read(1000, world_->aead());
  EXPECT_TRUE(a.closed());
  EXPECT_TRUE(b.closed());
  EXPECT_EQ(a.got_close_notify(), GetParam().tls);
  EXPECT_EQ(b.complaint(), "");
}

TEST_P(RelayLimits, AnIdleConnectionOwnsNothingBesideItself) {
  Start();
  SimClient& a = Connect();
  SimClient& b = Connect();
  SendPacket(a, b, Frame(3000, 1));
  world_->Receive(b);
  Send(a, FrameType::kPing, Frame(8, 1));
  world_->Receive(a);
  world_->Run(core::Millis(5));
  for (std::size_t i = 0; i < world_->shard_count(); ++i) {
    ShardCore& core = world_->shard(i).core();
    EXPECT_EQ(core.pool().cells_in_use(), 0u);
    EXPECT_EQ(core.pool().receive_free(), core.pool().receive_count());
    EXPECT_EQ(core.loans_outstanding(), 0u);
  }
  EXPECT_LE(sizeof(Connection), 448u);
}

}  // namespace
}  // namespace ringscale::relay

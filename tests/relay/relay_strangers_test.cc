// What strangers do to a relay shard, on the simulated ring: whatever one client
// does, or runs out of, the packets of two others arrive, and nothing stays behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "relay/wire/frame.h"
#include "tests/sim/relay_world.h"

namespace ringscale::relay {
namespace {

using sim::ConnectOptions;
using sim::Frame;
using sim::RelayWorld;
using sim::SimClient;
using sim::WorldOptions;

class RelayStrangersTest : public testing::TestWithParam<bool> {
 protected:
  void Start(WorldOptions options = {}) {
    world_ = std::make_unique<RelayWorld>(options);
    a_ = &Connect();
    b_ = &Connect();
  }
  SimClient& Connect() {
    SimClient& client = world_->Connect({.tls = GetParam()});
    world_->Run(core::Millis(2));
    return client;
  }
  ShardCore& shard() { return world_->shard().core(); }
  // The two whom all this must not concern.
  void ExpectTheOthersGoOn() {
    const Frame packet(700, static_cast<std::uint8_t>(++packets_));
    for (const auto& [from, to] : {std::pair{a_, b_}, {b_, a_}}) {
      world_->SendPacket(*from, to->key(), packet);
      const Frame received = world_->Receive(*to);
      ASSERT_EQ(received.size(), kPacketFrameOverhead + packet.size());
      EXPECT_TRUE(
          std::equal(packet.begin(), packet.end(), received.begin() + kPacketFrameOverhead));
      EXPECT_TRUE(to->frames().empty());
    }
  }
  void ExpectNothingStayed(std::size_t clients) {
    world_->Run(core::Millis(20));
    EXPECT_EQ(shard().open_connections(), clients);
    EXPECT_EQ(shard().peers().size(), clients);
    EXPECT_EQ(shard().pool().cells_in_use(), 0u);
    EXPECT_EQ(shard().pool().receive_free(), shard().pool().receive_count());
  }

  std::unique_ptr<RelayWorld> world_;
  SimClient* a_ = nullptr;
  SimClient* b_ = nullptr;
  int packets_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, RelayStrangersTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Tls" : "Plain"; });

TEST_P(RelayStrangersTest, WhenMemoryIsFullOnlyTheSlowLosePackets) {
  WorldOptions options;
  options.limits.memory_bytes = 4 << 20;
  options.limits.queue.max_age_ms = 60'000;
  options.times.write_timeout = core::Seconds(0);  // never
  Start(options);
  std::vector<SimClient*> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(&Connect());
    slow.back()->socket().window = 0;
  }
  const auto refused = [this] {
    return world_->Dropped(DropReason::kNoMemory) + world_->Dropped(DropReason::kQueueTail);
  };
  for (int round = 0; round < 2000 && refused() < 100; ++round) {
    for (SimClient* to : slow) world_->SendPacket(*a_, to->key(), Frame(1000, 1));
    world_->Run(core::Millis(1));
  }
  EXPECT_GE(refused(), 100u);
  EXPECT_LE(shard().pool().reserved_bytes(), options.limits.memory_bytes);
  ExpectTheOthersGoOn();
  // Who comes now is served, too.
  SimClient& late = Connect();
  world_->SendPacket(*a_, late.key(), Frame(500, 2));
  EXPECT_EQ(world_->Receive(late).size(), kPacketFrameOverhead + 500);
  ExpectTheOthersGoOn();
  late.Close();
  for (SimClient* client : slow) client->Reset();
  ExpectNothingStayed(2);
}

TEST_P(RelayStrangersTest, BeyondTheLimitOfConnectionsThoseWhoAreThereGoOn) {
  WorldOptions options;
  options.limits.connections = 10;
  Start(options);
  for (int i = 0; i < 30; ++i) Connect();
  EXPECT_EQ(shard().open_connections(), 10u);
  EXPECT_EQ(world_->metrics().refused.Value(), 22u);
  ExpectTheOthersGoOn();
}

TEST_P(RelayStrangersTest, AFloodOfNewKeysLeavesNothing) {
  Start();
  for (int i = 0; i < 2000; ++i) {
    SimClient& client = world_->Connect({.tls = GetParam()});
    world_->SendPacket(client, a_->key(), Frame(100, 1));
    world_->Step();
    i % 2 == 0 ? client.Close() : client.Reset();
    if (i % 100 != 0) continue;
    world_->Run(core::Millis(2));
    // What those sent before they left, and that they have left.
    for (; !world_->Silent(*a_, core::Millis(1));) {
    }
    a_->frames().clear();
    ExpectTheOthersGoOn();
  }
  world_->Run(core::Millis(5));
  a_->Read(1 << 24, world_->aead());
  ExpectNothingStayed(2);
}

TEST_P(RelayStrangersTest, PacketsToKeysThatNobodyHasCostNothing) {
  Start();
  SimClient& stranger = Connect();
  Frame disco(kMinDiscoBytes + 10, 7);
  std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), disco.begin());
  for (int i = 0; i < 5000; ++i) {
    world_->SendPacket(stranger, sim::RandomKey(world_->rng()), disco);
    if (i % 100 == 0) world_->Run(core::Millis(1));
  }
  world_->Run(core::Millis(5));
  EXPECT_EQ(world_->Dropped(DropReason::kUnknownDest), 5000u);
  // It is told of few of them.
  stranger.Read(1 << 24, world_->aead());
  EXPECT_LE(stranger.frames().size(), 4u);
  ExpectTheOthersGoOn();
  ExpectNothingStayed(3);
}

TEST_P(RelayStrangersTest, AByteASecondHoldsOneCell) {
  Start();
  SimClient& stranger = Connect();
  const Frame frame = sim::SendPacketFrame(a_->key(), Frame(60, 9));
  Frame bytes;
  if (GetParam()) {
    // Of a record that is much longer: the start of one that will never be whole.
    bytes = {0x17, 0x03, 0x03, 0x40, 0x00};
    bytes.resize(bytes.size() + frame.size());
  } else {
    bytes = frame;
  }
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    stranger.SendRaw(core::Bytes(bytes).subspan(i, 1));
    world_->Skip(core::Seconds(1));
    ASSERT_FALSE(stranger.closed()) << i;
    ASSERT_LE(shard().pool().cells_in_use(), 1u);
    a_->Read(1 << 20, world_->aead());
    b_->Read(1 << 20, world_->aead());
    a_->frames().clear();  // keep-alives
    b_->frames().clear();
    ExpectTheOthersGoOn();
  }
  stranger.Close();
  ExpectNothingStayed(2);
}

TEST_P(RelayStrangersTest, AResetAnywhereInAFrameEndsThatClientOnly) {
  Start();
  const Frame frame = sim::SendPacketFrame(a_->key(), Frame(20, 3));
  for (std::size_t cut = 0; cut < frame.size(); ++cut) {
    SimClient& stranger = Connect();
    world_->Send(stranger, core::Bytes(frame).first(cut));
    world_->Run(core::Millis(1));
    stranger.Reset();
    ExpectTheOthersGoOn();
    ExpectNothingStayed(2);
  }
  EXPECT_EQ(world_->Closed(CloseReason::kIoError), frame.size());
}

TEST_P(RelayStrangersTest, RandomBytesEndThatClientOnly) {
  Start();
  sim::Rng rng(7);
  for (int i = 0; i < 300; ++i) {
    SimClient& stranger = Connect();
    Frame bytes(1 + rng.Below(3000));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(rng.Next());
    // Half of them as frames of a type that is known, of whatever length.
    if (i % 2 == 0) bytes[0] = static_cast<std::uint8_t>(rng.Below(0x17));
    i % 3 == 0 ? stranger.SendRaw(bytes) : world_->Send(stranger, bytes);
    world_->Run(core::Millis(1));
    stranger.Close();
    ExpectTheOthersGoOn();
    ExpectNothingStayed(2);
  }
}

TEST_P(RelayStrangersTest, WithoutReceiveBuffersEverythingArrivesLater) {
  WorldOptions options;
  options.ring = {.buffer_count = 4, .buffer_size = 512};
  options.faults.no_buffers = 60;
  Start(options);
  for (int i = 0; i < 100; ++i) ExpectTheOthersGoOn();
  EXPECT_GT(world_->metrics().receive_stalls.Value(), 50u);
}

}  // namespace
}  // namespace ringscale::relay

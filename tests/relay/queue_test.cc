#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "relay/queue/block_pool.h"
#include "relay/queue/send_batch.h"
#include "relay/queue/send_queue.h"
#include "relay/wire/frame.h"
#include "tests/sim/sim_net.h"

namespace ringscale::relay {
namespace {

using Need = BlockPool::Need;

class Queue : public testing::Test {
 protected:
  static constexpr std::uint32_t kBufferSize = 4096;

  Queue() : pool_(0, 64 << 20), buffers_(8, std::vector<std::uint8_t>(kBufferSize)) {
    for (std::uint16_t i = 0; i < buffers_.size(); ++i) {
      pool_.SetReceiveBuffer(i, buffers_[i].data(), kBufferSize);
    }
  }
  ~Queue() override {
    queue_.Clear(pool_, drops_, DropReason::kGoneDisconnected);
    EXPECT_EQ(pool_.cells_in_use(), 0u);
    EXPECT_EQ(pool_.receive_free(), 8u);
  }

  // A packet of `size` bytes that all are `fill`, in a receive buffer of its own.
  SendQueue::PushResult Push(Lane lane, std::uint8_t fill, std::uint32_t size,
                             std::uint32_t now_ms = 0) {
    Block* cell = pool_.AllocateCell(size, Need::kEssential);
    std::memset(cell->data, fill, size);
    const auto result = queue_.Push(lane, MakePacket(cell->data, size, cell, false, now_ms),
                                    limits_, pool_, drops_);
    if (result != SendQueue::PushResult::kQueued) pool_.Release(cell);
    return result;
  }
  // Packets cut from one receive buffer.
  void PushBorrowed(std::uint16_t buffer, const std::vector<std::uint32_t>& sizes) {
    Block* block = pool_.TakeReceiveBuffer(buffer);
    std::uint32_t at = 0;
    for (const std::uint32_t size : sizes) {
      std::memset(block->data + at, static_cast<int>('a' + at % 20), size);
      pool_.AddReference(block);
      ASSERT_EQ(queue_.Push(Lane::kData, MakePacket(block->data + at, size, block, true, 0),
                            limits_, pool_, drops_),
                SendQueue::PushResult::kQueued);
      at += size;
    }
    pool_.Release(block);
  }
  std::string Drain(Lane lane) {
    std::string out;
    while (queue_.packets(lane) != 0) {
      const Packet packet = queue_.Pop(lane, pool_);
      out.append(reinterpret_cast<const char*>(packet.data), packet.length);
      pool_.Release(packet.block);
    }
    return out;
  }
  std::uint64_t Dropped(DropReason reason) const {
    return drops_.Value(reason, PacketKind::kDisco) + drops_.Value(reason, PacketKind::kOther);
  }

  BlockPool pool_;
  std::vector<std::vector<std::uint8_t>> buffers_;
  QueueLimits limits_;
  DropCounters drops_;
  SendQueue queue_;
};

TEST_F(Queue, IsFirstInFirstOutPerLane) {
  for (std::uint8_t i = 0; i < 200; ++i) Push(Lane::kData, i, 3);
  Push(Lane::kDisco, 250, 1);
  EXPECT_EQ(queue_.packets(), 201u);
  EXPECT_EQ(queue_.bytes(), 601u);
  const std::string out = Drain(Lane::kData);
  for (std::size_t i = 0; i < 200; ++i) {
    ASSERT_EQ(static_cast<std::uint8_t>(out[3 * i]), i);
  }
  EXPECT_EQ(Drain(Lane::kDisco).size(), 1u);
  EXPECT_EQ(pool_.cells_in_use(), 0u) << "an empty queue owns nothing";
}

TEST_F(Queue, DropsTheOldestWhenFull) {
  limits_.bytes[static_cast<std::size_t>(Lane::kData)] = 10 * (100 + kPacketCharge);
  for (std::uint8_t i = 0; i < 15; ++i) Push(Lane::kData, i, 100);
  EXPECT_EQ(queue_.packets(), 10u);
  EXPECT_EQ(Dropped(DropReason::kQueueHead), 5u);
  EXPECT_EQ(Drain(Lane::kData)[0], 5);
}

TEST_F(Queue, ALanesBoundIsItsOwn) {
  limits_.bytes[static_cast<std::size_t>(Lane::kData)] = 2 * (100 + kPacketCharge);
  Push(Lane::kDisco, 1, 100);
  for (std::uint8_t i = 0; i < 9; ++i) Push(Lane::kData, i, 100);
  EXPECT_EQ(queue_.packets(Lane::kDisco), 1u);
  EXPECT_EQ(drops_.Value(DropReason::kQueueHead, PacketKind::kOther), 7u);
  EXPECT_EQ(drops_.Bytes(DropReason::kQueueHead, PacketKind::kOther), 700u);
  EXPECT_EQ(drops_.Value(DropReason::kQueueHead, PacketKind::kDisco), 0u);
}

TEST_F(Queue, APacketThatNeverFitsIsATailDrop) {
  limits_.bytes[static_cast<std::size_t>(Lane::kData)] = 100;
  Push(Lane::kDisco, 1, 100);
  EXPECT_EQ(Push(Lane::kData, 2, 200), SendQueue::PushResult::kDropped);
  EXPECT_EQ(Dropped(DropReason::kQueueTail), 1u);
  EXPECT_EQ(drops_.Bytes(DropReason::kQueueTail, PacketKind::kOther), 200u);
}

TEST_F(Queue, ControlNeverDropsButOverflows) {
  limits_.bytes[static_cast<std::size_t>(Lane::kControl)] = 2 * (40 + kPacketCharge);
  EXPECT_EQ(Push(Lane::kControl, 1, 40), SendQueue::PushResult::kQueued);
  EXPECT_EQ(Push(Lane::kControl, 2, 40), SendQueue::PushResult::kQueued);
  EXPECT_EQ(Push(Lane::kControl, 3, 40), SendQueue::PushResult::kOverflow);
  EXPECT_EQ(queue_.packets(Lane::kControl), 2u);
  EXPECT_EQ(drops_.Total(), 0u);
}

TEST_F(Queue, ExpiresWhatWaitedTooLong) {
  limits_.max_age_ms = 1000;
  Push(Lane::kData, 1, 10, 100);
  Push(Lane::kDisco, 2, 10, 200);
  Push(Lane::kData, 3, 10, 900);
  Push(Lane::kControl, 4, 10, 0);
  queue_.DropExpired(1100, limits_, pool_, drops_);
  EXPECT_EQ(queue_.packets(), 4u);
  queue_.DropExpired(1201, limits_, pool_, drops_);
  EXPECT_EQ(Dropped(DropReason::kQueueAge), 2u);
  EXPECT_EQ(drops_.Bytes(DropReason::kQueueAge, PacketKind::kOther) +
                drops_.Bytes(DropReason::kQueueAge, PacketKind::kDisco),
            20u);
  EXPECT_EQ(queue_.packets(Lane::kControl), 1u);
  EXPECT_EQ(Drain(Lane::kData)[0], 3);
}

TEST_F(Queue, AgeSurvivesTheClocksWrap) {
  limits_.max_age_ms = 1000;
  Push(Lane::kData, 1, 10, 0xffffff00u);
  queue_.DropExpired(0x10, limits_, pool_, drops_);
  EXPECT_EQ(queue_.packets(), 1u);
  queue_.DropExpired(0x400, limits_, pool_, drops_);
  EXPECT_EQ(queue_.packets(), 0u);
}

TEST_F(Queue, SettlingReturnsTheBuffersAndKeepsTheBytes) {
  PushBorrowed(0, {100, 200, 300});
  PushBorrowed(1, {4096});
  Push(Lane::kData, 'z', 50);
  PushBorrowed(2, {7, 9});
  EXPECT_EQ(pool_.receive_free(), 5u);
  const std::string before = [&] {
    std::string expected;
    expected += std::string(100, 'a') + std::string(200, 'a') + std::string(300, 'a');
    expected += std::string(4096, 'a') + std::string(50, 'z');
    return expected + std::string(7, 'a') + std::string(9, static_cast<char>('a' + 7));
  }();
  EXPECT_EQ(queue_.Settle(pool_, drops_), 600u + 4096 + 16);
  EXPECT_EQ(pool_.receive_free(), 8u);
  for (auto& buffer : buffers_) std::fill(buffer.begin(), buffer.end(), 0xdd);
  EXPECT_EQ(queue_.Settle(pool_, drops_), 0u) << "nothing is copied twice";
  EXPECT_EQ(Drain(Lane::kData), before);
  EXPECT_EQ(drops_.Total(), 0u);
}

TEST_F(Queue, SettlingAfterPopsAndDropsOfTheHead) {
  sim::Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::uint32_t> sizes(1 + rng.Below(60));
    for (auto& size : sizes) size = static_cast<std::uint32_t>(1 + rng.Below(60));
    PushBorrowed(static_cast<std::uint16_t>(round % 8), sizes);
    for (std::uint64_t pops = rng.Below(40); pops > 0 && queue_.packets() != 0; --pops) {
      pool_.Release(queue_.Pop(Lane::kData, pool_).block);
    }
    if (rng.Chance(30)) Push(Lane::kData, 1, 20);
    queue_.Settle(pool_, drops_);
    ASSERT_EQ(pool_.receive_free(), 8u);
  }
  EXPECT_EQ(drops_.Total(), 0u);
}

TEST(QueueWithoutMemory, SettlingDropsWhatItCannotCopy) {
  BlockPool pool(0, 0);  // the smallest limit there is
  std::vector<std::uint8_t> buffer(1 << 20);
  pool.SetReceiveBuffer(0, buffer.data(), static_cast<std::uint32_t>(buffer.size()));
  SendQueue queue;
  QueueLimits limits;
  DropCounters drops;
  Block* block = pool.TakeReceiveBuffer(0);
  std::vector<Block*> hog;
  for (int i = 0; i < 100; ++i) {
    pool.AddReference(block);
    ASSERT_EQ(queue.Push(Lane::kData, MakePacket(block->data + i * 9000, 9000, block, true, 0),
                         limits, pool, drops),
              SendQueue::PushResult::kQueued);
  }
  pool.Release(block);
  while (Block* cell = pool.AllocateCell(69000, Need::kOrdinary)) hog.push_back(cell);
  queue.Settle(pool, drops);
  EXPECT_EQ(pool.receive_free(), 1u);
  const std::uint64_t lost = drops.Value(DropReason::kNoMemory, PacketKind::kOther);
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(queue.packets() + lost, 100u);
  EXPECT_EQ(queue.bytes(), queue.packets() * 9000);
  while (queue.packets() != 0) pool.Release(queue.Pop(Lane::kData, pool).block);
  for (Block* cell : hog) pool.Release(cell);
  EXPECT_EQ(pool.cells_in_use(), 0u);
}

// --- batches ---

TEST_F(Queue, NeighboursInMemoryBecomeOnePiece) {
  PushBorrowed(0, {100, 200, 300});
  PushBorrowed(1, {50, 50});
  SendBatch* batch = SendBatch::FromQueue(queue_, {}, pool_);
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->count(), 2u);
  EXPECT_EQ(batch->bytes(), 700u);
  EXPECT_EQ(batch->packets(PacketKind::kOther), 5u);
  EXPECT_EQ(batch->pieces()[0].iov_base, buffers_[0].data());
  EXPECT_EQ(batch->pieces()[0].iov_len, 600u);
  EXPECT_EQ(pool_.receive_free(), 6u) << "held until the send completes";
  SendBatch::Destroy(batch, pool_);
  EXPECT_EQ(pool_.receive_free(), 8u);
}

TEST_F(Queue, ABatchTakesControlThenDiscoThenData) {
  Push(Lane::kData, 'd', 10);
  Push(Lane::kDisco, 'i', 10);
  Push(Lane::kControl, 'c', 10);
  SendBatch* batch = SendBatch::FromQueue(queue_, {}, pool_);
  std::string order;
  for (std::uint32_t i = 0; i < batch->count(); ++i) {
    order += *static_cast<const char*>(batch->pieces()[i].iov_base);
  }
  EXPECT_EQ(order, "cid");
  EXPECT_EQ(batch->packets(PacketKind::kDisco), 1u);
  EXPECT_EQ(batch->packets(PacketKind::kOther), 1u);
  SendBatch::Destroy(batch, pool_);
}

TEST_F(Queue, DiscoTakesAtMostHalfOfABatchWhileDataWaits) {
  for (int i = 0; i < 100; ++i) {
    Push(Lane::kDisco, 'i', 100);
    Push(Lane::kData, 'd', 100);
  }
  SendBatch* batch = SendBatch::FromQueue(queue_, {.bytes = 2000, .pieces = 512}, pool_);
  EXPECT_EQ(batch->packets(PacketKind::kDisco), 10u);
  EXPECT_EQ(batch->packets(PacketKind::kOther), 10u);
  SendBatch::Destroy(batch, pool_);
}

TEST_F(Queue, ABatchIsBoundedInBytesAndPieces) {
  for (int i = 0; i < 50; ++i) Push(Lane::kData, 'd', 100);
  SendBatch* batch = SendBatch::FromQueue(queue_, {.bytes = 450, .pieces = 512}, pool_);
  EXPECT_EQ(batch->bytes(), 500u);
  SendBatch::Destroy(batch, pool_);
  batch = SendBatch::FromQueue(queue_, {.bytes = 1 << 20, .pieces = 7}, pool_);
  EXPECT_LE(batch->count(), 7u);
  SendBatch::Destroy(batch, pool_);
}

// --- the pool ---

TEST(BlockPool, ReusesUnitsForOtherSizesAndTrims) {
  BlockPool pool(0, 8 << 20);
  std::vector<Block*> cells;
  while (Block* cell = pool.AllocateCell(200, Need::kOrdinary)) cells.push_back(cell);
  const std::size_t full = pool.reserved_bytes();
  EXPECT_LE(full, 8u << 20);
  EXPECT_GT(cells.size(), 20000u);
  for (Block* cell : cells) pool.Release(cell);
  cells.clear();
  while (Block* cell = pool.AllocateCell(60000, Need::kOrdinary)) cells.push_back(cell);
  EXPECT_GE(cells.size(), 3 * (full / BlockPool::kUnitBytes - 2));
  EXPECT_EQ(pool.reserved_bytes(), full);
  for (Block* cell : cells) pool.Release(cell);
  pool.Trim(2);
  EXPECT_LE(pool.reserved_bytes(), 4 * BlockPool::kUnitBytes);
}

TEST(BlockPool, LeavesAReserveToEssentialNeeds) {
  BlockPool pool(0, 4 << 20);
  std::vector<Block*> cells;
  while (Block* cell = pool.AllocateCell(60000, Need::kOrdinary)) cells.push_back(cell);
  Block* essential = pool.AllocateCell(60000, Need::kEssential);
  EXPECT_NE(essential, nullptr);
  pool.Release(essential);
  for (Block* cell : cells) pool.Release(cell);
}

// Also after everything has been in use by the essential once.
TEST(BlockPool, TheReserveComesBack) {
  BlockPool pool(0, 4 << 20);
  std::vector<Block*> cells;
  for (const Need need : {Need::kEssential, Need::kOrdinary}) {
    while (Block* cell = pool.AllocateCell(60000, need)) cells.push_back(cell);
    if (need == Need::kOrdinary) break;
    for (Block* cell : cells) pool.Release(cell);
    cells.clear();
  }
  Block* essential = pool.AllocateCell(200, Need::kEssential);
  EXPECT_NE(essential, nullptr);
  pool.Release(essential);
  for (Block* cell : cells) pool.Release(cell);
}

// What one size kept for its next cell serves another that has nothing.
TEST(BlockPool, AnEmptyPoolServesEverySize) {
  constexpr std::size_t kUnits = 8;
  BlockPool pool(0, kUnits * BlockPool::kUnitBytes);
  for (const std::size_t size : {200, 450, 950, 1990, 4000, 8100, 17300, 34700, 69500}) {
    std::vector<Block*> cells;
    while (Block* cell = pool.AllocateCell(size, Need::kOrdinary)) cells.push_back(cell);
    EXPECT_GT(cells.size() * size, 4 * BlockPool::kUnitBytes) << size;
    for (Block* cell : cells) pool.Release(cell);
    EXPECT_EQ(pool.cells_in_use(), 0u);
  }
  EXPECT_LE(pool.reserved_bytes(), kUnits * BlockPool::kUnitBytes);
}

TEST(BlockPool, HoldsTheLargestFrame) {
  BlockPool pool(0, 4 << 20);
  Block* cell = pool.AllocateCell(kMaxPacketFrameBytes, Need::kOrdinary);
  ASSERT_NE(cell, nullptr);
  std::memset(cell->data, 1, cell->capacity);
  pool.Release(cell);
  EXPECT_EQ(pool.cells_in_use(), 0u);
}

TEST(BlockPool, ForeignBlocksGoHomeCounted) {
  BlockPool home(0, 4 << 20);
  BlockPool away(1, 4 << 20);
  Block* a = home.AllocateCell(100, Need::kOrdinary);
  Block* b = home.AllocateCell(100, Need::kOrdinary);
  away.Release(a);
  away.Release(a);
  away.Release(b);
  away.Release(a);
  ASSERT_EQ(away.returns().size(), 3u);
  EXPECT_EQ(away.returns()[0].block, a);
  EXPECT_EQ(away.returns()[0].count, 2u);
  EXPECT_EQ(away.returns()[2].count, 1u);
  home.AddReference(a, 2);
  for (const LoanReturn& loan : away.returns()) home.Release(loan.block, loan.count);
  EXPECT_EQ(home.cells_in_use(), 0u);
}

}  // namespace
}  // namespace ringscale::relay

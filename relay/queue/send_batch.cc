#include "relay/queue/send_batch.h"

#include <algorithm>
#include <cassert>
#include <new>

namespace ringscale::relay {

SendBatch* SendBatch::Create(std::uint32_t pieces, BlockPool& pool) {
  const std::size_t bytes = sizeof(SendBatch) + pieces * (sizeof(iovec) + sizeof(Hold));
  Block* cell = pool.AllocateCell(bytes, BlockPool::Need::kEssential);
  if (cell == nullptr) return nullptr;
  auto* batch = new (cell->data) SendBatch();
  batch->cell_ = cell;
  batch->capacity_ = pieces;
  return batch;
}

void SendBatch::Destroy(SendBatch* batch, BlockPool& pool) {
  const Hold* holds = batch->Holds();
  for (std::uint32_t i = 0; i < batch->count_; ++i) {
    pool.Release(holds[i].block, holds[i].references);
  }
  pool.Release(batch->cell_);
}

void SendBatch::Add(std::uint8_t* data, std::uint32_t length, Block* block) {
  bytes_ += length;
  if (count_ != 0) {
    iovec& last = Pieces()[count_ - 1];
    Hold& hold = Holds()[count_ - 1];
    if (hold.block == block && static_cast<std::uint8_t*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += length;
      ++hold.references;
      return;
    }
  }
  assert(count_ < capacity_);
  Pieces()[count_] = {data, length};
  Holds()[count_] = {block, 1};
  ++count_;
}

void SendBatch::Skip(std::uint32_t bytes) {
  assert(bytes < bytes_);
  bytes_ -= bytes;
  while (bytes >= Pieces()[skipped_].iov_len) {
    bytes -= static_cast<std::uint32_t>(Pieces()[skipped_++].iov_len);
  }
  iovec& first = Pieces()[skipped_];
  first.iov_base = static_cast<std::uint8_t*>(first.iov_base) + bytes;
  first.iov_len -= bytes;
}

SendBatch* SendBatch::FromQueue(SendQueue& queue, const BatchLimits& limits, BlockPool& pool) {
  if (queue.empty()) return nullptr;
  SendBatch* batch = Create(std::min(queue.packets(), limits.pieces), pool);
  if (batch == nullptr) return nullptr;
  LaneOrder order(limits.bytes);
  while (!queue.empty() && !batch->full() && batch->bytes_ < limits.bytes) {
    const Lane lane = order.Next(queue);
    const Packet packet = queue.Pop(lane, pool);
    order.Took(lane, packet.length);
    batch->Add(packet.data, packet.length, packet.block);
    batch->CountPacket(lane);
  }
  return batch;
}

}  // namespace ringscale::relay

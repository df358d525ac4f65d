// From queues to sends: one batch per connection and turn, with our own TLS
// records around it where the client speaks TLS.
#include <algorithm>
#include <array>
#include <utility>

#include "core/tls/records.h"
#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

// One cell of sealed records: four full ones, or one packet of the longest kind.
constexpr std::size_t kSealedPlaintext = 4 * core::tls::kMaxPlaintext;

}  // namespace

std::span<const std::uint32_t> ShardCore::TakeDirty() {
  std::swap(dirty_, taken_dirty_);
  dirty_.clear();
  memory_short_ = false;
  return taken_dirty_;
}

const SendBatch* ShardCore::StartSend(Connection& c) {
  c.dirty = false;
  SendBatch* batch = nullptr;
  if (c.batch == nullptr &&
      (c.state == ConnectionState::kOpen || c.state == ConnectionState::kFarewell)) {
    batch = BuildBatch(c);
  }
  if (batch != nullptr) {
    c.batch = batch;
    c.send_began = waited_;
    LinkSending(c);
    metrics_.sends.Add();
    metrics_.packets_per_send.Observe(batch->packets(PacketKind::kDisco) +
                                      batch->packets(PacketKind::kOther));
  }
  if (c.state != ConnectionState::kOpen) return batch;
  if (c.queue.empty()) {
    c.slow = false;
  } else {
    // Waits behind a send: it may wait long, and must not hold what others need.
    if (batch == nullptr) {
      c.slow = true;
      c.queue.DropExpired(now_ms_, options_.limits.queue, pool_, metrics_.drops);
    }
    metrics_.bytes_settled.Add(c.queue.Settle(pool_, metrics_.drops));
    if (c.batch == nullptr) {
      memory_short_ = true;
      MarkDirty(c);
    }
  }
  return batch;
}

SendBatch* ShardCore::BuildBatch(Connection& c) {
  if (c.state == ConnectionState::kFarewell) {
    SendBatch* batch = ControlRecordBatch(c);
    if (batch == nullptr) Close(c, CloseReason::kNoMemory);
    return batch;
  }
  c.queue.DropExpired(now_ms_, options_.limits.queue, pool_, metrics_.drops);
  NoteQueueAge(c.queue);
  if (c.pong_due || c.keep_alive_due) AddDueFrames(c);
  if (c.tls != nullptr) {
    if (!c.queue.empty()) return SealBatch(c);
    return core::tls::NeedsKeyUpdate(*c.tls) ? ControlRecordBatch(c) : nullptr;
  }
  if (c.kernel != nullptr && c.kernel->keys().key_update_pending) return ControlRecordBatch(c);
  // A plain send pins the buffers it gathers from until the peer has taken it all.
  const std::uint32_t free = pool_.receive_free();
  if (free <= hard_buffers_ || (free < low_buffers_ && c.slow)) {
    metrics_.bytes_settled.Add(c.queue.Settle(pool_, metrics_.drops));
  }
  BatchLimits limits = options_.limits.batch;
  limits.bytes = SendLimit(c);
  return SendBatch::FromQueue(c.queue, limits, pool_);
}

std::uint32_t ShardCore::SendLimit(const Connection& c) const {
  const BatchLimits& limits = options_.limits.batch;
  return std::clamp(c.send_limit, std::min(limits.least_bytes, limits.bytes), limits.bytes);
}

// Doubles what one send may carry while that goes well, and else asks no more of
// the receiver than it has just taken.
void ShardCore::LearnSendLimit(Connection& c, std::uint32_t sent) {
  const std::uint32_t limit = SendLimit(c);
  const std::int64_t took_ms = (waited_ - c.send_began).millis();
  if (took_ms > options_.limits.batch.time_ms) {
    c.send_limit =
        static_cast<std::uint32_t>(std::int64_t{sent} * options_.limits.batch.time_ms / took_ms);
  } else if (sent >= limit) {
    c.send_limit = std::min(2 * limit, options_.limits.batch.bytes);
  }
}

// How long the oldest packet of a send has waited: an average that forgets by a tenth
// with every send.
void ShardCore::NoteQueueAge(const SendQueue& queue) {
  const Packet* oldest = queue.Front(Lane::kData);
  if (oldest == nullptr) oldest = queue.Front(Lane::kDisco);
  if (oldest == nullptr) return;
  const std::int64_t age_us = std::int64_t{now_ms_ - oldest->enqueued_ms} * 1000;
  queue_age_us_ += (age_us - queue_age_us_) / 10;
  metrics_.queue_age_us.Set(queue_age_us_);
}

// Written at the last moment: until then a pong or a keep-alive is one bit.
void ShardCore::AddDueFrames(Connection& c) {
  std::uint8_t frames[kPongFrameBytes + kHeaderBytes];
  std::size_t size = 0;
  if (c.pong_due) {
    size += WritePong(frames, c.pong);
    metrics_.pongs.Add();
  }
  if (c.keep_alive_due) {
    size += WriteKeepAlive(frames + size);
    metrics_.keep_alives.Add();
  }
  c.pong_due = c.keep_alive_due = false;
  c.dirty = true;  // it is being sent right now: not to be listed again
  SendControl(c, frames, size);
  c.dirty = false;
}

// --- TLS ---

SendBatch* ShardCore::SealBatch(Connection& c) {
  const std::uint32_t limit = SendLimit(c);
  const std::uint32_t cells = limit / static_cast<std::uint32_t>(kSealedPlaintext) + 4;
  SendBatch* batch = SendBatch::Create(cells, pool_);
  if (batch == nullptr) return nullptr;
  LaneOrder order(limit);
  while (!c.queue.empty() && !batch->full() && batch->bytes() < limit) {
    if (!SealInto(c, *batch, limit - batch->bytes(), order)) break;
  }
  if (batch->count() != 0) return batch;
  SendBatch::Destroy(batch, pool_);
  return nullptr;
}

bool ShardCore::SealInto(Connection& c, SendBatch& batch, std::size_t room, LaneOrder& order) {
  const std::size_t first = c.queue.Front(order.Next(c.queue))->length;
  const std::size_t most =
      std::min<std::size_t>(c.queue.bytes(), std::max(first, std::min(room, kSealedPlaintext)));
  const std::size_t size = core::tls::SealedSize(*c.tls, most);
  if (size > BlockPool::kLargestCell) {  // records so small that overhead rules
    CloseLater(c, CloseReason::kTlsError);
    return false;
  }
  Block* cell = pool_.AllocateCell(size, BlockPool::Need::kEssential);
  if (cell == nullptr) return false;

  auto& [taken, pieces] = *sealing_;
  std::size_t count = 0;
  std::size_t bytes = 0;
  while (count < taken.size() && !c.queue.empty()) {
    const Lane lane = order.Next(c.queue);
    if (bytes + c.queue.Front(lane)->length > most) break;
    const Packet packet = c.queue.Pop(lane, pool_);
    order.Took(lane, packet.length);
    batch.CountPacket(lane);
    taken[count] = packet;
    pieces[count] = {packet.data, packet.length};
    bytes += packet.length;
    ++count;
  }
  const std::size_t sealed = core::tls::SealRecords(*c.tls, aead_, std::span(pieces).first(count),
                                                    core::MutableBytes(cell->data, cell->capacity));
  for (std::size_t i = 0; i < count; ++i) pool_.Release(taken[i].block);
  if (sealed == 0) {
    pool_.Release(cell);
    CloseLater(c, CloseReason::kTlsError);
    return false;
  }
  batch.Add(cell->data, static_cast<std::uint32_t>(sealed), cell);
  return true;
}

// A record without data: the last alert, or a KeyUpdate that nothing follows.
SendBatch* ShardCore::ControlRecordBatch(Connection& c) {
  if (c.kernel != nullptr) return KernelControlBatch(c);
  SendBatch* batch = SendBatch::Create(1, pool_);
  if (batch == nullptr) return nullptr;
  Block* cell =
      pool_.AllocateCell(2 * core::tls::kSealedKeyUpdateSize, BlockPool::Need::kEssential);
  std::size_t size = 0;
  if (cell != nullptr) {
    const core::MutableBytes out(cell->data, cell->capacity);
    size = c.state == ConnectionState::kFarewell
               ? core::tls::SealAlert(*c.tls, aead_, c.farewell, out)
               : core::tls::SealKeyUpdate(*c.tls, aead_, out);
  }
  if (size == 0) {
    if (cell != nullptr) pool_.Release(cell);
    SendBatch::Destroy(batch, pool_);
    return nullptr;
  }
  batch->Add(cell->data, static_cast<std::uint32_t>(size), cell);
  return batch;
}

void ShardCore::OnSent(Connection& c, std::int64_t result) {
  SendBatch* batch = std::exchange(c.batch, nullptr);
  if (batch == nullptr) return;
  UnlinkSending(c);
  const bool whole = result == static_cast<std::int64_t>(batch->bytes());
  const std::uint32_t all = batch->packets(PacketKind::kDisco) + batch->packets(PacketKind::kOther);
  for (const PacketKind kind : {PacketKind::kDisco, PacketKind::kOther}) {
    const std::uint32_t packets = batch->packets(kind);
    if (packets == 0) continue;
    if (whole) {
      metrics_.packets_sent[static_cast<std::size_t>(kind)].Add(packets);
    } else {
      // A batch knows its bytes as a whole only.
      const std::uint64_t bytes = std::uint64_t{batch->bytes()} * packets / all;
      metrics_.drops.Add(DropReason::kWriteError, kind, bytes, packets);
    }
  }
  if (result > 0) {
    metrics_.bytes_sent.Add(static_cast<std::uint64_t>(result));
    c.sent_bytes += static_cast<std::uint64_t>(result);
  }
  LearnSendLimit(c, batch->bytes());
  SendBatch::Destroy(batch, pool_);
  if (!whole || c.state == ConnectionState::kFarewell) {
    return Close(c, CloseReason::kWriteError);
  }
  if (c.kernel != nullptr && c.state == ConnectionState::kOpen) AfterKernelSend(c);
  if (c.state == ConnectionState::kOpen &&
      (!c.queue.empty() || c.pong_due || c.keep_alive_due ||
       (c.tls != nullptr && core::tls::NeedsKeyUpdate(*c.tls)))) {
    MarkDirty(c);
  }
}

}  // namespace ringscale::relay

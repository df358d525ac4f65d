// From received bytes to frames, and what clients say about themselves.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/tls/records.h"
#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {

void ShardCore::OnReceived(Connection& c, Block* block, std::size_t size) {
  if (c.state == ConnectionState::kOpen && reading_) {
    const core::MutableBytes bytes(block->data, size);
    if (c.kernel != nullptr) c.kernel->NoteData();
    c.tls != nullptr ? OpenRecords(c, block, bytes) : ReadFrames(c, block, bytes);
  }
  pool_.Release(block);
}

void ShardCore::FeedCopy(Connection& c, core::Bytes bytes, bool records) {
  constexpr std::size_t kCell = 16384;
  while (!bytes.empty() && c.state == ConnectionState::kOpen) {
    const std::size_t size = std::min(bytes.size(), kCell);
    Block* cell = pool_.AllocateCell(size, BlockPool::Need::kEssential);
    if (cell == nullptr) return Close(c, CloseReason::kNoMemory);
    std::copy_n(bytes.data(), size, cell->data);
    const core::MutableBytes run(cell->data, size);
    records ? OpenRecords(c, cell, run) : ReadFrames(c, cell, run);
    pool_.Release(cell);
    bytes = bytes.subspan(size);
  }
}

// --- pieces that are kept until the rest arrives ---

bool ShardCore::Stash(Block*& cell, core::MutableBytes bytes, std::size_t need) {
  cell = nullptr;
  return Extend(cell, bytes.size(), need) &&
         (std::memcpy(cell->data, bytes.data(), bytes.size()),
          cell->used = static_cast<std::uint32_t>(bytes.size()), true);
}

// Makes `cell` hold at least `want` bytes. A client gets the memory for a long
// frame as its bytes arrive, not for announcing it.
bool ShardCore::Extend(Block*& cell, std::size_t want, std::size_t need) {
  constexpr std::size_t kAtOnce = 4096;
  if (cell != nullptr && cell->capacity >= want) return true;
  std::size_t size = std::max(want, std::min(need, kAtOnce));
  if (cell != nullptr) size = std::max(size, std::min<std::size_t>(need, cell->capacity * 2ull));
  Block* larger = pool_.AllocateCell(size, BlockPool::Need::kEssential);
  if (larger == nullptr) return false;
  if (cell != nullptr) {
    std::memcpy(larger->data, cell->data, cell->used);
    larger->used = cell->used;
    pool_.Release(cell);
  }
  cell = larger;
  return true;
}

// --- TLS records ---

void ShardCore::OpenRecords(Connection& c, Block* block, core::MutableBytes bytes) {
  if (c.partial_record != nullptr) bytes = CompleteRecord(c, bytes);
  while (!bytes.empty() && c.state == ConnectionState::kOpen) {
    const core::tls::RecordEvent event = core::tls::RecordReader::Next(*c.tls, aead_, bytes);
    if (event.kind == core::tls::RecordEvent::Kind::kNeedMore) {
      if (!Stash(c.partial_record, bytes, event.needed)) return Close(c, CloseReason::kNoMemory);
      c.partial_record_need = static_cast<std::uint32_t>(event.needed);
      return;
    }
    if (!OnRecord(c, event, block)) return;
    bytes = bytes.subspan(event.consumed);
  }
}

// Returns what follows the record that was begun by an earlier receive.
core::MutableBytes ShardCore::CompleteRecord(Connection& c, core::MutableBytes bytes) {
  for (;;) {
    const std::size_t take =
        std::min<std::size_t>(c.partial_record_need - c.partial_record->used, bytes.size());
    if (!Extend(c.partial_record, c.partial_record->used + take, c.partial_record_need)) {
      Close(c, CloseReason::kNoMemory);
      return {};
    }
    Block* cell = c.partial_record;
    std::memcpy(cell->data + cell->used, bytes.data(), take);
    cell->used += static_cast<std::uint32_t>(take);
    bytes = bytes.subspan(take);
    if (cell->used < c.partial_record_need) return bytes;
    const core::tls::RecordEvent event =
        core::tls::RecordReader::Next(*c.tls, aead_, {cell->data, cell->used});
    if (event.kind == core::tls::RecordEvent::Kind::kNeedMore) {
      c.partial_record_need = static_cast<std::uint32_t>(event.needed);
      continue;  // the header was complete, now the body
    }
    c.partial_record = nullptr;
    OnRecord(c, event, cell);
    pool_.Release(cell);
    return bytes;
  }
}

bool ShardCore::OnRecord(Connection& c, const core::tls::RecordEvent& event, Block* block) {
  using Kind = core::tls::RecordEvent::Kind;
  switch (event.kind) {
    case Kind::kData:
      ReadFrames(c, block, event.data);
      break;
    case Kind::kHandled:
      if (core::tls::NeedsKeyUpdate(*c.tls)) MarkDirty(c);
      break;
    case Kind::kClosed:
      CloseWithAlert(c, CloseReason::kClientClosed, core::tls::Alert::kCloseNotify);
      break;
    case Kind::kFatal:
      if (event.peer_alert) {
        Close(c, CloseReason::kTlsError);
      } else {
        CloseWithAlert(c, CloseReason::kTlsError, event.alert);
      }
      break;
    case Kind::kNeedMore:
      break;
  }
  return c.state == ConnectionState::kOpen;
}

// --- frames ---

// Of several connections of a key the one whose frame header came last is active.
inline void ShardCore::NoteActivity(Connection& c, const ServerFrameReader::Step& step) {
  if (!c.duplicate) return;
  const bool header = step.status != ServerFrameReader::Status::kNeedMore ||
                      step.needed > kHeaderBytes || step.skipped_frames != 0;
  if (header) peers_.Spoke(c.peer, c.slot);
}

void ShardCore::ReadFrames(Connection& c, Block* block, core::MutableBytes bytes) {
  if (c.mesh_link != kNoMeshLink) return ReadLinkFrames(c, bytes);
  if (rate_limit_.on()) Charge(c, bytes.size());
  if (c.partial_frame != nullptr) bytes = CompleteFrame(c, bytes);
  while (!bytes.empty() && c.state == ConnectionState::kOpen) {
    const ServerFrameReader::Step step = c.reader.Next(bytes);
    NoteActivity(c, step);
    if (step.skipped_frames != 0) metrics_.unknown_frames.Add(step.skipped_frames);
    bytes = bytes.subspan(step.consumed);
    switch (step.status) {
      case ServerFrameReader::Status::kFrame:
        HandleFrame(c, step.frame, block);
        break;
      case ServerFrameReader::Status::kNeedMore:
        if (bytes.empty()) return;
        if (!Stash(c.partial_frame, bytes, step.needed)) return Close(c, CloseReason::kNoMemory);
        c.partial_frame_need = static_cast<std::uint32_t>(step.needed);
        return;
      case ServerFrameReader::Status::kBadLength:
        return Close(c, CloseReason::kProtocolError);
    }
  }
}

// Returns what follows the frame that was begun by an earlier receive.
core::MutableBytes ShardCore::CompleteFrame(Connection& c, core::MutableBytes bytes) {
  for (;;) {
    const std::size_t take =
        std::min<std::size_t>(c.partial_frame_need - c.partial_frame->used, bytes.size());
    if (!Extend(c.partial_frame, c.partial_frame->used + take, c.partial_frame_need)) {
      Close(c, CloseReason::kNoMemory);
      return {};
    }
    Block* cell = c.partial_frame;
    std::memcpy(cell->data + cell->used, bytes.data(), take);
    cell->used += static_cast<std::uint32_t>(take);
    bytes = bytes.subspan(take);
    if (cell->used < c.partial_frame_need) return bytes;
    const ServerFrameReader::Step step = c.reader.Next({cell->data, cell->used});
    NoteActivity(c, step);
    if (step.status == ServerFrameReader::Status::kNeedMore && step.consumed == 0) {
      c.partial_frame_need = static_cast<std::uint32_t>(step.needed);
      continue;  // the header was complete, now the payload
    }
    c.partial_frame = nullptr;
    if (step.status == ServerFrameReader::Status::kFrame) {
      metrics_.frames_copied.Add();
      HandleFrame(c, step.frame, cell);
    } else if (step.status == ServerFrameReader::Status::kBadLength) {
      Close(c, CloseReason::kProtocolError);
    } else {
      metrics_.unknown_frames.Add(step.skipped_frames);  // the reader skips its payload
    }
    pool_.Release(cell);
    return bytes;
  }
}

void ShardCore::HandleFrame(Connection& c, const FrameView& frame, Block* block) {
  switch (frame.type) {
    case FrameType::kSendPacket:
      return OnSendPacket(c, frame, block);
    case FrameType::kPing:
      return OnPing(c, frame.payload());
    case FrameType::kNotePreferred:
      return OnNotePreferred(c, frame.payload()[0] != 0);
    case FrameType::kForwardPacket:
      if (!c.can_mesh) return Close(c, CloseReason::kProtocolError);
      return OnForwardPacket(c, frame, block);
    case FrameType::kWatchConns:
      if (!c.can_mesh) return Close(c, CloseReason::kProtocolError);
      return OnWatch(c);
    case FrameType::kClosePeer:
      if (!c.can_mesh) return Close(c, CloseReason::kProtocolError);
      return CloseKey(KeyAt(frame.payload().data()), CloseReason::kClosedByPeer);
    default:
      return;  // the reader yields no others
  }
}

// One slot: while a pong waits to be sent further pings are not answered.
void ShardCore::OnPing(Connection& c, core::Bytes payload) {
  metrics_.pings.Add();
  if (c.pong_due) return;
  c.pong_due = true;
  std::memcpy(c.pong, payload.data(), kPingBytes);
  MarkDirty(c);
}

}  // namespace ringscale::relay

#include "core/engine/stream_table.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "core/base/prefetch.h"
#include "core/io/epoll_ring.h"
#include "core/io/uring_ring.h"

namespace ringscale::core::engine {
namespace {

// A peer that goes on sending to a draining stream is cut off after this.
constexpr std::size_t kDiscardMax = 1024 * 1024;
// How long a peer that has ended its direction may take for what is queued.
constexpr Duration kHalfClosedLimit = Seconds(5);
// One for each send of a turn in which many streams get something (1 KiB each).
constexpr std::size_t kSparePiecesMax = 256;
constexpr std::uint32_t kSlotsMax = 1u << 24;  // what a Token holds

iovec PieceOf(const SharedSlice& slice) {
  return {const_cast<char*>(slice.bytes.data()), slice.bytes.size()};
}

}  // namespace

// --- slots ---

template <class Ring>
StreamId StreamTable<Ring>::IdOf(std::uint32_t slot, const Stream& stream) {
  return {static_cast<std::uint64_t>(slot) << 32 | stream.generation};
}

template <class Ring>
std::uint32_t StreamTable<Ring>::SlotOf(StreamId id) {
  return static_cast<std::uint32_t>(id.value >> 32);
}

template <class Ring>
const typename StreamTable<Ring>::Stream* StreamTable<Ring>::Find(StreamId id) const {
  const std::uint32_t slot = SlotOf(id);
  if (slot >= streams_.size()) return nullptr;
  const Stream& stream = streams_[slot];
  const bool current = stream.generation == static_cast<std::uint32_t>(id.value);
  return current && stream.handler != nullptr ? &stream : nullptr;
}

template <class Ring>
typename StreamTable<Ring>::Stream* StreamTable<Ring>::Find(StreamId id) {
  return const_cast<Stream*>(std::as_const(*this).Find(id));
}

template <class Ring>
typename StreamTable<Ring>::Stream* StreamTable<Ring>::Of(const io::Completion& completion) {
  const std::uint32_t slot = completion.token.slot();
  if (slot >= streams_.size()) return nullptr;
  Stream& stream = streams_[slot];
  return stream.generation == completion.token.generation() ? &stream : nullptr;
}

template <class Ring>
StreamId StreamTable<Ring>::Attach(Fd fd, StreamHandler& handler) {
  if (free_slots_.empty()) {
    assert(streams_.size() < kSlotsMax);
    streams_.emplace_back();
    free_slots_.push_back(static_cast<std::uint32_t>(streams_.size() - 1));
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  Stream& stream = streams_[slot];
  stream.fd = std::move(fd);
  stream.handler = &handler;
  StartReceive(slot, stream);
  return IdOf(slot, stream);
}

template <class Ring>
void StreamTable<Ring>::CloseSlot(std::uint32_t slot, Stream& stream) {
  stream.handler = nullptr;
  stream.closed = true;
  loop_.CancelTimer(std::exchange(stream.limit_timer, {}));
  if (stream.receiving || stream.flying > 0) ring_.CancelFd(stream.fd.get());
  FreeWhenIdle(slot, stream);
}

// The descriptor stays open until the kernel has let go of it: its number must
// not come back as another connection while an operation still carries it.
template <class Ring>
void StreamTable<Ring>::FreeWhenIdle(std::uint32_t slot, Stream& stream) {
  if (!stream.closed || stream.receiving || stream.flying > 0) return;
  stream.fd.Reset();
  Free(slot, stream);
}

template <class Ring>
void StreamTable<Ring>::Free(std::uint32_t slot, Stream& stream) {
  const std::uint32_t generation = stream.generation + 1;
  const bool listed = stream.listed;
  stream = Stream{};
  stream.generation = generation == 0 ? 1 : generation;
  stream.listed = listed;
  free_slots_.push_back(slot);
}

// --- receiving ---

template <class Ring>
void StreamTable<Ring>::StartReceive(std::uint32_t slot, Stream& stream) {
  stream.receiving = true;
  ring_.ReceiveOnce(stream.fd.get(), io::Token(kReceive, slot, stream.generation));
}

template <class Ring>
void StreamTable<Ring>::OnReceived(const io::Completion& completion) {
  const std::uint32_t slot = completion.token.slot();
  if (Stream* const stream = Of(completion)) {
    stream->receiving = false;
    if (completion.has_buffer) {
      const auto length = static_cast<std::size_t>(completion.result);
      Deliver(slot, *stream, {ring_.BufferData(completion.buffer_id), length});
    } else if (stream->closed) {
      FreeWhenIdle(slot, *stream);
    } else if (completion.result == -ENOBUFS || completion.result == -EAGAIN ||
               completion.result == -EINTR) {
      // Every buffer was in this turn's completions; they are back when it ends.
      StartReceive(slot, *stream);
    } else if (stream->draining && completion.result == 0 && stream->queued_bytes > 0) {
      stream->peer_ended = true;
    } else if (stream->draining) {
      CloseSlot(slot, *stream);
    } else {
      Break(slot, *stream, completion.result);
    }
  }
  if (completion.has_buffer) ring_.ReturnBuffer(completion.buffer_id);
}

template <class Ring>
void StreamTable<Ring>::Deliver(std::uint32_t slot, Stream& stream, MutableBytes bytes) {
  if (stream.closed) {
    FreeWhenIdle(slot, stream);
    return;
  }
  if (stream.draining) {
    Discard(slot, stream, bytes.size());
    return;
  }
  if (stream.paused) {
    stream.kept.append(AsText(bytes));
    return;
  }
  const StreamId id = IdOf(slot, stream);
  stream.handler->OnReceive(id, bytes);
  // The call may have closed, detached, paused or drained it.
  Stream* const after = Find(id);
  if (after != nullptr && !after->receiving && !after->paused) StartReceive(slot, *after);
}

template <class Ring>
void StreamTable<Ring>::PauseReceive(StreamId id) {
  if (Stream* const stream = Find(id)) stream->paused = true;
}

template <class Ring>
void StreamTable<Ring>::ResumeReceive(StreamId id) {
  Stream* const stream = Find(id);
  if (stream == nullptr || !stream->paused) return;
  stream->paused = false;
  // What was kept is delivered at the end of the turn, not inside this call.
  MarkDirty(SlotOf(id), *stream);
}

template <class Ring>
Result<Fd> StreamTable<Ring>::Detach(StreamId id) {
  Stream* const stream = Find(id);
  if (stream == nullptr) return Fail(ErrorCode::kClosed, "the stream is gone");
  if (stream->receiving || !stream->kept.empty()) {
    return Fail(ErrorCode::kConflict, "the stream is receiving");
  }
  if (stream->queued_bytes != 0) return Fail(ErrorCode::kConflict, "the stream is sending");
  Fd fd = std::move(stream->fd);
  if constexpr (requires { ring_.Forget(fd.get()); }) ring_.Forget(fd.get());
  Free(SlotOf(id), *stream);
  return fd;
}

// --- sending ---

template <class Ring>
void StreamTable<Ring>::Send(StreamId id, SharedSlice slice) {
  Stream* const stream = Find(id);
  if (stream == nullptr || slice.bytes.empty()) return;
  stream->queued_bytes += slice.bytes.size();
  stream->queue.Push(std::move(slice));
  MarkDirty(SlotOf(id), *stream);
}

template <class Ring>
std::size_t StreamTable<Ring>::QueuedBytes(StreamId id) const {
  const Stream* const stream = Find(id);
  return stream == nullptr ? 0 : stream->queued_bytes;
}

template <class Ring>
void StreamTable<Ring>::Prefetch(StreamId id) const {
  const std::uint32_t slot = SlotOf(id);
  if (slot < streams_.size()) core::Prefetch(&streams_[slot], sizeof(Stream));
}

template <class Ring>
void StreamTable<Ring>::Prefetch(const io::Completion& completion) const {
  const std::uint32_t slot = completion.token.slot();
  if (!completion.wake && slot < streams_.size()) core::Prefetch(&streams_[slot], sizeof(Stream));
}

template <class Ring>
void StreamTable<Ring>::MarkDirty(std::uint32_t slot, Stream& stream) {
  if (stream.listed) return;
  stream.listed = true;
  dirty_.push_back(slot);
}

template <class Ring>
void StreamTable<Ring>::FlushDirty() {
  flushing_.swap(dirty_);
  for (const std::uint32_t slot : flushing_) {
    Stream& stream = streams_[slot];
    stream.listed = false;
    if (stream.closed || !stream.fd.valid()) continue;
    if (stream.flying == 0 && stream.queued_bytes > 0) StartSend(slot, stream);
    if (stream.handler == nullptr || stream.paused || stream.receiving) continue;
    if (stream.kept.empty()) {
      StartReceive(slot, stream);
    } else {
      std::string bytes = std::move(stream.kept);
      stream.kept.clear();
      Deliver(slot, stream, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
    }
  }
  flushing_.clear();
}

template <class Ring>
void StreamTable<Ring>::StartSend(std::uint32_t slot, Stream& stream) {
  stream.flying = std::min(stream.queue.size(), kMaxGather);
  const iovec* first = &stream.piece;
  if (stream.flying == 1) {
    stream.piece = PieceOf(stream.queue[0]);
    stream.flying_bytes = stream.piece.iov_len;
  } else {
    if (spare_pieces_.empty()) {
      stream.pieces = std::make_unique_for_overwrite<Pieces>();
    } else {
      stream.pieces = std::move(spare_pieces_.back());
      spare_pieces_.pop_back();
    }
    first = stream.pieces->data();
    stream.flying_bytes = 0;
    for (std::size_t i = 0; i < stream.flying; ++i) {
      (*stream.pieces)[i] = PieceOf(stream.queue[i]);
      stream.flying_bytes += (*stream.pieces)[i].iov_len;
    }
  }
  ring_.Send(stream.fd.get(), first, static_cast<unsigned>(stream.flying),
             io::Token(kSend, slot, stream.generation));
}

template <class Ring>
void StreamTable<Ring>::OnSendDone(const io::Completion& completion) {
  Stream* const found = Of(completion);
  if (found == nullptr) return;
  Stream& stream = *found;
  const std::uint32_t slot = completion.token.slot();
  const bool complete =
      completion.result >= 0 && static_cast<std::size_t>(completion.result) == stream.flying_bytes;
  DropSent(stream);
  if (stream.closed) {
    FreeWhenIdle(slot, stream);
  } else if (!complete) {
    // A short send means that the connection broke in the middle of it.
    Break(slot, stream, completion.result < 0 ? completion.result : -EPIPE);
  } else if (stream.queued_bytes > 0) {
    MarkDirty(slot, stream);
  } else if (stream.draining) {
    AnnounceEnd(slot, stream);
  } else {
    stream.handler->OnSent(IdOf(slot, stream));
  }
}

template <class Ring>
void StreamTable<Ring>::DropSent(Stream& stream) {
  stream.queue.Drop(std::exchange(stream.flying, 0));
  stream.queued_bytes -= std::exchange(stream.flying_bytes, 0);
  if (stream.pieces == nullptr) return;
  if (spare_pieces_.size() < kSparePiecesMax) spare_pieces_.push_back(std::move(stream.pieces));
  stream.pieces.reset();
}

// --- the end ---

template <class Ring>
void StreamTable<Ring>::Break(std::uint32_t slot, Stream& stream, int error) {
  StreamHandler* const handler = stream.handler;
  const StreamId id = IdOf(slot, stream);
  if (error == 0 && stream.queued_bytes > 0) {
    stream.peer_ended = true;
    StartDraining(slot, stream, kHalfClosedLimit);
  } else {
    CloseSlot(slot, stream);
  }
  if (handler != nullptr) handler->OnClosed(id, error);
}

template <class Ring>
void StreamTable<Ring>::Close(StreamId id) {
  if (Stream* const stream = Find(id)) CloseSlot(SlotOf(id), *stream);
}

template <class Ring>
void StreamTable<Ring>::CloseAfterFlush(StreamId id, Duration limit) {
  Stream* const stream = Find(id);
  if (stream == nullptr) return;
  const std::uint32_t slot = SlotOf(id);
  StartDraining(slot, *stream, limit);
  // Sees the peer's end, also after a pause or inside OnReceive.
  if (!stream->receiving) StartReceive(slot, *stream);
  if (stream->queued_bytes == 0) AnnounceEnd(slot, *stream);
}

template <class Ring>
void StreamTable<Ring>::StartDraining(std::uint32_t slot, Stream& stream, Duration limit) {
  stream.handler = nullptr;
  stream.draining = true;
  stream.kept.clear();
  stream.limit_timer = loop_.After(limit, [this, slot, generation = stream.generation] {
    Stream& late = streams_[slot];
    if (late.generation == generation && !late.closed) CloseSlot(slot, late);
  });
}

template <class Ring>
void StreamTable<Ring>::AnnounceEnd(std::uint32_t slot, Stream& stream) {
  if (std::exchange(stream.end_announced, true)) return;
  // Fails when the peer has reset the connection: nothing is left to do then.
  const bool announced = shutdown(stream.fd.get(), SHUT_WR) == 0;
  if (!announced || stream.peer_ended) CloseSlot(slot, stream);
}

template <class Ring>
void StreamTable<Ring>::Discard(std::uint32_t slot, Stream& stream, std::size_t bytes) {
  stream.discarded_bytes += bytes;
  if (stream.discarded_bytes > kDiscardMax) {
    CloseSlot(slot, stream);
  } else {
    StartReceive(slot, stream);
  }
}

template <class Ring>
void StreamTable<Ring>::CloseAll() {
  dirty_.clear();
  for (std::size_t slot = 0; slot < streams_.size(); ++slot) {
    if (streams_[slot].fd.valid()) Free(static_cast<std::uint32_t>(slot), streams_[slot]);
  }
}

template class StreamTable<io::UringRing>;
template class StreamTable<io::EpollRing>;

}  // namespace ringscale::core::engine

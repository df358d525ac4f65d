// The streams of one RingLoop: slots, send queues, receive states. The methods
// are those of Loop (see loop.h); the loop feeds completions.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/engine/loop.h"
#include "core/engine/slice_queue.h"
#include "core/io/ring.h"

namespace ringscale::core::engine {

template <class Ring>
class StreamTable {
 public:
  static constexpr std::uint8_t kReceive = 1;  // operations of its tokens
  static constexpr std::uint8_t kSend = 2;

  // The loop outlives it; the ring ends right before CloseAll, since operations in
  // flight point into the table's memory.
  StreamTable(Ring& ring, Loop& loop) : ring_(ring), loop_(loop) {}
  StreamTable(const StreamTable&) = delete;
  StreamTable& operator=(const StreamTable&) = delete;

  StreamId Attach(Fd fd, StreamHandler& handler);
  void Send(StreamId id, SharedSlice slice);
  [[nodiscard]] std::size_t QueuedBytes(StreamId id) const;
  void Prefetch(StreamId id) const;
  void PauseReceive(StreamId id);
  void ResumeReceive(StreamId id);
  Result<Fd> Detach(StreamId id);
  void Close(StreamId id);
  void CloseAfterFlush(StreamId id, Duration limit);

  void OnReceived(const io::Completion& completion);
  void OnSendDone(const io::Completion& completion);
  // Fetches what handling it reads into the cache.
  void Prefetch(const io::Completion& completion) const;

  // Starts what the turn's events asked for: one send per stream. At the end of
  // each turn.
  void FlushDirty();
  [[nodiscard]] bool dirty() const { return !dirty_.empty(); }

  // The ring is gone, and with it all operations: closes everything, silently.
  // Ids are stale from then on.
  void CloseAll();

 private:
  static constexpr std::size_t kMaxGather = 64;

  // The pieces of one send, kept until it completes.
  using Pieces = std::array<iovec, kMaxGather>;

  // What sending one slice touches comes first: there are thousands of streams, and the
  // quiet ones are in no cache.
  struct alignas(64) Stream {
    StreamHandler* handler = nullptr;  // null: the owner has let go
    Fd fd;
    std::uint32_t generation = 1;
    bool receiving = false;  // a receive is in flight
    bool paused = false;
    bool closed = false;    // waits for its operations to end
    bool draining = false;  // CloseAfterFlush: send, announce the end, discard
    bool end_announced = false;
    bool peer_ended = false;
    bool listed = false;     // in dirty_
    std::size_t flying = 0;  // slices of the queue that are being sent
    std::size_t flying_bytes = 0;
    std::size_t queued_bytes = 0;
    iovec piece{};  // what is being sent, when it is one
    SliceQueue queue;
    std::unique_ptr<Pieces> pieces;  // when it is more
    std::size_t discarded_bytes = 0;
    std::string kept;  // received while paused
    TimerId limit_timer;
  };

  [[nodiscard]] Stream* Find(StreamId id);
  [[nodiscard]] const Stream* Find(StreamId id) const;
  static StreamId IdOf(std::uint32_t slot, const Stream& stream);
  static std::uint32_t SlotOf(StreamId id);
  Stream* Of(const io::Completion& completion);
  void MarkDirty(std::uint32_t slot, Stream& stream);
  void StartReceive(std::uint32_t slot, Stream& stream);
  void StartSend(std::uint32_t slot, Stream& stream);
  void DropSent(Stream& stream);
  void Deliver(std::uint32_t slot, Stream& stream, MutableBytes bytes);
  void Discard(std::uint32_t slot, Stream& stream, std::size_t bytes);
  void AnnounceEnd(std::uint32_t slot, Stream& stream);
  void StartDraining(std::uint32_t slot, Stream& stream, Duration limit);
  // The connection is over: closes, tells the owner. What is queued still goes to
  // a peer that has only ended its own direction.
  void Break(std::uint32_t slot, Stream& stream, int error);
  void CloseSlot(std::uint32_t slot, Stream& stream);
  void FreeWhenIdle(std::uint32_t slot, Stream& stream);
  void Free(std::uint32_t slot, Stream& stream);

  Ring& ring_;
  Loop& loop_;
  std::deque<Stream> streams_;  // by slot; addresses stay
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::uint32_t> dirty_;
  std::vector<std::uint32_t> flushing_;
  std::vector<std::unique_ptr<Pieces>> spare_pieces_;
};

}  // namespace ringscale::core::engine

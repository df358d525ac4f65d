// The event loop of front and control threads: streams, listeners, timers and
// tasks posted from other threads. Relay shards do not use it (they drive the
// ring directly, see relay/app); here a virtual call per event is fine.
//
// Everything is called on the loop's own thread unless said otherwise.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/slices.h"
#include "core/base/time.h"
#include "core/net/address.h"

namespace ringscale::core::engine {

struct StreamId {
  std::uint64_t value = 0;  // slot and generation; 0 = none; a stale id is ignored
  auto operator<=>(const StreamId&) const = default;
};
struct TimerId {
  std::uint64_t value = 0;
  auto operator<=>(const TimerId&) const = default;
};

// The owner of a stream. It must outlive the stream (until OnClosed or Detach).
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Received bytes, valid and writable during the call (TLS opens in place).
  virtual void OnReceive(StreamId stream, MutableBytes bytes) = 0;
  // All bytes given to Send so far are with the kernel.
  virtual void OnSent(StreamId stream) { (void)stream; }
  // End of stream (0) or -errno. The stream is gone after the call.
  virtual void OnClosed(StreamId stream, int error) = 0;
};

class Loop {
 public:
  using Task = std::move_only_function<void()>;
  using AcceptFn = std::move_only_function<void(Fd, const SocketAddress& peer)>;

  virtual ~Loop() = default;

  // --- time: read once per turn ---
  [[nodiscard]] virtual Instant Now() const = 0;
  [[nodiscard]] virtual WallTime Wall() const = 0;

  // --- streams (TCP or Unix sockets) ---
  virtual StreamId Attach(Fd fd, StreamHandler& handler) = 0;
  // Queues bytes; everything queued goes out in one send when the previous one
  // has completed. Never blocks; the caller bounds what it queues by QueuedBytes.
  virtual void Send(StreamId stream, std::string bytes) = 0;
  virtual void Send(StreamId stream, SharedSlice slice) = 0;
  [[nodiscard]] virtual std::size_t QueuedBytes(StreamId stream) const = 0;
  // Fetches what Send reads into the cache: for somebody who sends on many streams that
  // have been silent for long.
  virtual void Prefetch(StreamId stream) const { (void)stream; }
  // Stops and resumes receiving (back-pressure). OnReceive is not called while
  // paused; up to one buffer that was already on its way is kept for later. A
  // peer that goes is then noticed only by sending or after resuming.
  virtual void PauseReceive(StreamId stream) = 0;
  virtual void ResumeReceive(StreamId stream) = 0;
  // Takes the descriptor back, to hand it to another thread. Only inside
  // OnReceive of that stream, or while it is paused since an OnReceive, and with
  // QueuedBytes == 0; else kConflict, and nothing happens.
  virtual Result<Fd> Detach(StreamId stream) = 0;
  // Closes at once, without OnClosed.
  virtual void Close(StreamId stream) = 0;
  // Closes when all queued bytes are sent and the peer has closed too, or after
  // `limit`; without OnClosed. The end of our bytes is announced (FIN) as soon as
  // they are sent; what the peer still sends is discarded, since closing over
  // unread bytes would reset the connection and take our last bytes with it. The
  // handler may go at once.
  virtual void CloseAfterFlush(StreamId stream, Duration limit = Seconds(5)) = 0;

  // --- listeners: the descriptor is shared by several loops, each accepts ---
  // The loop keeps a duplicate of the descriptor (non-blocking, as core/net opens
  // them). The callback gets descriptors in blocking mode, close-on-exec.
  virtual void Listen(int listening_fd, AcceptFn on_accept) = 0;
  // The callback may still get connections that had been accepted, until the end
  // of the next turn.
  virtual void StopListening(int listening_fd) = 0;

  // --- timers: within a few milliseconds of the asked time ---
  virtual TimerId After(Duration delay, Task task) = 0;
  virtual void CancelTimer(TimerId timer) = 0;

  // --- from any thread ---
  // Queues a task for this loop and wakes it. False when the bounded queue is
  // full or the loop has stopped; the task is then destroyed unrun. Tasks that
  // the loop did not get to before it stopped are destroyed with it.
  [[nodiscard]] virtual bool Post(Task task) = 0;
  // Ends Run() after the current turn.
  virtual void Stop() = 0;

  // Until Stop. May be called again afterwards; in between Post refuses tasks.
  virtual void Run() = 0;
};

struct LoopOptions {
  std::string name;                 // thread name, log component
  std::uint32_t buffer_count = 64;  // receive buffers
  std::uint32_t buffer_size = 16 * 1024;
  std::size_t post_queue_limit = 65536;
  bool force_epoll = false;  // see io::ChooseRing
};

// An io_uring loop where the kernel allows it, else an epoll loop; both behave
// the same. To be called on the thread that will run and destroy it (rings belong
// to a thread, see LoopThread); Post and Stop may be used as soon as it returns.
// Destroying a loop closes its streams without OnClosed.
Result<std::unique_ptr<Loop>> CreateLoop(const LoopOptions& options);

}  // namespace ringscale::core::engine

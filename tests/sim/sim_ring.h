// The ring concept on SimNet: the third implementation. It completes operations
// as badly as a kernel may: in pieces of any size, late, in another order than
// they were started, without buffers; and it checks how it is used.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/base/time.h"
#include "core/io/ring.h"
#include "core/io/waker.h"
#include "tests/sim/sim_net.h"

namespace ringscale::sim {

// In percent, per occasion.
struct Faults {
  std::uint32_t short_receive = 0;  // fewer bytes than are there
  std::uint32_t end_multishot = 0;  // the receive ends after some bytes
  std::uint32_t no_buffers = 0;     // ENOBUFS although there are some
  std::uint32_t slow_send = 0;      // a send makes no or little progress in a turn
  std::uint32_t late = 0;           // a completion is shown in a later turn
  std::uint32_t reorder = 0;        // completions of different operations change places
  std::uint32_t stale = 0;          // a completion of a closed connection appears
};

class SimWakeTarget final : public core::io::WakeTarget {
 protected:
  void Signal() override {}
};

class SimRing {
 public:
  SimRing(SimNet& net, const core::io::RingOptions& options, Rng& rng, const Faults& faults,
          const core::Instant& now)
      : net_(net),
        rng_(rng),
        faults_(faults),
        now_(now),
        buffer_size_(options.buffer_size),
        memory_(static_cast<std::size_t>(options.buffer_count) * options.buffer_size),
        held_(options.buffer_count, false),
        wake_(std::make_shared<SimWakeTarget>()) {
    for (std::uint32_t i = options.buffer_count; i-- > 0;) {
      free_.push_back(static_cast<std::uint16_t>(i));
    }
  }

  void AcceptMultishot(int, core::io::Token) { std::abort(); }
  void ReceiveMessageMultishot(int, msghdr*, core::io::Token) { std::abort(); }
  void SendMessage(int, msghdr*, core::io::Token) { std::abort(); }

  void ReceiveMultishot(int fd, core::io::Token token) {
    SimSocket& socket = net_.At(fd);
    Check(!socket.receive.has_value(), "two receives on one socket");
    Check(!socket.server_closed, "receive on a closed socket");
    socket.receive = token;
    socket.receive_once = false;
    active_.try_emplace(fd, &socket);
  }

  void ReceiveOnce(int fd, core::io::Token token) {
    ReceiveMultishot(fd, token);
    net_.At(fd).receive_once = true;
  }

  void Send(int fd, const iovec* pieces, unsigned count, core::io::Token token) {
    SimSocket& socket = net_.At(fd);
    Check(!socket.send.has_value(), "two sends on one socket");
    Check(!socket.server_closed, "send on a closed socket");
    Check(count > 0 && count <= 1024, "a send of no or too many pieces");
    std::size_t total = 0;
    for (unsigned i = 0; i < count; ++i) total += pieces[i].iov_len;
    socket.send = SimSocket::SendOperation{token, pieces, count, total, 0};
    active_.try_emplace(fd, &socket);
  }

  void CancelFd(int fd) {
    SimSocket& socket = net_.At(fd);
    if (socket.receive) EndReceive(socket, -ECANCELED);
    if (socket.send) EndSend(socket, -ECANCELED);
  }

  // Not part of the concept: descriptors of the simulation are closed here.
  void Close(int fd) {
    SimSocket& socket = net_.At(fd);
    Check(!socket.receive && !socket.send, "closed with operations under way");
    socket.server_closed = true;
    active_.erase(fd);
    for (const core::io::Token token : ended_[fd]) graveyard_.push_back(token);
    ended_.erase(fd);
  }

  std::uint8_t* BufferData(std::uint16_t id) {
    return memory_.data() + std::size_t{id} * buffer_size_;
  }
  void ReturnBuffer(std::uint16_t id) {
    Check(held_[id], "returned a buffer that was not held");
    held_[id] = false;
    // Whoever still looks at these bytes sees that they are gone.
    std::memset(BufferData(id), 0xdd, buffer_size_);
    free_.push_back(id);
  }
  [[nodiscard]] std::uint32_t FreeBuffers() const {
    return static_cast<std::uint32_t>(free_.size());
  }

  // The simulation decides with Runnable() when a thread comes back from its wait,
  // so this never waits.
  std::size_t Turn(std::span<core::io::Completion> out, core::Duration /*wait*/,
                   core::Duration /*gather*/) {
    Progress();
    std::size_t count = 0;
    asleep_ = false;
    if (wake_->Awake() || woken_) {
      out[count] = {};
      out[count++].wake = true;
      woken_ = false;
    }
    while (count < out.size() && !waiting_.empty()) {
      if (rng_.Chance(faults_.late)) break;
      std::size_t at = rng_.Chance(faults_.reorder) ? rng_.Below(waiting_.size()) : 0;
      // Completions of one operation keep their order.
      for (std::size_t i = 0; i < at; ++i) {
        if (waiting_[i].token == waiting_[at].token) at = i;
      }
      out[count++] = waiting_[at];
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return count;
  }

  // Whether a thread that calls Turn with this wait, now or when it was first asked,
  // would have come back. A wake-up that was not sent is not made up for.
  [[nodiscard]] bool Runnable(core::Duration wait) {
    Progress();
    if (!asleep_) {
      if (wait.ns <= 0 || !waiting_.empty() || !wake_->PrepareSleep()) return true;
      asleep_ = true;
      sleeps_until_ = now_ + wait;
      return false;
    }
    woken_ = woken_ || wake_->Awake();
    return woken_ || !waiting_.empty() || now_ >= sleeps_until_;
  }
  [[nodiscard]] core::Instant sleeps_until() const { return sleeps_until_; }
  [[nodiscard]] core::io::Waker waker() const { return core::io::Waker(wake_); }
  void SetFaults(const Faults& faults) { faults_ = faults; }

 private:
  static void Check(bool right, const char* what) {
    if (right) return;
    std::fprintf(stderr, "the ring was used wrongly: %s\n", what);
    std::abort();
  }

  void Complete(core::io::Completion completion) { waiting_.push_back(completion); }

  void EndReceive(SimSocket& socket, std::int32_t result) {
    Complete({.token = *socket.receive, .result = result});
    ended_[socket.fd].push_back(*socket.receive);
    socket.receive.reset();
  }
  void EndSend(SimSocket& socket, std::int32_t error) {
    // What was sent is sent; only nothing at all is an error.
    const auto done = static_cast<std::int32_t>(socket.send->done);
    const bool whole = socket.send->done == socket.send->total;
    Complete({.token = socket.send->token, .result = whole || done > 0 ? done : error});
    ended_[socket.fd].push_back(socket.send->token);
    socket.send.reset();
  }

  void Progress() {
    for (const auto& [fd, socket] : active_) {
      if (socket->receive) ProgressReceive(*socket);
      if (socket->send) ProgressSend(*socket);
    }
    if (!graveyard_.empty() && rng_.Chance(faults_.stale)) InjectStale();
  }

  void ProgressReceive(SimSocket& socket) {
    if (socket.broken) return EndReceive(socket, -ECONNRESET);
    if (socket.inbound_left() == 0) {
      if (socket.inbound_ended) EndReceive(socket, 0);
      return;
    }
    if (free_.empty() || rng_.Chance(faults_.no_buffers)) return EndReceive(socket, -ENOBUFS);
    std::size_t size = std::min<std::size_t>(socket.inbound_left(), buffer_size_);
    if (rng_.Chance(faults_.short_receive)) size = 1 + rng_.Below(size);
    const std::uint16_t id = TakeBuffer();
    std::memcpy(BufferData(id), socket.inbound.data() + socket.inbound_taken, size);
    socket.inbound_taken += size;
    if (socket.inbound_left() == 0) {
      socket.inbound.clear();
      socket.inbound_taken = 0;
    }
    const bool more = !socket.receive_once && !rng_.Chance(faults_.end_multishot);
    Complete({.token = *socket.receive,
              .result = static_cast<std::int32_t>(size),
              .buffer_id = id,
              .has_buffer = true,
              .more = more});
    if (!more) socket.receive.reset();
  }

  void ProgressSend(SimSocket& socket) {
    SimSocket::SendOperation& send = *socket.send;
    if (socket.broken) return EndSend(socket, -ECONNRESET);
    std::size_t room = socket.window - std::min(socket.window, socket.outbound.size());
    room = std::min(room, send.total - send.done);
    if (rng_.Chance(faults_.slow_send)) room = rng_.Below(room + 1);
    if (room == 0) return;
    // The memory is read now, not when the send was started.
    std::size_t skip = send.done;
    std::size_t left = room;
    for (unsigned i = 0; i < send.count && left > 0; ++i) {
      const iovec& piece = send.pieces[i];
      if (skip >= piece.iov_len) {
        skip -= piece.iov_len;
        continue;
      }
      const std::size_t take = std::min(left, piece.iov_len - skip);
      const auto* from = static_cast<const std::uint8_t*>(piece.iov_base) + skip;
      socket.outbound.insert(socket.outbound.end(), from, from + take);
      left -= take;
      skip = 0;
    }
    send.done += room;
    socket.acknowledged += room;
    if (send.done == send.total) EndSend(socket, 0);
  }

  std::uint16_t TakeBuffer() {
    const std::uint16_t id = free_.back();
    free_.pop_back();
    held_[id] = true;
    return id;
  }

  // As if a kernel completed an operation of a connection that is long gone, and
  // its slot may be somebody else's by now.
  void InjectStale() {
    const core::io::Token token = graveyard_[rng_.Below(graveyard_.size())];
    core::io::Completion completion{.token = token, .result = -ECANCELED};
    if (!free_.empty() && rng_.Chance(50)) {
      completion.has_buffer = true;
      completion.buffer_id = TakeBuffer();
      completion.result = static_cast<std::int32_t>(1 + rng_.Below(buffer_size_));
    }
    // Only receives come with buffers.
    if (token.op() == 2) {
      if (completion.has_buffer) {
        held_[completion.buffer_id] = false;
        free_.push_back(completion.buffer_id);
        completion.has_buffer = false;
      }
      completion.result = 100;
    }
    Complete(completion);
  }

  SimNet& net_;
  Rng& rng_;
  Faults faults_;
  const core::Instant& now_;
  std::uint32_t buffer_size_;
  std::vector<std::uint8_t> memory_;
  std::vector<bool> held_;
  std::vector<std::uint16_t> free_;
  std::shared_ptr<SimWakeTarget> wake_;
  std::map<int, SimSocket*> active_;
  std::vector<core::io::Completion> waiting_;
  std::map<int, std::vector<core::io::Token>> ended_;
  std::vector<core::io::Token> graveyard_;
  bool asleep_ = false;
  bool woken_ = false;
  core::Instant sleeps_until_;
};

static_assert(core::io::RingLike<SimRing>);

}  // namespace ringscale::sim

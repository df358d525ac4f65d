// The order in which a front thread spends CPU on asymmetric handshakes: newest
// first, since whoever waited long has a client that gives up soon and comes
// again. Those that waited too long are dropped before they cost anything. Also
// bounds how many handshakes wait for their peer. Plain data, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "core/base/time.h"

namespace ringscale::serverd {

class HandshakeGate {
 public:
  struct Limits {
    std::size_t in_progress = 64;
    core::Duration max_wait = core::Seconds(5);
    // When all places are taken, a handshake that has kept its place for so long
    // makes room: a peer cannot block a front by not answering.
    core::Duration fair_share = core::Seconds(2);
  };

  explicit HandshakeGate(const Limits& limits) : limits_(limits) {}

  // A connection wants its turn. With `takes_place`, it will occupy a place in
  // progress until Done(id).
  void Push(std::uint64_t id, bool takes_place, core::Instant now);

  struct Turn {
    std::optional<std::uint64_t> next;     // whose turn it is
    std::vector<std::uint64_t> dropped;    // to be closed: waited too long
    std::optional<std::uint64_t> evicted;  // to be closed: made room for `next`
  };
  Turn Next(core::Instant now);

  // The handshake has ended, or its connection has, waiting or not.
  void Done(std::uint64_t id);

  // Limits::in_progress, from now on.
  void SetInProgress(std::size_t in_progress) { limits_.in_progress = in_progress; }
  [[nodiscard]] bool waiting() const { return !waiting_.empty(); }
  [[nodiscard]] std::size_t in_progress() const { return in_progress_.size(); }

 private:
  struct Entry {
    std::uint64_t id = 0;
    bool takes_place = false;
    core::Instant since;
  };
  Limits limits_;
  std::deque<Entry> waiting_;       // oldest first
  std::vector<Entry> in_progress_;  // oldest first
};

}  // namespace ringscale::serverd

#include "tools/serverd/front/handshake_gate.h"

#include <iterator>

namespace ringscale::serverd {

void HandshakeGate::Push(std::uint64_t id, bool takes_place, core::Instant now) {
  waiting_.push_back({id, takes_place, now});
}

HandshakeGate::Turn HandshakeGate::Next(core::Instant now) {
  Turn turn;
  while (!waiting_.empty() && now - waiting_.front().since > limits_.max_wait) {
    turn.dropped.push_back(waiting_.front().id);
    waiting_.pop_front();
  }
  if (waiting_.empty()) return turn;
  auto chosen = std::prev(waiting_.end());
  if (chosen->takes_place && in_progress_.size() >= limits_.in_progress) {
    if (now - in_progress_.front().since >= limits_.fair_share) {
      turn.evicted = in_progress_.front().id;
      in_progress_.erase(in_progress_.begin());
    } else {
      // Those that need no place go on.
      while (chosen->takes_place) {
        if (chosen == waiting_.begin()) return turn;
        --chosen;
      }
    }
  }
  Entry entry = *chosen;
  waiting_.erase(chosen);
  turn.next = entry.id;
  if (entry.takes_place) {
    entry.since = now;
    in_progress_.push_back(entry);
  }
  return turn;
}

void HandshakeGate::Done(std::uint64_t id) {
  std::erase_if(in_progress_, [&](const Entry& entry) { return entry.id == id; });
  std::erase_if(waiting_, [&](const Entry& entry) { return entry.id == id; });
}

}  // namespace ringscale::serverd

// Several relays of one region on one clock, and the links between them: what one
// relay's link sends, the client that it is over there receives. Links break, and
// are dialled again; relays end and are replaced.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <utility>
#include <vector>

#include "tests/sim/relay_world.h"

namespace ringscale::sim {

class SimRegion {
 public:
  enum class Break : std::uint8_t {
    kReset,  // both ends see it at once
    kEnd,    // the dialling relay ends it; what it sent arrives
    kCut,    // the other end does not notice for a while
  };

  SimRegion(std::size_t relays, const WorldOptions& options)
      : options_(options), rng_(options.seed) {
    for (std::size_t i = 0; i < relays; ++i) {
      keys_.push_back(RandomKey(rng_));
      relays_.push_back(MakeRelay(i));
    }
    for (std::size_t from = 0; from < relays; ++from) {
      for (std::size_t to = 0; to < relays; ++to) {
        if (from != to) wires_.push_back({.from = from, .to = to});
      }
    }
  }

  [[nodiscard]] std::size_t size() const { return relays_.size(); }
  RelayWorld& relay(std::size_t index) { return *relays_[index]; }
  // Those that were there, replaced ones included.
  template <class Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& relay : past_) visit(*relay);
    for (const auto& relay : relays_) visit(*relay);
  }
  template <class Read>
  std::uint64_t Sum(Read&& read) const {
    std::uint64_t sum = 0;
    ForEach([&](const RelayWorld& relay) { sum += relay.Sum(read); });
    return sum;
  }

  // --- links ---
  void BreakLink(std::size_t from, std::size_t to, Break how) {
    for (Wire& wire : wires_) {
      if (wire.from == from && wire.to == to && wire.up() && !wire.broken) CutWire(wire, how);
    }
  }
  // All end, and are not made again.
  void EndLinks() {
    redial_ = false;
    for (Wire& wire : wires_) {
      if (wire.up()) CutWire(wire, Break::kReset);
    }
  }
  [[nodiscard]] bool linked() const {
    return std::ranges::all_of(wires_, [](const Wire& w) {
      return w.up() && !w.broken && !w.link->server_closed && !w.client->server_closed;
    });
  }

  // --- ends ---
  void Drain(std::size_t index, core::Duration over) {
    RelayWorld& world = relay(index);
    const auto done =
        std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(world.shard_count()));
    for (std::size_t shard = 0; shard < world.shard_count(); ++shard) {
      world.Command(shard, relay::DrainCommand{over, done});
    }
    drains_.push_back({index, done, false});
  }
  [[nodiscard]] bool draining(std::size_t index) const {
    return std::ranges::any_of(drains_, [&](const Draining& d) { return d.relay == index; });
  }
  // Relays that have ended in an orderly way.
  [[nodiscard]] std::uint64_t drained() const { return drained_; }
  [[nodiscard]] bool draining() const { return !drains_.empty(); }
  // A successor takes the place of a relay that is no more.
  void KillAndReplace(std::size_t index) {
    relays_[index]->Kill();
    past_.push_back(std::exchange(relays_[index], MakeRelay(index)));
    std::erase_if(drains_, [&](const Draining& d) { return d.relay == index; });
  }

  // --- time ---
  // One turn of one shard that could run, or time moves on to what happens next,
  // at most to `until`.
  void Step(core::Instant until) {
    next_event_ = until;
    MoveBytes();
    FinishDrains();
    const std::size_t first = rng_.Below(relays_.size());
    for (std::size_t i = 0; i < relays_.size(); ++i) {
      if (relays_[(first + i) % relays_.size()]->TryTurn()) return;
    }
    for (const auto& relay : relays_) next_event_ = std::min(next_event_, relay->NextWake());
    now_ = std::max(next_event_, now_ + core::Micros(1));
  }
  void Skip(core::Duration duration) {
    const core::Instant until = now_ + duration;
    while (now_ < until) Step(until);
  }
  [[nodiscard]] core::Instant now() const { return now_; }

 private:
  // From a relay to another one that it has in its list.
  struct Wire {
    std::size_t from = 0;
    std::size_t to = 0;
    SimSocket* link = nullptr;      // at `from`
    SimSocket* client = nullptr;    // at `to`
    bool broken = false;            // no byte gets through any more
    core::Instant noticed_at = {};  // when the end at `to` hears of it
    core::Instant redial_at = {};
    [[nodiscard]] bool up() const { return link != nullptr; }
  };
  struct Draining {
    std::size_t relay;
    std::shared_ptr<std::latch> done;
    bool stopping;
  };

  std::unique_ptr<RelayWorld> MakeRelay(std::size_t index) {
    WorldOptions options = options_;
    options.seed = rng_.Next();
    options.server_key = keys_[index];
    return std::make_unique<RelayWorld>(options, &now_);
  }

  void Dial(Wire& wire) {
    relay::LoggedInClient link;
    link.key = keys_[wire.to];
    link.mesh_link = static_cast<std::uint8_t>(wire.to);
    relay::LoggedInClient client;
    client.key = keys_[wire.from];
    client.can_mesh = true;
    client.plaintext = MakeFrame(relay::FrameType::kWatchConns, {});
    if (rng_.Chance(50)) {
      TlsPair pair = MakeTlsPair(rng_);
      link.tls = std::move(pair.client);
      client.tls = std::move(pair.server);
    }
    wire.client = &relay(wire.to).Attach(std::move(client));
    wire.link = &relay(wire.from).Attach(std::move(link));
    wire.broken = false;
  }

  void CutWire(Wire& wire, Break how) {
    if (how == Break::kEnd) {
      auto& rest = wire.link->outbound;
      wire.client->inbound.insert(wire.client->inbound.end(), rest.begin(), rest.end());
      wire.client->inbound_ended = true;
    }
    wire.noticed_at = how == Break::kCut ? now_ + core::Millis(8) : now_;
    wire.link->broken = true;
    wire.broken = true;
  }

  void MoveBytes() {
    for (Wire& wire : wires_) {
      if (!wire.up()) {
        if (!redial_) continue;
        if (wire.redial_at > now_) {
          next_event_ = std::min(next_event_, wire.redial_at);
          continue;
        }
        Dial(wire);
      }
      if (!wire.broken) {
        MoveBytes(*wire.link, *wire.client);
        MoveBytes(*wire.client, *wire.link);
        // One end closed: the other hears of it when it has everything.
        if (wire.link->server_closed && wire.link->outbound.empty()) {
          wire.client->inbound_ended = true;
        }
        if (wire.client->server_closed && wire.client->outbound.empty()) {
          wire.link->inbound_ended = true;
        }
      } else if (!wire.client->inbound_ended) {
        if (wire.noticed_at <= now_) {
          wire.client->broken = true;
        } else {
          next_event_ = std::min(next_event_, wire.noticed_at);
        }
      }
      if (!wire.link->server_closed || !wire.client->server_closed) continue;
      wire.link = wire.client = nullptr;
      // What was under way inside the relays has found its end by then.
      wire.redial_at = now_ + core::Millis(static_cast<std::int64_t>(5 + rng_.Below(20)));
    }
  }
  void MoveBytes(SimSocket& from, SimSocket& to) {
    constexpr std::size_t kReceiveWindow = 256 * 1024;
    if (from.outbound.empty() || to.broken) return;
    if (to.server_closed) return from.outbound.clear();
    const std::size_t room = kReceiveWindow - std::min(kReceiveWindow, to.inbound_left());
    std::size_t size = std::min(room, from.outbound.size());
    if (rng_.Chance(30)) size = rng_.Below(size + 1);
    const auto end = from.outbound.begin() + static_cast<std::ptrdiff_t>(size);
    to.inbound.insert(to.inbound.end(), from.outbound.begin(), end);
    from.outbound.erase(from.outbound.begin(), end);
    if (size < room && !from.outbound.empty()) {
      next_event_ = std::min(next_event_, now_ + core::Micros(20));
    }
  }

  void FinishDrains() {
    std::vector<std::size_t> ended;
    for (Draining& drain : drains_) {
      RelayWorld& world = relay(drain.relay);
      if (!drain.stopping && drain.done->try_wait()) {
        drain.stopping = true;
        world.Stop(core::Millis(100));
      }
      if (world.stopped()) ended.push_back(drain.relay);
    }
    drained_ += ended.size();
    for (const std::size_t index : ended) KillAndReplace(index);
  }

  const WorldOptions options_;
  Rng rng_;
  core::Instant now_{core::Seconds(1000).ns};
  std::vector<core::NodePublic> keys_;
  std::vector<std::unique_ptr<RelayWorld>> relays_;
  std::vector<std::unique_ptr<RelayWorld>> past_;
  std::vector<Wire> wires_;
  std::vector<Draining> drains_;
  std::uint64_t drained_ = 0;
  bool redial_ = true;
  core::Instant next_event_;  // on the wires, at the latest
};

}  // namespace ringscale::sim

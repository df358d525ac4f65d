// What clients, networks and operators do in a simulation.
#include <algorithm>

#include "relay/wire/frame.h"
#include "tests/sim/simulation.h"

namespace ringscale::sim {

using relay::FrameType;
using relay::Lane;
using relay::ShardMetrics;

Simulation::Simulation(std::uint64_t seed) : rng_(seed * 0x2545f4914f6cdd1dull + 1) {
  const std::size_t relays = rng_.Chance(40) ? 1 : 2 + rng_.Below(2);
  options_ = DrawOptions(seed);
  region_ = std::make_unique<SimRegion>(relays, options_);
}

std::string Simulation::Run() {
  const std::size_t keys = 3 + rng_.Below(8);
  for (std::size_t i = 0; i < keys; ++i) keys_.push_back(RandomKey(rng_));
  for (std::size_t i = 0; i < keys; ++i) Connect(static_cast<std::uint32_t>(i));
  const std::uint64_t actions = 150 + rng_.Below(300);
  for (std::uint64_t i = 0; i < actions && problem_.empty(); ++i) {
    Act();
    const std::uint64_t steps = rng_.Below(6);
    for (std::uint64_t s = 0; s < steps; ++s) region_->Step(region_->now() + core::Millis(1));
    ReadAll(false);
  }
  if (problem_.empty()) Heal();
  if (problem_.empty()) CheckDirectories();
  if (problem_.empty()) CheckLiveness();
  if (problem_.empty()) CheckBooks();
  if (problem_.empty()) CheckEnd();
  return problem_;
}

std::uint64_t Simulation::fingerprint() const {
  return region_->Sum([](const ShardMetrics& m) {
    return m.turns.Value() * 31 + m.bytes_sent.Value() * 7 + m.drops.Total() +
           m.stale_completions.Value() * 1009 + m.bytes_settled.Value();
  });
}

Simulation::Seen Simulation::seen() const {
  Seen seen;
  auto& counts = seen.counts;
  const auto sum = [this](core::Counter ShardMetrics::* counter) {
    return region_->Sum([counter](const ShardMetrics& m) { return (m.*counter).Value(); });
  };
  counts["packet that crossed a link"] = sum(&ShardMetrics::packets_forwarded_in);
  counts["key on two other relays"] = sum(&ShardMetrics::multiforwarder_created);
  counts["several connections of a key"] = sum(&ShardMetrics::duplicate_connections_total);
  counts["client over its rate"] = sum(&ShardMetrics::throttled);
  counts["packet to another shard"] = sum(&ShardMetrics::packets_to_shards);
  counts["no receive buffer"] = sum(&ShardMetrics::receive_stalls);
  counts["broken link"] = broken_links_;
  counts["killed relay"] = kills_;
  counts["relay drained to its end"] = region_->drained();
  for (std::size_t i = 0; i < relay::kDropReasons; ++i) {
    const auto reason = static_cast<relay::DropReason>(i);
    // Of several connections one is always active, unless a policy says otherwise.
    if (reason == relay::DropReason::kDupClient) continue;
    counts["drop: " + std::string(relay::DropReasonLabel(reason))] = Dropped(reason);
  }
  return seen;
}

WorldOptions Simulation::DrawOptions(std::uint64_t seed) {
  WorldOptions options;
  options.shards = static_cast<std::uint16_t>(1 + rng_.Below(3));
  options.seed = seed;
  const bool calm = rng_.Chance(15);
  const auto percent = [&](std::uint32_t most) {
    return calm ? 0u : static_cast<std::uint32_t>(rng_.Below(most));
  };
  options.faults.short_receive = percent(60);
  options.faults.end_multishot = percent(30);
  options.faults.no_buffers = percent(10);
  options.faults.slow_send = percent(70);
  options.faults.late = percent(40);
  options.faults.reorder = percent(80);
  options.faults.stale = percent(10);
  options.ring.buffer_count = 4u << rng_.Below(3);
  options.ring.buffer_size = 512u << rng_.Below(4);
  options.limits.memory_bytes = rng_.Chance(20) ? (2u << 20) : (64u << 20);
  options.limits.queue.bytes[static_cast<std::size_t>(Lane::kData)] =
      rng_.Chance(50) ? 30'000 : 1'000'000;
  options.limits.queue.bytes[static_cast<std::size_t>(Lane::kDisco)] =
      rng_.Chance(50) ? 3'000 : 100'000;
  options.limits.batch.bytes = rng_.Chance(50) ? 4'000 : 128 * 1024;
  options.limits.batch.pieces = rng_.Chance(50) ? 5 : 512;
  options.link_capacity = std::size_t{8} << rng_.Below(8);
  options.limits.mesh_data_bytes = rng_.Chance(50) ? 30'000 : 16 << 20;
  options.limits.source_pairs = rng_.Chance(20) ? 4 : 10'000;
  return options;
}

Simulation::Peer& Simulation::Connect(std::uint32_t key, std::size_t relay) {
  ConnectOptions options;
  options.tls = rng_.Chance(50);
  options.can_mesh = rng_.Chance(10);
  Peer peer;
  peer.key = key;
  peer.number = static_cast<std::uint32_t>(peers_.size());
  peer.relay = relay;
  peer.world = &region_->relay(peer.relay);
  peer.mesh = options.can_mesh;
  peer.slow = rng_.Chance(25);
  peer.client = &peer.world->Connect(keys_[key], options);
  if (peer.slow) peer.client->socket().window = 100 + rng_.Below(20'000);
  peers_.push_back(std::make_unique<Peer>(std::move(peer)));
  return *peers_.back();
}

void Simulation::ConnectDuplicates(std::uint32_t key, std::size_t relay) {
  for (int i = 0; i < 2; ++i) Connect(key, relay);
  Peer& last = Connect(key, relay);
  region_->Skip(core::Micros(static_cast<std::int64_t>(rng_.Below(500))));
  last.client->Close();
  last.gone = true;
}

Simulation::Peer* Simulation::RandomPeer() {
  std::vector<Peer*> here;
  for (auto& peer : peers_) {
    if (peer->here()) here.push_back(peer.get());
  }
  // Those whom a relay has closed come back.
  if (here.size() < keys_.size() && rng_.Chance(30)) return nullptr;
  return here.empty() ? nullptr : here[rng_.Below(here.size())];
}

void Simulation::SendOne(Peer& from, std::uint32_t to, std::uint32_t size, Lane lane) {
  std::vector<bool>& arrived = from.sent[{to, lane}].arrived;
  const PacketId id{from.number, from.key, to, static_cast<std::uint32_t>(arrived.size()), size};
  arrived.push_back(false);
  from.world->SendPacket(*from.client, keys_[to], MakePacket(id, lane));
  ++sent_;
}

void Simulation::Act() {
  Peer* peer = RandomPeer();
  const std::uint64_t what = rng_.Below(100);
  if (peer == nullptr || what < 5) {
    Connect(RandomKeyNumber());
  } else if (what < 6) {
    ConnectDuplicates(peer->key, peer->relay);
  } else if (what < 70) {
    const std::uint64_t count = 1 + rng_.Below(rng_.Chance(20) ? 60 : 4);
    const std::uint32_t to = RandomKeyNumber();
    const bool large = rng_.Chance(3);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto size = static_cast<std::uint32_t>(rng_.Below(large ? 60'000 : 1500));
      SendOne(*peer, rng_.Chance(80) ? to : RandomKeyNumber(), size,
              rng_.Chance(15) ? Lane::kDisco : Lane::kData);
    }
  } else if (what < 73) {
    core::NodePublic nobody = RandomKey(rng_);
    PacketId id{peer->number, peer->key, 0xffffffff, 0, 20};
    peer->world->SendPacket(*peer->client, nobody,
                            MakePacket(id, rng_.Chance(50) ? Lane::kDisco : Lane::kData));
    ++sent_;
  } else if (what < 76) {
    peer->world->Send(*peer->client, MakeFrame(FrameType::kPing, Frame(8, 1)));
  } else if (what < 78) {
    peer->world->Send(*peer->client, MakeFrame(FrameType::kNotePreferred,
                                               Frame{static_cast<std::uint8_t>(rng_.Below(2))}));
  } else if (what < 82) {
    peer->stopped = !peer->stopped;
  } else if (what < 83) {
    peer->client->Close();
    peer->gone = true;
  } else if (what < 84) {
    // Mid-frame: part of what was sent is lost with the connection.
    peer->client->Reset();
    peer->gone = peer->reset = true;
    lossy_ = true;
  } else if (what < 88 && peer->client->tls()) {
    peer->client->SendKeyUpdate(peer->world->aead(), rng_.Chance(50));
  } else if (what < 90 && peer->mesh) {
    peer->world->Send(*peer->client, MakeFrame(FrameType::kWatchConns, {}));
  } else if (what < 91 && peer->mesh) {
    peer->world->Send(*peer->client, KeyFrame(FrameType::kClosePeer, keys_[RandomKeyNumber()]));
  } else if (what < 92) {
    if (rng_.Chance(40)) peer->world->CloseKey(keys_[RandomKeyNumber()]);
  } else if (what < 94) {
    ActAsOperator();
  } else if (what < 95) {
    region_->Skip(core::Millis(static_cast<std::int64_t>(rng_.Below(1500))));
  } else {
    region_->Skip(core::Micros(static_cast<std::int64_t>(rng_.Below(3000))));
  }
}

void Simulation::ActAsOperator() {
  const std::size_t at = rng_.Below(region_->size());
  const std::uint64_t what = rng_.Below(100);
  if (what < 40 && region_->size() > 1) {
    const std::size_t to = (at + 1 + rng_.Below(region_->size() - 1)) % region_->size();
    region_->BreakLink(at, to, static_cast<SimRegion::Break>(rng_.Below(3)));
    ++broken_links_;
    lossy_ = true;
  } else if (what < 70) {
    LimitRate(region_->relay(at), rng_.Chance(30) ? 0 : 2'000 + rng_.Below(200'000));
  } else if (what < 85) {
    if (region_->draining(at)) return;
    region_->Drain(at, core::Millis(static_cast<std::int64_t>(rng_.Below(50))));
    lossy_ = lossy_ || region_->size() > 1;
  } else if (what < 95) {
    region_->KillAndReplace(at);
    ++kills_;
    lossy_ = true;
  }
}

void Simulation::LimitRate(RelayWorld& world, std::uint64_t bytes_per_second) {
  for (std::size_t shard = 0; shard < world.shard_count(); ++shard) {
    world.Command(
        shard, relay::RateCommand{{.bytes_per_second = bytes_per_second, .burst_bytes = 66'000}});
  }
}

void Simulation::ReadAll(bool everything) {
  for (auto& peer : peers_) {
    if (peer->reset) continue;
    if (!everything && (peer->stopped || rng_.Chance(30))) continue;
    const std::size_t limit =
        everything ? 1 << 24 : (peer->slow ? rng_.Below(2000) : rng_.Below(100'000));
    peer->client->Read(limit, peer->world->aead());
    if (!peer->client->complaint().empty()) {
      return Problem("client " + std::to_string(peer->number) + ": " + peer->client->complaint());
    }
    for (const Frame& frame : peer->client->frames()) CheckFrame(*peer, frame);
    peer->client->frames().clear();
  }
}

void Simulation::Heal() {
  for (auto& peer : peers_) {
    peer->stopped = peer->slow = false;
    peer->client->socket().window = 1 << 24;
  }
  const auto lift = [this] {
    for (std::size_t at = 0; at < region_->size(); ++at) {
      RelayWorld& world = region_->relay(at);
      LimitRate(world, 0);
      for (std::size_t i = 0; i < world.shard_count(); ++i) world.shard(i).ring().SetFaults({});
    }
  };
  lift();
  Settle();
  for (int i = 0; i < 100 && (region_->draining() || !region_->linked()); ++i) Settle();
  if (region_->draining()) return Problem("a drain does not end");
  if (!region_->linked()) return Problem("a link does not come back");
  lift();  // of those that were replaced meanwhile
  Settle();
}

void Simulation::Settle() {
  constexpr int kQuiet = 10;
  std::uint64_t before = 0;
  for (int quiet = 0; quiet < kQuiet && problem_.empty();) {
    region_->Skip(core::Millis(5));
    ReadAll(true);
    const std::uint64_t now = region_->Sum([](const ShardMetrics& m) {
      return m.bytes_sent.Value() + m.bytes_received.Value() + m.drops.Total();
    });
    quiet = now == before ? quiet + 1 : 0;
    before = now;
  }
}

}  // namespace ringscale::sim

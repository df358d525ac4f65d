// What must hold in a simulation, while it runs and at its end.
#include <algorithm>
#include <sstream>

#include "relay/wire/frame.h"
#include "tests/sim/simulation.h"

namespace ringscale::sim {

using relay::FrameType;
using relay::Lane;
using relay::ShardMetrics;

void Simulation::CheckFrame(Peer& peer, const Frame& frame) {
  const auto type = static_cast<FrameType>(frame[0]);
  if (type == FrameType::kPeerPresent && !peer.mesh) return Problem("presence to a client");
  if (type != FrameType::kRecvPacket) return;
  ++delivered_;
  const core::Bytes packet = core::Bytes(frame).subspan(relay::kPacketFrameOverhead);
  const Lane lane = LaneOf(packet);
  const auto id = IdOf(packet, lane);
  if (!id) return Problem("a packet with damaged contents");
  if (id->connection >= peers_.size() || id->from >= keys_.size()) {
    return Problem("a packet of an unknown sender");
  }
  if (id->to != peer.key) return Problem("a packet reached another key");
  if (!std::equal(keys_[id->from].raw.begin(), keys_[id->from].raw.end(),
                  frame.begin() + relay::kHeaderBytes)) {
    return Problem("a packet with a wrong source");
  }
  Flow& flow = peers_[id->connection]->sent[{id->to, lane}];
  if (id->sequence >= flow.arrived.size()) return Problem("a packet that was not sent yet");
  if (flow.arrived[id->sequence]) return Problem("a packet was delivered twice");
  flow.arrived[id->sequence] = true;
  flow.last_receiver = &peer;
  const auto [seen, first] = peer.seen.try_emplace({id->connection, lane}, id->sequence);
  if (!first) {
    if (id->sequence <= seen->second) return Problem("a packet out of order");
    seen->second = id->sequence;
  }
}

Simulation::Groups Simulation::OpenConnections() {
  Groups groups;
  for (auto& peer : peers_) {
    if (peer->here()) groups[peer->key][peer->relay].push_back(peer.get());
  }
  return groups;
}

void Simulation::CheckDirectories() {
  const std::size_t keys = OpenConnections().size() + region_->size() - 1;
  for (std::size_t at = 0; at < region_->size(); ++at) {
    RelayWorld& world = region_->relay(at);
    for (std::size_t i = 0; i < world.shard_count(); ++i) {
      const std::size_t known = world.shard(i).core().peers().size();
      if (known != keys) {
        return Problem("relay " + std::to_string(at) + " knows " + std::to_string(known) +
                       " keys of " + std::to_string(keys));
      }
    }
  }
}

void Simulation::CheckLiveness() {
  Groups groups = OpenConnections();
  for (auto& [key, relays] : groups) {
    for (auto& [at, members] : relays) {
      Peer& last = *members[rng_.Below(members.size())];
      std::swap(
          members.front(),
          members[static_cast<std::size_t>(std::ranges::find(members, &last) - members.begin())]);
      last.world->Send(*last.client, MakeFrame(FrameType::kPing, Frame(8, 2)));
    }
  }
  Settle();
  std::vector<std::pair<Peer*, std::uint32_t>> probes;
  for (auto& [from, relays] : groups) {
    Peer& sender =
        *std::next(relays.begin(), static_cast<std::ptrdiff_t>(rng_.Below(relays.size())))
             ->second.front();
    for (const auto& [to, receivers] : groups) {
      SendOne(sender, to, 40, Lane::kData);
      probes.emplace_back(&sender, to);
      region_->Skip(core::Micros(200));  // a mailbox of few places is no fault
    }
  }
  Settle();
  for (const auto& [sender, to] : probes) {
    const Flow& flow = sender->sent[{to, Lane::kData}];
    if (!flow.arrived.back()) {
      return Problem("after healing nothing got from key " + std::to_string(sender->key) +
                     " to key " + std::to_string(to));
    }
    const auto& there = groups[to];
    const auto near = there.find(sender->relay);
    const bool right = near != there.end() ? flow.last_receiver == near->second.front()
                                           : std::ranges::any_of(there, [&](const auto& group) {
                                               return flow.last_receiver == group.second.front();
                                             });
    if (!right) return Problem("a packet reached the wrong one of several connections");
  }
}

void Simulation::CheckBooks() {
  const auto per_kind = [](auto member) {
    return
        [member](const ShardMetrics& m) { return (m.*member)[0].Value() + (m.*member)[1].Value(); };
  };
  const auto count_received = per_kind(&ShardMetrics::packets_received);
  const auto count_sent = per_kind(&ShardMetrics::packets_sent);
  const auto count_drops = [](const ShardMetrics& m) { return m.drops.Total(); };
  for (std::size_t at = 0; at < region_->size(); ++at) {
    const RelayWorld& world = region_->relay(at);
    if (world.Sum(count_received) != world.Sum(count_sent) + world.Sum(count_drops)) {
      return Problem("packets unaccounted for at relay " + std::to_string(at));
    }
    if (world.Sum([](const ShardMetrics& m) { return m.packets_to_shards.Value(); }) !=
        world.Sum([](const ShardMetrics& m) { return m.packets_from_shards.Value(); })) {
      return Problem("packets lost between shards");
    }
  }
  // Of all relays, those included that ended with packets in their hands.
  const std::uint64_t received = region_->Sum(count_received);
  const std::uint64_t sent = region_->Sum(count_sent);
  const std::uint64_t dropped = region_->Sum(count_drops);
  const std::uint64_t forwarded =
      region_->Sum([](const ShardMetrics& m) { return m.packets_forwarded_in.Value(); });
  // A send that failed part of the way may have delivered some of its packets.
  const std::uint64_t unsure = Dropped(relay::DropReason::kWriteError);
  std::ostringstream books;
  books << " (clients sent " << sent_ << ", relays received " << received << ", " << forwarded
        << " of them from each other, sent " << sent << ", dropped " << dropped << "; clients got "
        << delivered_ << ")";
  if (received < sent + dropped) return Problem("packets out of nowhere" + books.str());
  if (received - forwarded > sent_) return Problem("more received than sent" + books.str());
  if (kills_ == 0 && delivered_ + forwarded > sent + unsure) {
    return Problem("more delivered than sent" + books.str());
  }
  if (!lossy_ && sent > delivered_ + forwarded) {
    return Problem("packets lost on the way out" + books.str());
  }
}

std::uint64_t Simulation::Dropped(relay::DropReason reason) const {
  return region_->Sum([reason](const ShardMetrics& m) {
    return m.drops.Value(reason, relay::PacketKind::kDisco) +
           m.drops.Value(reason, relay::PacketKind::kOther);
  });
}

void Simulation::CheckEnd() {
  region_->EndLinks();
  for (auto& peer : peers_) peer->client->Close();
  Settle();
  for (std::size_t at = 0; at < region_->size(); ++at) CheckEmpty(region_->relay(at));
  for (auto& peer : peers_) {
    if (!peer->client->socket().server_closed) return Problem("a socket was not closed");
  }
  region_->ForEach([this](const RelayWorld& world) { CheckPresence(world); });
}

void Simulation::CheckEmpty(RelayWorld& world) {
  for (std::size_t i = 0; i < world.shard_count(); ++i) {
    relay::ShardCore& core = world.shard(i).core();
    if (core.open_connections() != 0) return Problem("a connection stayed open");
    if (core.pool().cells_in_use() != 0) return Problem("cells leaked");
    if (core.pool().receive_free() != core.pool().receive_count()) {
      return Problem("receive buffers leaked");
    }
    if (core.loans_outstanding() != 0) return Problem("loans did not come home");
    if (core.peers().size() != 0) return Problem("a key stayed in a directory");
    if (world.shard(i).ring().FreeBuffers() != options_.ring.buffer_count) {
      return Problem("the ring misses buffers");
    }
  }
}

void Simulation::CheckPresence(const RelayWorld& world) {
  std::map<core::NodePublic, bool> present;
  for (const auto& [key, here] : world.presence()) {
    if (present[key] == here) return Problem("presence told twice");
    present[key] = here;
  }
  for (const auto& [key, here] : present) {
    if (here) return Problem("a key is still said to be present");
  }
}

}  // namespace ringscale::sim

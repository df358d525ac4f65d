// Seeded simulation of the relays of a region and their clients, with everything
// that a kernel, a network and an operator may do to them: short and late
// completions, slow and vanishing clients, several connections of one key, receive
// rates, links that break, relays that are drained or killed and replaced. A failing
// seed prints "seed=N"; run it again alone with RINGSCALE_SIM_SEED=N.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "relay/wire/frame.h"
#include "tests/sim/sim_packet.h"
#include "tests/sim/sim_region.h"

namespace ringscale::sim {
namespace {

using relay::FrameType;
using relay::Lane;
using relay::ShardMetrics;

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : rng_(seed * 0x2545f4914f6cdd1dull + 1) {
    const std::size_t relays = rng_.Chance(40) ? 1 : 2 + rng_.Below(2);
    options_ = DrawOptions(seed);
    region_ = std::make_unique<SimRegion>(relays, options_);
  }

  // Empty when all went well.
  std::string Run() {
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

  // What happened, as a number: equal seeds give equal numbers.
  [[nodiscard]] std::uint64_t fingerprint() const {
    return region_->Sum([](const ShardMetrics& m) {
      return m.turns.Value() * 31 + m.bytes_sent.Value() * 7 + m.drops.Total() +
             m.stale_completions.Value() * 1009 + m.bytes_settled.Value();
    });
  }

  // How often what it is for has happened.
  struct Seen {
    std::map<std::string, std::uint64_t> counts;
    Seen& operator+=(const Seen& other) {
      for (const auto& [what, times] : other.counts) counts[what] += times;
      return *this;
    }
  };
  [[nodiscard]] Seen seen() const {
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

 private:
  struct Peer;
  // What one connection has sent to one key in one lane.
  struct Flow {
    std::vector<bool> arrived;  // by sequence
    const Peer* last_receiver = nullptr;
  };
  struct Peer {
    SimClient* client = nullptr;
    RelayWorld* world = nullptr;
    std::size_t relay = 0;
    std::uint32_t key = 0;
    std::uint32_t number = 0;  // of the connection
    bool slow = false;
    bool stopped = false;  // reads nothing for now
    bool gone = false;     // closed or reset by the client
    bool reset = false;
    bool mesh = false;
    std::map<std::pair<std::uint32_t, Lane>, Flow> sent;
    // Highest sequence seen per sending connection and lane.
    std::map<std::pair<std::uint32_t, Lane>, std::uint32_t> seen;
    [[nodiscard]] bool here() const { return !gone && !client->socket().server_closed; }
  };

  WorldOptions DrawOptions(std::uint64_t seed) {
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

  void Problem(const std::string& text) {
    if (problem_.empty()) problem_ = text;
  }

  // --- what clients, networks and operators do ---

  Peer& Connect(std::uint32_t key) { return Connect(key, rng_.Below(region_->size())); }
  Peer& Connect(std::uint32_t key, std::size_t relay) {
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

  // A node that was copied: its connections compete, and the one in use goes.
  void ConnectDuplicates(std::uint32_t key, std::size_t relay) {
    for (int i = 0; i < 2; ++i) Connect(key, relay);
    Peer& last = Connect(key, relay);
    region_->Skip(core::Micros(static_cast<std::int64_t>(rng_.Below(500))));
    last.client->Close();
    last.gone = true;
  }

  Peer* RandomPeer() {
    std::vector<Peer*> here;
    for (auto& peer : peers_) {
      if (peer->here()) here.push_back(peer.get());
    }
    // Those whom a relay has closed come back.
    if (here.size() < keys_.size() && rng_.Chance(30)) return nullptr;
    return here.empty() ? nullptr : here[rng_.Below(here.size())];
  }
  std::uint32_t RandomKeyNumber() { return static_cast<std::uint32_t>(rng_.Below(keys_.size())); }

  void SendOne(Peer& from, std::uint32_t to, std::uint32_t size, Lane lane) {
    std::vector<bool>& arrived = from.sent[{to, lane}].arrived;
    const PacketId id{from.number, from.key, to, static_cast<std::uint32_t>(arrived.size()), size};
    arrived.push_back(false);
    from.world->SendPacket(*from.client, keys_[to], MakePacket(id, lane));
    ++sent_;
  }

  void Act() {
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

  void ActAsOperator() {
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
  static void LimitRate(RelayWorld& world, std::uint64_t bytes_per_second) {
    for (std::size_t shard = 0; shard < world.shard_count(); ++shard) {
      world.Command(
          shard, relay::RateCommand{{.bytes_per_second = bytes_per_second, .burst_bytes = 66'000}});
    }
  }

  // --- what clients see ---

  void ReadAll(bool everything) {
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

  // Delivered is a subset of sent, byte for byte; to one connection of the right
  // key, from the right key, once, in order.
  void CheckFrame(Peer& peer, const Frame& frame) {
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

  // --- the end of all trouble ---

  // Faults stop, rates are lifted, links come back, everybody reads: what is under
  // way comes to its end.
  void Heal() {
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
  // Until nothing has happened for a while.
  void Settle() {
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

  // Connections that are open, by key and relay.
  using Groups = std::map<std::uint32_t, std::map<std::size_t, std::vector<Peer*>>>;
  Groups OpenConnections() {
    Groups groups;
    for (auto& peer : peers_) {
      if (peer->here()) groups[peer->key][peer->relay].push_back(peer.get());
    }
    return groups;
  }

  // Every shard of every relay knows the clients of all relays and the other relays
  // themselves, and nobody else.
  void CheckDirectories() {
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

  // Every key that has a connection anywhere can be reached from every other: at the
  // sender's relay if it is there, and where it has several connections by the one
  // that spoke last.
  void CheckLiveness() {
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

  // sent = delivered + drops by reason.
  void CheckBooks() {
    const auto per_kind = [](auto member) {
      return [member](const ShardMetrics& m) {
        return (m.*member)[0].Value() + (m.*member)[1].Value();
      };
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
          << " of them from each other, sent " << sent << ", dropped " << dropped
          << "; clients got " << delivered_ << ")";
    if (received < sent + dropped) return Problem("packets out of nowhere" + books.str());
    if (received - forwarded > sent_) return Problem("more received than sent" + books.str());
    if (kills_ == 0 && delivered_ + forwarded > sent + unsure) {
      return Problem("more delivered than sent" + books.str());
    }
    if (!lossy_ && sent > delivered_ + forwarded) {
      return Problem("packets lost on the way out" + books.str());
    }
  }

  [[nodiscard]] std::uint64_t Dropped(relay::DropReason reason) const {
    return region_->Sum([reason](const ShardMetrics& m) {
      return m.drops.Value(reason, relay::PacketKind::kDisco) +
             m.drops.Value(reason, relay::PacketKind::kOther);
    });
  }

  // Everybody leaves: no memory, no loan, no socket stays.
  void CheckEnd() {
    region_->EndLinks();
    for (auto& peer : peers_) peer->client->Close();
    Settle();
    for (std::size_t at = 0; at < region_->size(); ++at) CheckEmpty(region_->relay(at));
    for (auto& peer : peers_) {
      if (!peer->client->socket().server_closed) return Problem("a socket was not closed");
    }
    region_->ForEach([this](const RelayWorld& world) { CheckPresence(world); });
  }
  void CheckEmpty(RelayWorld& world) {
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

  // Presence alternates per key and ends with absence.
  void CheckPresence(const RelayWorld& world) {
    std::map<core::NodePublic, bool> present;
    for (const auto& [key, here] : world.presence()) {
      if (present[key] == here) return Problem("presence told twice");
      present[key] = here;
    }
    for (const auto& [key, here] : present) {
      if (here) return Problem("a key is still said to be present");
    }
  }

  Rng rng_;
  WorldOptions options_;
  std::unique_ptr<SimRegion> region_;
  std::vector<core::NodePublic> keys_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::uint64_t sent_ = 0;
  std::uint64_t delivered_ = 0;
  bool lossy_ = false;  // bytes may have been lost on the way
  std::uint64_t broken_links_ = 0;
  std::uint64_t kills_ = 0;  // relays that ended without settling their books
  std::string problem_;
};

constexpr int kParts = 10;

// 2,000 in all; RINGSCALE_SIM_SEEDS asks for another number.
std::uint64_t SeedsPerPart() {
  const char* wanted = std::getenv("RINGSCALE_SIM_SEEDS");
  return (wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 2000) / kParts;
}

// A broken invariant inside the relay aborts: the seed is printed then too.
std::uint64_t running_seed = 0;

void PrintSeed(int) {
  std::fprintf(stderr, "seed=%llu\n", static_cast<unsigned long long>(running_seed));
}

std::string RunSeed(std::uint64_t seed) {
  running_seed = seed;
  std::signal(SIGABRT, PrintSeed);
  const std::string problem = Simulation(seed).Run();
  std::signal(SIGABRT, SIG_DFL);
  return problem;
}

class RelaySimulation : public testing::TestWithParam<int> {};

TEST_P(RelaySimulation, HoldsItsInvariants) {
  if (const char* only = std::getenv("RINGSCALE_SIM_SEED")) {
    if (GetParam() != 0) GTEST_SKIP() << "RINGSCALE_SIM_SEED is set";
    const std::uint64_t seed = std::strtoull(only, nullptr, 10);
    EXPECT_EQ(RunSeed(seed), "") << "seed=" << seed;
    return;
  }
  const std::uint64_t count = SeedsPerPart();
  ASSERT_GT(count, 0U) << "RINGSCALE_SIM_SEEDS is at least " << kParts;
  const auto first = static_cast<std::uint64_t>(GetParam()) * count;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    ASSERT_EQ(RunSeed(seed), "") << "seed=" << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RelaySimulation, testing::Range(0, kParts));

// A simulation in which nothing happens finds nothing.
TEST(RelaySimulationItself, ReachesWhatItIsFor) {
  Simulation::Seen seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Simulation simulation(seed);
    ASSERT_EQ(simulation.Run(), "") << "seed=" << seed;
    seen += simulation.seen();
  }
  for (const auto& [what, times] : seen.counts) EXPECT_GT(times, 0u) << what;
}

TEST(RelaySimulationItself, RunsTheSameTwice) {
  for (const std::uint64_t seed : {3u, 14u, 159u}) {
    Simulation first(seed);
    Simulation second(seed);
    EXPECT_EQ(first.Run(), second.Run());
    EXPECT_EQ(first.fingerprint(), second.fingerprint());
  }
}

}  // namespace
}  // namespace ringscale::sim

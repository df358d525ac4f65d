// One seeded run of the relays of a region and their clients, with everything that
// a kernel, a network and an operator may do to them: short and late completions,
// slow and vanishing clients, several connections of one key, receive rates, links
// that break, relays that are drained or killed and replaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/sim_packet.h"
#include "tests/sim/sim_region.h"

namespace ringscale::sim {

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed);

  // Empty when all went well.
  std::string Run();

  // What happened, as a number: equal seeds give equal numbers.
  [[nodiscard]] std::uint64_t fingerprint() const;

  // How often what it is for has happened.
  struct Seen {
    std::map<std::string, std::uint64_t> counts;
    Seen& operator+=(const Seen& other) {
      for (const auto& [what, times] : other.counts) counts[what] += times;
      return *this;
    }
  };
  [[nodiscard]] Seen seen() const;

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
    std::map<std::pair<std::uint32_t, relay::Lane>, Flow> sent;
    // Highest sequence seen per sending connection and lane.
    std::map<std::pair<std::uint32_t, relay::Lane>, std::uint32_t> seen;
    [[nodiscard]] bool here() const { return !gone && !client->socket().server_closed; }
  };

  WorldOptions DrawOptions(std::uint64_t seed);

  void Problem(const std::string& text) {
    if (problem_.empty()) problem_ = text;
  }

  // --- what clients, networks and operators do ---

  Peer& Connect(std::uint32_t key) { return Connect(key, rng_.Below(region_->size())); }
  Peer& Connect(std::uint32_t key, std::size_t relay);

  // A node that was copied: its connections compete, and the one in use goes.
  void ConnectDuplicates(std::uint32_t key, std::size_t relay);

  Peer* RandomPeer();
  std::uint32_t RandomKeyNumber() { return static_cast<std::uint32_t>(rng_.Below(keys_.size())); }
  void SendOne(Peer& from, std::uint32_t to, std::uint32_t size, relay::Lane lane);

  void Act();
  void ActAsOperator();
  static void LimitRate(RelayWorld& world, std::uint64_t bytes_per_second);

  // --- what clients see ---

  void ReadAll(bool everything);
  // Delivered is a subset of sent, byte for byte; to one connection of the right
  // key, from the right key, once, in order.
  void CheckFrame(Peer& peer, const Frame& frame);

  // --- the end of all trouble ---

  // Faults stop, rates are lifted, links come back, everybody reads: what is under
  // way comes to its end.
  void Heal();
  // Until nothing has happened for a while.
  void Settle();

  // Connections that are open, by key and relay.
  using Groups = std::map<std::uint32_t, std::map<std::size_t, std::vector<Peer*>>>;
  Groups OpenConnections();

  // Every shard of every relay knows the clients of all relays and the other relays
  // themselves, and nobody else.
  void CheckDirectories();

  // Every key that has a connection anywhere can be reached from every other: at the
  // sender's relay if it is there, and where it has several connections by the one
  // that spoke last.
  void CheckLiveness();

  // sent = delivered + drops by reason.
  void CheckBooks();
  [[nodiscard]] std::uint64_t Dropped(relay::DropReason reason) const;

  // Everybody leaves: no memory, no loan, no socket stays.
  void CheckEnd();
  void CheckEmpty(RelayWorld& world);
  // Presence alternates per key and ends with absence.
  void CheckPresence(const RelayWorld& world);

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

}  // namespace ringscale::sim

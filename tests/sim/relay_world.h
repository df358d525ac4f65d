// Relay shards on SimRing, their clients, one clock: all stepped by one seeded
// scheduler on one thread. Also the stage of the relay's conformance tests.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/tls/aead.h"
#include "relay/app/inbox.h"
#include "relay/app/key_placement.h"
#include "relay/app/relay_shard.h"
#include "relay/app/shard_link.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_ring.h"

// Instantiated in relay_world_support.cc, where the bodies are included.
extern template class ringscale::relay::RelayShard<ringscale::sim::SimRing>;

namespace ringscale::sim {

struct WorldOptions {
  std::uint16_t shards = 1;
  std::uint64_t seed = 1;
  Faults faults;
  core::io::RingOptions ring{.buffer_count = 64, .buffer_size = 16384};
  relay::ShardLimits limits;
  relay::ShardTimes times;
  core::NodePublic server_key;
  std::size_t link_capacity = 1024;
};

struct ConnectOptions {
  bool tls = false;
  bool can_mesh = false;
  bool is_prober = false;
  bool not_ideal = false;
  std::uint8_t mesh_link = relay::kNoMeshLink;
  core::SocketAddress remote;
  std::vector<std::uint8_t> plaintext;  // arrived together with ClientInfo
  std::vector<std::uint8_t> ciphertext;
};

inline core::NodePublic RandomKey(Rng& rng) {
  core::NodePublic key;
  for (auto& byte : key.raw) byte = static_cast<std::uint8_t>(rng.Next());
  return key;
}

class RelayWorld final : public relay::PresenceListener, public relay::MeshListener {
 public:
  using Shard = relay::RelayShard<SimRing>;

  // Worlds that share a clock are stepped by whoever owns it.
  explicit RelayWorld(const WorldOptions& options, core::Instant* clock = nullptr)
      : options_(options),
        rng_(options.seed),
        now_(clock != nullptr ? *clock : own_clock_),
        aead_(core::tls::AeadPool::Engine::kOpenSsl),
        links_(options.shards, options.link_capacity),
        placement_(options.shards) {
    for (std::uint16_t i = 0; i < options.shards; ++i) {
      inboxes_.push_back(std::make_unique<relay::Inbox>(1 << 16));
      metrics_.push_back(std::make_unique<relay::ShardMetrics>());
      auto ring = std::make_unique<SimRing>(net_, options.ring, rng_, options.faults, now_);
      links_.SetWaker(i, ring->waker());
      inboxes_[i]->SetReader(ring->waker());
      relay::ShardOptions shard;
      shard.index = i;
      shard.ring = options.ring;
      shard.limits = options.limits;
      shard.times = options.times;
      shard.hash_secret = {rng_.Next(), rng_.Next()};
      shard.random_seed = rng_.Next();
      shard.server_key = options.server_key;
      shard.presence = this;
      shard.mesh = this;
      shard.placement = &placement_;
      shard.tcp_progress = [](void* context, int fd) {
        const SimSocket& socket = static_cast<RelayWorld*>(context)->net_.At(fd);
        return relay::TcpProgress{.acknowledged = socket.acknowledged,
                                  .window_closed = socket.says_full,
                                  .silent = socket.silent};
      };
      shard.tcp_progress_context = this;
      shard.rtt = [](int fd) { return fd % 2 == 0 ? relay::RttClass::k20 : relay::RttClass::k150; };
      shards_.push_back(std::make_unique<Shard>(shard, std::move(ring), &links_, *inboxes_[i],
                                                *metrics_[i], now_));
    }
    running_.assign(options.shards, true);
  }
  ~RelayWorld() override { Kill(); }

  // --- clients ---
  SimClient& Connect(const core::NodePublic& key, ConnectOptions options = {}) {
    relay::LoggedInClient client;
    client.key = key;
    client.remote = options.remote;
    client.can_mesh = options.can_mesh;
    client.is_prober = options.is_prober;
    client.not_ideal = options.not_ideal;
    client.mesh_link = options.mesh_link;
    client.plaintext = std::move(options.plaintext);
    client.ciphertext = std::move(options.ciphertext);
    std::unique_ptr<core::tls::RecordKeys> tls;
    if (options.tls) {
      TlsPair pair = MakeTlsPair(rng_);
      client.tls = std::move(pair.server);
      tls = std::move(pair.client);
    }
    SimSocket& socket = Attach(std::move(client));
    clients_.push_back(std::make_unique<SimClient>(socket, key, std::move(tls)));
    return *clients_.back();
  }
  // Hands over a connection whose other end the caller plays.
  SimSocket& Attach(relay::LoggedInClient client) {
    SimSocket& socket = net_.Open();
    client.fd = core::Fd(socket.fd);
    Add(std::move(client));
    return socket;
  }
  void Add(relay::LoggedInClient client) {
    if (client.mesh_link != relay::kNoMeshLink) {
      const std::size_t shard = client.mesh_link % shards_.size();
      return Command(shard, relay::AddClientCommand{std::move(client)});
    }
    const auto place = placement_.Acquire(client.key);
    if (!inboxes_[place.shard]->Push(relay::AddClientCommand{std::move(client), place.epoch})) {
      std::abort();
    }
  }
  void Command(std::size_t shard, relay::ShardCommand command) {
    if (!inboxes_[shard]->Push(std::move(command))) std::abort();
  }
  SimClient& Connect(ConnectOptions options = {}) {
    return Connect(RandomKey(rng_), std::move(options));
  }
  void Send(SimClient& client, core::Bytes frame) { client.Send(frame, aead_); }
  void SendPacket(SimClient& from, const core::NodePublic& to, core::Bytes packet) {
    from.Send(SendPacketFrame(to, packet), aead_);
  }
  // Takes the oldest frame that the client received, running the world until there
  // is one or `limit` has passed: then an empty frame.
  Frame Receive(SimClient& client, core::Duration limit = core::Millis(100)) {
    const core::Instant until = now_ + limit;
    for (;;) {
      client.Read(1 << 20, aead_);
      if (!client.frames().empty()) {
        Frame frame = std::move(client.frames().front());
        client.frames().pop_front();
        return frame;
      }
      if (now_ >= until) return {};
      Step();
    }
  }
  // True when nothing arrives within `limit`.
  bool Silent(SimClient& client, core::Duration limit = core::Millis(50)) {
    return Receive(client, limit).empty();
  }
  bool RunUntilClosed(SimClient& client, core::Duration limit) {
    const core::Instant until = now_ + limit;
    while (!client.closed() && now_ < until) {
      Step();
      client.Read(1 << 20, aead_);
    }
    return client.closed();
  }

  // --- time ---
  // One turn of one shard; false when none could run.
  bool TryTurn() {
    for (std::size_t attempt = 0; attempt < shards_.size(); ++attempt) {
      const std::size_t at = (next_ + attempt) % shards_.size();
      if (!Runnable(at)) continue;
      next_ = at + 1 + rng_.Below(shards_.size());
      now_ = now_ + core::Micros(static_cast<std::int64_t>(1 + rng_.Below(20)));
      if (!shards_[at]->Turn([this] { return now_; })) running_[at] = false;
      return true;
    }
    return false;
  }
  // When a shard runs next although nothing happens to it. Only after TryTurn was false.
  [[nodiscard]] core::Instant NextWake() const {
    core::Instant next{INT64_MAX};
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      if (running_[i]) next = std::min(next, shards_[i]->ring().sleeps_until());
    }
    return next;
  }
  // One turn of one shard that could run, or time moves on.
  void Step() {
    if (!TryTurn()) now_ = now_ + core::Millis(1);
  }
  void Run(core::Duration duration) {
    const core::Instant until = now_ + duration;
    while (now_ < until) Step();
  }
  // Nobody runs, as on a machine that is busy with other things.
  void Stall(core::Duration duration) { now_ = now_ + duration; }
  // As Run, but idle stretches are skipped over.
  void Skip(core::Duration duration) {
    const core::Instant until = now_ + duration;
    while (now_ < until) {
      if (!TryTurn()) now_ = std::max(now_ + core::Micros(1), std::min(until, NextWake()));
    }
  }

  void CloseKey(const core::NodePublic& key) {
    const auto place = placement_.Find(key);
    if (place.shard == relay::KeyPlacement::kNowhere) return;
    if (!inboxes_[place.shard]->Push(relay::CloseKeyCommand{key})) std::abort();
  }
  void Stop(core::Duration drain) {
    for (auto& inbox : inboxes_) (void)inbox->Push(relay::StopCommand{drain});
  }
  // The process ends without a word.
  void Kill() {
    running_.assign(shards_.size(), false);
    for (auto& shard : shards_) shard->Shutdown();
    net_.CloseAll();
  }
  [[nodiscard]] bool stopped() const {
    return std::none_of(running_.begin(), running_.end(), [](bool on) { return on; });
  }

  // --- looking inside ---
  template <class Read>
  std::uint64_t Sum(Read&& read) const {
    std::uint64_t sum = 0;
    for (const auto& metrics : metrics_) sum += static_cast<std::uint64_t>(read(*metrics));
    return sum;
  }
  [[nodiscard]] std::uint64_t Dropped(relay::DropReason reason) const {
    return Sum([&](const relay::ShardMetrics& m) {
      return m.drops.Value(reason, relay::PacketKind::kDisco) +
             m.drops.Value(reason, relay::PacketKind::kOther);
    });
  }
  [[nodiscard]] std::uint64_t Closed(relay::CloseReason reason) const {
    return Sum([&](const relay::ShardMetrics& m) {
      return m.closed[static_cast<std::size_t>(reason)].Value();
    });
  }
  relay::ShardMetrics& metrics(std::size_t shard = 0) { return *metrics_[shard]; }
  Shard& shard(std::size_t index = 0) { return *shards_[index]; }
  [[nodiscard]] std::size_t shard_count() const { return shards_.size(); }
  relay::KeyPlacement& placement() { return placement_; }
  SimNet& net() { return net_; }
  Rng& rng() { return rng_; }
  core::tls::AeadPool& aead() { return aead_; }
  [[nodiscard]] core::Instant now() const { return now_; }
  [[nodiscard]] const std::vector<std::pair<core::NodePublic, bool>>& presence() const {
    return presence_;
  }
  std::vector<std::unique_ptr<SimClient>>& clients() { return clients_; }
  [[nodiscard]] const std::vector<std::uint8_t>& ended_links() const { return ended_links_; }

  void OnRelayPresence(const core::NodePublic& key, bool present) override {
    presence_.emplace_back(key, present);
  }
  void OnMeshLinkEnded(std::uint8_t link) override { ended_links_.push_back(link); }

 private:
  bool Runnable(std::size_t shard) {
    return running_[shard] && shards_[shard]->ring().Runnable(shards_[shard]->MaxWait());
  }

  const WorldOptions options_;
  Rng rng_;
  core::Instant own_clock_{core::Seconds(1000).ns};
  core::Instant& now_;
  SimNet net_;
  core::tls::AeadPool aead_;
  relay::ShardLinks links_;
  relay::KeyPlacement placement_;
  std::vector<std::unique_ptr<relay::Inbox>> inboxes_;
  std::vector<std::unique_ptr<relay::ShardMetrics>> metrics_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<bool> running_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::vector<std::pair<core::NodePublic, bool>> presence_;
  std::vector<std::uint8_t> ended_links_;
};

}  // namespace ringscale::sim

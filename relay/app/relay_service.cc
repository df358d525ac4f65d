#include "relay/app/relay_service.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/base/random.h"
#include "core/engine/topology.h"
#include "core/io/epoll_ring.h"
#include "core/io/uring_ring.h"
#include "core/net/socket_options.h"
#include "core/obs/log.h"
#include "relay/app/inbox.h"
#include "relay/app/key_placement.h"
#include "relay/app/relay_shard.h"
#include "relay/app/shard_link.h"
#include "relay/app/shard_metrics.h"
#include "relay/app/tcp_progress.h"

namespace ringscale::relay {

extern template class RelayShard<core::io::UringRing>;
extern template class RelayShard<core::io::EpollRing>;

namespace {

// Watchers keep one bit per shard.
constexpr std::uint16_t kMaxShards = 64;
constexpr std::size_t kInboxLimit = 16384;
// Forwarding takes microseconds; whoever computes for longer on the same core, as a front
// in a handshake, lets it in between.
constexpr core::Duration kSlice = core::Micros(500);

}  // namespace

class RelayService::Impl {
 public:
  Impl(const RelayServiceOptions& options, std::uint16_t shards, core::io::RingKind kind)
      : options_(options),
        kind_(kind),
        kernel_tls_(MakeKernelTlsPlan(options.tls, options.tls_calls)),
        links_(shards),
        placement_(shards, options.clients_together),
        all_turned_(shards),
        all_shut_down_(shards) {
    for (std::uint16_t i = 0; i < shards; ++i) {
      slots_.push_back(std::make_unique<Slot>());
    }
  }

  core::Result<> Start(core::MetricsRegistry& registry);
  void Add(LoggedInClient client);
  void CloseKey(const core::NodePublic& key);
  void AttachStun(std::vector<core::Fd> sockets);
  void AddLink(LoggedInClient client);
  void Drain(core::Duration over);
  void SetRateLimit(const RateLimit& limit);
  bool Report(std::size_t talkers, const std::shared_ptr<ReportSink>& sink);
  [[nodiscard]] std::vector<std::shared_ptr<const ShardMetrics>> metrics() const;
  void Stop(core::Duration drain);
  [[nodiscard]] std::uint16_t shards() const { return links_.shards(); }
  [[nodiscard]] core::io::RingKind kind() const { return kind_; }

 private:
  struct Slot {
    Inbox inbox{kInboxLimit};
    std::shared_ptr<ShardMetrics> metrics = std::make_shared<ShardMetrics>();
    std::thread thread;
  };

  template <class Ring>
  void Run(std::uint16_t index, std::promise<core::Result<core::io::Waker>> made,
           const std::shared_future<bool>& go);
  void Place(std::uint16_t index);
  ShardOptions OptionsOf(std::uint16_t index);

  const RelayServiceOptions options_;
  const core::io::RingKind kind_;
  const KernelTlsPlan kernel_tls_;
  ShardLinks links_;
  KeyPlacement placement_;
  std::vector<std::unique_ptr<Slot>> slots_;
  // No shard touches another's memory once all have turned for the last time.
  std::latch all_turned_;
  std::latch all_shut_down_;
  std::atomic<std::uint32_t> next_stun_{0};
  std::atomic<bool> stopped_{false};
  std::mutex stop_mutex_;
};

ShardOptions RelayService::Impl::OptionsOf(std::uint16_t index) {
  ShardOptions shard;
  shard.index = index;
  shard.ring = options_.ring;
  shard.ring.defer_wakes = true;
  shard.limits = options_.limits;
  shard.times = options_.times;
  shard.hash_secret = core::ProcessHashSecret();
  shard.random_seed = core::SecureRandom64();
  shard.server_key = options_.server_key;
  shard.presence = options_.presence;
  shard.mesh = options_.mesh;
  shard.placement = &placement_;
  shard.tcp_progress = &ReadTcpProgress;
  shard.rtt = &TcpRtt;
  return shard;
}

void RelayService::Impl::Place(std::uint16_t index) {
  core::engine::SetThreadName("relay-" + std::to_string(index));
  if (const auto sliced = core::engine::SetThreadSlice(kSlice); !sliced) {
    core::LogWarn("relay", "thread waits for others longer than wished",
                  {{"shard", index}, {"error", sliced.error().message}});
  }
  if (!options_.pin_threads) return;
  const std::vector<int> cores = core::engine::DetectTopology().cores;
  if (cores.empty()) return;
  const core::Result<> pinned = core::engine::PinThread(cores[index % cores.size()]);
  if (!pinned) {
    core::LogWarn("relay", "thread not pinned",
                  {{"shard", index}, {"error", pinned.error().message}});
  }
}

template <class Ring>
void RelayService::Impl::Run(std::uint16_t index, std::promise<core::Result<core::io::Waker>> made,
                             const std::shared_future<bool>& go) {
  Place(index);
  const ShardOptions options = OptionsOf(index);
  auto ring = Ring::Create(options.ring);
  if (!ring) return made.set_value(core::Forward(ring));
  made.set_value((*ring)->waker());
  if (!go.get()) return;  // another shard could not start
  Slot& slot = *slots_[index];
  RelayShard<Ring> shard(options, std::move(*ring), &links_, slot.inbox, *slot.metrics,
                         core::MonotonicNow());
  while (shard.Turn(core::MonotonicNow)) {
  }
  all_turned_.arrive_and_wait();
  shard.Shutdown();
  all_shut_down_.arrive_and_wait();
}

core::Result<> RelayService::Impl::Start(core::MetricsRegistry& registry) {
  std::promise<bool> go;
  const std::shared_future<bool> gone = go.get_future().share();
  std::vector<std::future<core::Result<core::io::Waker>>> made;
  for (std::uint16_t i = 0; i < shards(); ++i) {
    std::promise<core::Result<core::io::Waker>> promise;
    made.push_back(promise.get_future());
    slots_[i]->thread = std::thread([this, i, gone, promise = std::move(promise)]() mutable {
      if (kind_ == core::io::RingKind::kUring) {
        Run<core::io::UringRing>(i, std::move(promise), gone);
      } else {
        Run<core::io::EpollRing>(i, std::move(promise), gone);
      }
    });
  }
  std::optional<core::Error> error;
  for (std::uint16_t i = 0; i < shards(); ++i) {
    auto waker = made[i].get();
    if (!waker) {
      error = std::move(waker.error());
      continue;
    }
    links_.SetWaker(i, *waker);
    slots_[i]->inbox.SetReader(*waker);
  }
  go.set_value(!error.has_value());
  if (error) {
    for (auto& slot : slots_) slot->thread.join();
    return std::unexpected(std::move(*error));
  }
  for (auto& slot : slots_) RegisterShardMetrics(registry, slot->metrics);
  core::LogInfo("relay", "relay started",
                {{"shards", shards()}, {"engine", core::io::RingKindName(kind_)}});
  return {};
}

void RelayService::Impl::Add(LoggedInClient client) {
  if (stopped_.load(std::memory_order_relaxed)) return;
  const int fd = client.fd.get();
  // The rings want to wait for themselves; and what a listener was set to may
  // not be what a relay needs. Refusals only cost quality.
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  if (const auto applied = core::net::ApplyTcpOptions(fd, options_.tcp.Options()); !applied) {
    core::LogDebug("relay", "socket options refused", {{"error", applied.error().message}});
  }
  if (client.mesh_link != kNoMeshLink) return AddLink(std::move(client));
  KernelMove kernel = MoveToKernel(client, kernel_tls_);
  const core::NodePublic key = client.key;
  const core::SocketAddress remote = client.remote;
  // A mesh peer was let in by its mesh key.
  const bool ask = options_.admission != nullptr && !client.can_mesh;
  const KeyPlacement::Place place = placement_.Acquire(key);
  Inbox& inbox = slots_[place.shard]->inbox;
  if (!inbox.Push(AddClientCommand{std::move(client), place.epoch, std::move(kernel)})) {
    placement_.Release(key);
    core::LogWarn("relay", "client refused: the shard is behind", {{"shard", place.shard}});
    return;
  }
  // Behind the client in the inbox, so it cannot miss it; see CloseKey.
  if (ask && !options_.admission->Allows(key, remote)) CloseKey(key);
}

void RelayService::Impl::CloseKey(const core::NodePublic& key) {
  const KeyPlacement::Place place = placement_.Find(key);
  if (place.shard == KeyPlacement::kNowhere) return;
  if (!slots_[place.shard]->inbox.Push(CloseKeyCommand{key})) {
    core::LogError("relay", "a revoked key could not be closed: the shard is behind",
                   {{"shard", place.shard}, {"key", key.text()}});
  }
}

void RelayService::Impl::AttachStun(std::vector<core::Fd> sockets) {
  for (core::Fd& socket : sockets) {
    const std::uint32_t shard = next_stun_.fetch_add(1, std::memory_order_relaxed) % shards();
    if (!slots_[shard]->inbox.Push(AddUdpSocketCommand{std::move(socket)})) {
      core::LogError("relay", "a STUN socket could not be attached: the shard is behind",
                     {{"shard", shard}});
    }
  }
}

void RelayService::Impl::AddLink(LoggedInClient client) {
  const std::uint8_t link = client.mesh_link;
  if (slots_[link % shards()]->inbox.Push(AddClientCommand{std::move(client)})) return;
  core::LogWarn("relay", "mesh link refused: the shard is behind", {{"link", link}});
  if (options_.mesh != nullptr) options_.mesh->OnMeshLinkEnded(link);
}

void RelayService::Impl::Drain(core::Duration over) {
  const auto done = std::make_shared<std::latch>(shards());
  for (auto& slot : slots_) {
    if (stopped_.load(std::memory_order_relaxed) || !slot->inbox.Push(DrainCommand{over, done})) {
      done->count_down();
    }
  }
  done->wait();
}

void RelayService::Impl::SetRateLimit(const RateLimit& limit) {
  for (auto& slot : slots_) {
    if (!slot->inbox.Push(RateCommand{limit})) {
      core::LogError("relay", "a shard did not take the receive rate: it is behind");
    }
  }
}

bool RelayService::Impl::Report(std::size_t talkers, const std::shared_ptr<ReportSink>& sink) {
  if (stopped_.load(std::memory_order_relaxed)) return false;
  return std::ranges::all_of(
      slots_, [&](auto& slot) { return slot->inbox.Push(ReportCommand{talkers, sink}); });
}

std::vector<std::shared_ptr<const ShardMetrics>> RelayService::Impl::metrics() const {
  std::vector<std::shared_ptr<const ShardMetrics>> all;
  all.reserve(slots_.size());
  for (const auto& slot : slots_) all.push_back(slot->metrics);
  return all;
}

void RelayService::Impl::Stop(core::Duration drain) {
  const std::lock_guard lock(stop_mutex_);
  stopped_.store(true, std::memory_order_relaxed);
  for (auto& slot : slots_) {
    if (slot->thread.joinable()) (void)slot->inbox.Push(StopCommand{drain});
  }
  for (auto& slot : slots_) {
    if (slot->thread.joinable()) slot->thread.join();
  }
}

core::Result<std::unique_ptr<RelayService>> RelayService::Start(const RelayServiceOptions& options,
                                                                core::MetricsRegistry& registry) {
  std::size_t shards = options.shards;
  if (shards == 0) shards = core::engine::DetectTopology().WorkerCount();
  shards = std::clamp<std::size_t>(shards, 1, kMaxShards);
  const core::io::RingKind kind = options.ring_kind ? *options.ring_kind : core::io::ChooseRing();
  auto impl = std::make_unique<Impl>(options, static_cast<std::uint16_t>(shards), kind);
  auto started = impl->Start(registry);
  if (!started) return core::Forward(started);
  return std::unique_ptr<RelayService>(new RelayService(std::move(impl)));
}

RelayService::RelayService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RelayService::~RelayService() {
  impl_->Stop({});
}

void RelayService::Add(LoggedInClient client) {
  impl_->Add(std::move(client));
}
void RelayService::CloseKey(const core::NodePublic& key) {
  impl_->CloseKey(key);
}
void RelayService::AttachStun(std::vector<core::Fd> sockets) {
  impl_->AttachStun(std::move(sockets));
}
void RelayService::Drain(core::Duration over) {
  impl_->Drain(over);
}
void RelayService::SetRateLimit(const RateLimit& limit) {
  impl_->SetRateLimit(limit);
}
bool RelayService::Report(std::size_t talkers, const std::shared_ptr<ReportSink>& sink) {
  return impl_->Report(talkers, sink);
}
std::vector<std::shared_ptr<const ShardMetrics>> RelayService::metrics() const {
  return impl_->metrics();
}
void RelayService::Stop(core::Duration drain) {
  impl_->Stop(drain);
}
std::uint16_t RelayService::shard_count() const {
  return impl_->shards();
}
core::io::RingKind RelayService::ring_kind() const {
  return impl_->kind();
}

}  // namespace ringscale::relay

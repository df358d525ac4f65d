#include "relay/app/shard_core.h"

#include <algorithm>
#include <cassert>
#include <memory>
#include <new>
#include <utility>

#include "relay/app/key_placement.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

constexpr core::Duration kHousekeeping = core::Seconds(10);
constexpr core::Duration kLongestWait = core::Seconds(1);
// After a gap between two turns that is longer than this, so many completions are no
// pause of the clients: the shard did not get its core, or has more to do than it can.
constexpr core::Duration kKeptAway = core::Millis(4);
constexpr std::size_t kManyCompletions = 8;
constexpr std::size_t kSpareUnits = 16;  // 4 MiB of cells stay with an idle shard
constexpr core::Duration kHomeMoveGrace = core::Seconds(5);

QueueLimits WatcherLimits(const ShardLimits& limits) {
  QueueLimits queue = limits.queue;
  queue.bytes[static_cast<std::size_t>(Lane::kControl)] = limits.watcher_control_bytes;
  return queue;
}

QueueLimits LinkLimits(const ShardLimits& limits) {
  QueueLimits queue = limits.queue;
  queue.bytes[static_cast<std::size_t>(Lane::kData)] = limits.mesh_data_bytes;
  return queue;
}

}  // namespace

ShardCore::ShardCore(const ShardOptions& options, ShardLinks* links, ShardMetrics& metrics,
                     core::Instant now)
    : options_(options),
      index_(options.index),
      watcher_limits_(WatcherLimits(options.limits)),
      now_(now),
      random_state_(options.random_seed),
      pool_(options.index, options.limits.memory_bytes),
      peers_(options.index, options.hash_secret),
      sources_(options.limits.source_pairs),
      timers_(now),
      low_buffers_(options.ring.buffer_count / 2),
      hard_buffers_(options.ring.buffer_count / 4),
      link_limits_(LinkLimits(options.limits)),
      metrics_(metrics) {
  if (links != nullptr && links->shards() > 1) {
    neighbours_.resize(links->shards());
    for (std::uint16_t shard = 0; shard < links->shards(); ++shard) {
      neighbours_[shard].out = links->Get(index_, shard);
      neighbours_[shard].in = links->Get(shard, index_);
    }
  }
  timers_.Start(housekeeping_, now + kHousekeeping);
}

ShardCore::~ShardCore() {
  timers_.Cancel(housekeeping_);
}

// --- connections ---

Connection* ShardCore::Allocate() {
  if (free_slots_.empty()) {
    const auto first = static_cast<std::uint32_t>(chunks_.size()) * kChunk;
    if (first >= options_.limits.connections) return nullptr;
    chunks_.push_back(std::make_unique<Connection[]>(kChunk));
    // Every list of slots can then grow without asking for memory.
    const std::size_t slots = chunks_.size() * kChunk;
    for (auto* list : {&free_slots_, &dirty_, &taken_dirty_, &closing_, &taken_closing_}) {
      if (list->capacity() < slots) list->reserve(2 * slots);
    }
    for (std::uint32_t slot = first + kChunk; slot-- > first;) {
      at(slot).slot = slot;
      free_slots_.push_back(slot);
    }
  }
  const std::uint32_t slot = free_slots_.back();
  if (slot >= options_.limits.connections) return nullptr;
  free_slots_.pop_back();
  Connection* connection = &at(slot);
  const std::uint32_t generation = connection->generation + 1;
  std::destroy_at(connection);
  std::construct_at(connection);
  connection->slot = slot;
  connection->generation = generation;
  return connection;
}

std::uint32_t ShardCore::Open(LoggedInClient& client, std::uint32_t epoch, KernelMove kernel) {
  if (client.mesh_link != kNoMeshLink) return OpenLink(client);
  metrics_.kernel_tls_refused[static_cast<std::size_t>(kernel.refusal)].Add();
  const bool broken = kernel.refusal == core::tls::KernelTlsRefusal::kBroken;
  Connection* connection = broken ? nullptr : Allocate();
  if (connection == nullptr) {
    metrics_.refused.Add();
    if (options_.placement != nullptr) options_.placement->Release(client.key);
    return kNone;
  }
  Connection& c = *connection;
  c.key = client.key;
  c.fd = client.fd.get();
  c.remote = client.remote;
  c.tls = std::move(client.tls);
  c.kernel = std::move(kernel.transport);
  c.can_mesh = client.can_mesh;
  c.is_prober = client.is_prober;
  c.not_ideal = client.not_ideal;
  c.state = ConnectionState::kOpen;
  c.connected = now_;
  c.tokens = static_cast<std::int64_t>(rate_limit_.burst_bytes);
  c.tokens_at = now_;
  ++open_;
  metrics_.accepts.Add();
  c.over_tls = c.tls != nullptr || c.kernel != nullptr;
  if (c.over_tls) metrics_.tls_connections.Add(1);
  if (c.tls != nullptr) metrics_.tls_in_user_space.Add();
  if (c.kernel != nullptr) metrics_.tls_in_kernel.Add();
  if (c.not_ideal) metrics_.not_ideal_connections.Add(1);

  const PeerTable::Joined joined = peers_.Join(c.key, c.slot, epoch);
  c.peer = joined.peer;
  if (joined.members > 1) {
    for (const std::uint32_t member : peers_.ConnectionsOf(c.peer)) at(member).duplicate = true;
    metrics_.duplicate_connections_total.Add();
  }
  if (joined.first && options_.presence != nullptr) {
    options_.presence->OnRelayPresence(c.key, true);
  }
  c.keep_alive_ms = DrawKeepAlive();
  timers_.Start(c, now_ + core::Millis(c.keep_alive_ms));
  AnnounceUp(c, epoch);
  UpdateGauges();

  if (!client.server_info.empty()) {
    SendControl(c, client.server_info.data(), client.server_info.size());
  }
  FeedCopy(c, client.plaintext, false);
  FeedCopy(c, client.ciphertext, true);
  return c.slot;
}

Connection* ShardCore::Get(std::uint32_t slot, std::uint32_t generation) {
  if (slot >= chunks_.size() * kChunk) return nullptr;
  Connection& c = at(slot);
  return c.generation == generation && c.state != ConnectionState::kFree ? &c : nullptr;
}

void ShardCore::Close(Connection& c, CloseReason reason) {
  if (c.state == ConnectionState::kOpen) Unregister(c, reason);
  if (c.state != ConnectionState::kFarewell) return;
  c.state = ConnectionState::kClosing;
  c.tls.reset();
  closing_.push_back(c.slot);
}

// An orderly end, or the reason why not, for a peer that speaks TLS; only when no
// send is in flight, since what is being sent cannot be followed by another send.
void ShardCore::CloseWithAlert(Connection& c, CloseReason reason, core::tls::Alert alert) {
  if (c.state != ConnectionState::kOpen) return;
  if ((c.tls == nullptr && c.kernel == nullptr) || c.batch != nullptr) return Close(c, reason);
  Unregister(c, reason);
  c.farewell = alert;
  MarkDirty(c);
}

// Everything that makes it a client ends here; state becomes kFarewell.
void ShardCore::Unregister(Connection& c, CloseReason reason) {
  c.state = ConnectionState::kFarewell;
  metrics_.closed[static_cast<std::size_t>(reason)].Add();
  timers_.Cancel(c);
  if (c.mesh_link != kNoMeshLink) return UnregisterLink(c);
  --open_;
  if (c.watcher) std::erase(watchers_, c.slot);
  if (c.preferred) metrics_.home_connections.Add(-1);
  if (c.over_tls) metrics_.tls_connections.Add(-1);
  if (c.not_ideal) metrics_.not_ideal_connections.Add(-1);

  c.queue.Clear(pool_, metrics_.drops, DropReason::kGoneDisconnected);
  if (c.partial_record != nullptr) pool_.Release(std::exchange(c.partial_record, nullptr));
  if (c.partial_frame != nullptr) pool_.Release(std::exchange(c.partial_frame, nullptr));
  sources_.TakeConnection(c.first_source, [this](std::uint32_t source) -> std::uint32_t& {
    return peers_.at(source).first_receiver;
  });

  const std::uint32_t left = peers_.Leave(c.peer, c.slot);
  if (left == 1) at(peers_.at(c.peer).active).duplicate = false;
  if (left == 0) {
    ShardMessage down;
    down.kind = ShardMessage::Kind::kKeyDown;
    down.number = peers_.at(c.peer).epoch;
    down.key = c.key.raw;
    ForgetClient(c.peer);
    Announce(down);
    TellWatchersGone(index_, c.key);
    if (options_.presence != nullptr) options_.presence->OnRelayPresence(c.key, false);
  }
  if (options_.placement != nullptr) options_.placement->Release(c.key);
  UpdateGauges();
}

void ShardCore::OnReceiveEnded(Connection& c, int error) {
  Close(c, error == 0 ? CloseReason::kClientClosed : CloseReason::kIoError);
}

void ShardCore::Release(Connection& c) {
  assert(c.state == ConnectionState::kClosing && c.batch == nullptr);
  c.state = ConnectionState::kFree;
  c.fd = -1;
  c.kernel.reset();
  // Nothing that arrives for the old connection may find the new one.
  ++c.generation;
  free_slots_.push_back(c.slot);
}

void ShardCore::CloseKey(const core::NodePublic& key, CloseReason reason) {
  const std::uint32_t peer = peers_.Find(key);
  if (peer == kNone || peers_.at(peer).shard == Peer::kMesh) return;
  if (peers_.at(peer).shard != index_) {
    ShardMessage message;
    message.kind = ShardMessage::Kind::kCloseKey;
    message.flags = static_cast<std::uint8_t>(reason);
    message.key = key.raw;
    SendTo(neighbours_[peers_.at(peer).shard], message);
    return;
  }
  for (const std::uint32_t slot : peers_.ConnectionsOf(peer)) {
    CloseWithAlert(at(slot), reason, core::tls::Alert::kCloseNotify);
  }
}

void ShardCore::CloseAll() {
  for (auto& chunk : chunks_) {
    for (std::uint32_t i = 0; i < kChunk; ++i) {
      CloseWithAlert(chunk[i], CloseReason::kShutdown, core::tls::Alert::kCloseNotify);
    }
  }
}

void ShardCore::Shutdown(std::vector<int>& open) {
  for (auto& chunk : chunks_) {
    for (std::uint32_t i = 0; i < kChunk; ++i) {
      Connection& c = chunk[i];
      if (c.state == ConnectionState::kFree) continue;
      open.push_back(c.fd);
      Close(c, CloseReason::kShutdown);
      if (c.batch != nullptr) {
        UnlinkSending(c);
        SendBatch::Destroy(std::exchange(c.batch, nullptr), pool_);
      }
    }
  }
  pool_.ClearReturns();
}

void ShardCore::OnNotePreferred(Connection& c, bool preferred) {
  if (c.preferred == preferred) return;
  c.preferred = preferred;
  metrics_.home_connections.Add(preferred ? 1 : -1);
  if (now_ - c.connected > kHomeMoveGrace) {
    (preferred ? metrics_.home_moves_in : metrics_.home_moves_out).Add();
  }
}

void ShardCore::UpdateGauges() {
  metrics_.connections.Set(static_cast<std::int64_t>(open_));
  metrics_.watchers.Set(static_cast<std::int64_t>(watchers_.size()));
  metrics_.duplicate_keys.Set(static_cast<std::int64_t>(peers_.duplicate_keys()));
  metrics_.duplicate_connections.Set(static_cast<std::int64_t>(peers_.duplicate_connections()));
}

// For trouble found where connections must not disappear: while a list of them
// is walked, or in the middle of a frame of another.
void ShardCore::CloseLater(Connection& c, CloseReason reason) {
  doomed_.push_back({c.slot, c.generation, reason});
}

std::span<const std::uint32_t> ShardCore::TakeClosing() {
  // Closing one may doom others, who are too far behind to be told of it.
  while (!doomed_.empty()) {
    const Doomed doomed = doomed_.back();
    doomed_.pop_back();
    if (Connection* c = Get(doomed.slot, doomed.generation)) Close(*c, doomed.reason);
  }
  std::swap(closing_, taken_closing_);
  closing_.clear();
  return taken_closing_;
}

void ShardCore::MarkDirty(Connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty_.push_back(c.slot);
}

// --- time ---

std::uint64_t ShardCore::Random() {  // splitmix64
  random_state_ += 0x9e3779b97f4a7c15ull;
  std::uint64_t x = random_state_;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// The period of one connection differs from that of others by chance, so that
// clients that came together do not wake the relay together for ever.
std::uint32_t ShardCore::DrawKeepAlive() {
  const auto jitter = static_cast<std::uint64_t>(options_.times.keep_alive_jitter.millis());
  const std::uint64_t extra = jitter == 0 ? 0 : Random() % jitter;
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(options_.times.keep_alive.millis()) +
                                    extra);
}

void ShardCore::BeginTurn(core::Instant now, std::size_t completions) {
  const core::Duration gap = now - now_;
  waited_ = waited_ + (completions < kManyCompletions ? gap : std::min(gap, kKeptAway));
  now_ = now;
  now_ms_ = static_cast<std::uint32_t>(now.ns / 1'000'000);
  metrics_.turns.Add();
  RunTimers();
  if (draining_) ContinueDrain();
  if (!neighbours_.empty()) ReadLinks();
}

void ShardCore::RunTimers() {
  timers_.AdvanceTo(now_, [this](core::engine::TimerNode& node) {
    if (&node == &housekeeping_) {
      pool_.Trim(kSpareUnits);
      metrics_.memory_reserved.Set(static_cast<std::int64_t>(pool_.reserved_bytes()));
      timers_.Start(housekeeping_, now_ + kHousekeeping);
      return;
    }
    auto& c = static_cast<Connection&>(node);
    if (c.mesh_link != kNoMeshLink) return CheckLink(c);
    c.keep_alive_due = true;
    if (options_.rtt != nullptr) {
      metrics_.rtt[static_cast<std::size_t>(options_.rtt(c.fd))].Add();
    }
    timers_.Start(c, now_ + core::Millis(c.keep_alive_ms));
    MarkDirty(c);
  });
  CheckSends(oldest_send_[0]);
  CheckSends(oldest_send_[1]);
}

void ShardCore::LinkSending(Connection& c) {
  const int list = c.can_mesh ? 1 : 0;
  const core::Duration timeout =
      c.can_mesh ? options_.times.mesh_write_timeout : options_.times.write_timeout;
  c.idle_looks = 0;
  c.send_check = timeout.ns == 0 ? core::Instant{INT64_MAX} : now_ + core::Nanos(timeout.ns / 2);
  c.previous_sending = newest_send_[list];
  c.next_sending = kNone;
  if (newest_send_[list] != kNone) {
    at(newest_send_[list]).next_sending = c.slot;
  } else {
    oldest_send_[list] = c.slot;
  }
  newest_send_[list] = c.slot;
}

void ShardCore::UnlinkSending(Connection& c) {
  const int list = c.can_mesh ? 1 : 0;
  if (c.previous_sending != kNone) {
    at(c.previous_sending).next_sending = c.next_sending;
  } else {
    oldest_send_[list] = c.next_sending;
  }
  if (c.next_sending != kNone) {
    at(c.next_sending).previous_sending = c.previous_sending;
  } else {
    newest_send_[list] = c.previous_sending;
  }
}

// A send in flight is looked at twice per timeout. A receiver that is merely slow
// has taken some bytes since the last look; one that took none for half of the
// timeout, the whole timeout after the send began, is gone. One whose kernel answers,
// or has said before that its buffer is full, is not gone: it gets more time.
void ShardCore::CheckSends(std::uint32_t& oldest) {
  constexpr int kLooks = 2;
  while (oldest != kNone && at(oldest).send_check <= now_) {
    Connection& c = at(oldest);
    const TcpProgress progress = options_.tcp_progress == nullptr
                                     ? TcpProgress{}
                                     : options_.tcp_progress(options_.tcp_progress_context, c.fd);
    const bool idle = c.idle_looks > 0 && progress.acknowledged == c.acknowledged;
    const int looks = idle ? c.idle_looks + 1 : 1;
    UnlinkSending(c);
    LinkSending(c);
    c.idle_looks = static_cast<std::uint8_t>(looks);
    c.acknowledged = progress.acknowledged;
    const int timeouts =
        c.can_mesh ? 1 : TimeoutsOf(progress, options_.times.write_timeout, c.reads_slowly);
    if (looks < kLooks * timeouts) continue;
    Close(c, CloseReason::kWriteTimeout);
  }
}

core::Duration ShardCore::MaxWait(core::Instant now) const {
  if (!dirty_.empty() || !closing_.empty() || !doomed_.empty() || mail_left_) {
    return memory_short_ ? core::Millis(1) : core::Duration{};
  }
  core::Duration wait = kLongestWait;
  const auto until = [&](core::Instant deadline) { wait = std::min(wait, deadline - now); };
  if (const auto timer = timers_.NextDeadline()) until(*timer);
  if (draining_ && drain_done_ < drain_.size()) until(NextDrainStep());
  for (const std::uint32_t oldest : oldest_send_) {
    if (oldest != kNone) until(chunks_[oldest / kChunk][oldest % kChunk].send_check);
  }
  return std::max(wait, core::Duration{});
}

}  // namespace ringscale::relay

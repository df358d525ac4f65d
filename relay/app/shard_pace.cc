// Everything that is spread over time: the drain before an end, the receive rate
// of clients; and what an operator is told.
#include <algorithm>
#include <utility>

#include "relay/app/shard_core.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

// How long clients shall go on trying, beyond the drain itself.
constexpr core::Duration kTryFor = core::Seconds(10);

std::uint32_t MillisOf(core::Duration duration) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(duration.millis(), 0, UINT32_MAX));
}

}  // namespace

// --- drain ---

void ShardCore::BeginDrain(core::Duration over) {
  if (std::exchange(draining_, true)) return;
  drain_begin_ = now_;
  drain_over_ = over;
  std::vector<Doomed> home;
  for (auto& chunk : chunks_) {
    for (std::uint32_t i = 0; i < kChunk; ++i) {
      const Connection& c = chunk[i];
      if (c.state != ConnectionState::kOpen || c.mesh_link != kNoMeshLink) continue;
      (c.preferred ? home : drain_).push_back({c.slot, c.generation, CloseReason::kShutdown});
    }
  }
  drain_.insert(drain_.end(), home.begin(), home.end());
  std::uint8_t frame[kRestartingFrameBytes];
  for (std::size_t i = 0; i < drain_.size(); ++i) {
    const core::Duration turn = core::Nanos(
        drain_over_.ns / static_cast<std::int64_t>(drain_.size()) * static_cast<std::int64_t>(i));
    const std::size_t size = WriteRestarting(frame, MillisOf(turn), MillisOf(over + kTryFor));
    if (Connection* c = Get(drain_[i].slot, drain_[i].generation)) SendControl(*c, frame, size);
  }
}

// The first one goes at once, the last one a step before the end.
core::Instant ShardCore::NextDrainStep() const {
  const core::Duration step =
      core::Nanos(drain_over_.ns / static_cast<std::int64_t>(drain_.size()));
  return drain_begin_ + core::Nanos(step.ns * static_cast<std::int64_t>(drain_done_));
}

void ShardCore::ContinueDrain() {
  while (drain_done_ < drain_.size() && NextDrainStep() <= now_) {
    const Doomed& doomed = drain_[drain_done_++];
    Connection* c = Get(doomed.slot, doomed.generation);
    if (c != nullptr) CloseWithAlert(*c, doomed.reason, core::tls::Alert::kCloseNotify);
  }
}

// --- receive rate ---

void ShardCore::SetRateLimit(const RateLimit& limit) {
  rate_limit_ = limit;
  for (auto& chunk : chunks_) {
    for (std::uint32_t i = 0; i < kChunk; ++i) {
      chunk[i].tokens = static_cast<std::int64_t>(limit.burst_bytes);
      chunk[i].tokens_at = now_;
    }
  }
}

void ShardCore::Charge(Connection& c, std::size_t bytes) {
  if (c.can_mesh) return;
  c.tokens = rate_limit_.Refilled(c.tokens, c.tokens_at, now_) - static_cast<std::int64_t>(bytes);
  c.tokens_at = now_;
  if (c.tokens >= 0 || c.throttled) return;
  c.throttled = true;
  metrics_.throttled.Add();
}

core::Duration ShardCore::ThrottledFor(const Connection& c) const {
  if (!rate_limit_.on()) return {};
  return rate_limit_.Wait(rate_limit_.Refilled(c.tokens, c.tokens_at, now_));
}

bool ShardCore::EndThrottle(Connection& c) {
  if (ThrottledFor(c) > core::Duration{}) return false;
  c.throttled = false;
  return true;
}

// --- reports ---

ShardReport ShardCore::Report(std::size_t talkers) {
  ShardReport report;
  const auto less_talkative = [](const ClientReport& a, const ClientReport& b) {
    return a.recent_bytes > b.recent_bytes;
  };
  for (auto& chunk : chunks_) {
    for (std::uint32_t i = 0; i < kChunk; ++i) {
      Connection& c = chunk[i];
      if (c.state != ConnectionState::kOpen) continue;
      if (c.mesh_link != kNoMeshLink) {
        report.links.push_back({.link = c.mesh_link,
                                .key = c.key,
                                .remote = c.remote,
                                .connected = c.connected,
                                .clients = own_links_[c.mesh_link]->keys,
                                .sent_bytes = c.sent_bytes});
        continue;
      }
      const std::uint64_t sum = c.received_bytes + c.sent_bytes;
      const std::uint64_t recent = sum - std::exchange(c.reported_bytes, sum);
      if (recent == 0 || talkers == 0) continue;
      if (report.talkers.size() == talkers) {
        if (recent <= report.talkers.front().recent_bytes) continue;
        std::ranges::pop_heap(report.talkers, less_talkative);
        report.talkers.pop_back();
      }
      report.talkers.push_back({.key = c.key,
                                .remote = c.remote,
                                .connected = c.connected,
                                .received_bytes = c.received_bytes,
                                .sent_bytes = c.sent_bytes,
                                .recent_bytes = recent,
                                .home = c.preferred,
                                .mesh_peer = c.can_mesh});
      std::ranges::push_heap(report.talkers, less_talkative);
    }
  }
  std::ranges::sort_heap(report.talkers, less_talkative);
  return report;
}

}  // namespace ringscale::relay

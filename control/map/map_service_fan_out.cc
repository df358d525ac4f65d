// Ticks of the map fan-out, and what a policy change means.
#include <algorithm>
#include <iterator>

#include "control/map/map_service_impl.h"

namespace ringscale::control {
namespace {

// Streams share the processor with everything else of the control thread: a
// fan-out starts at the earliest after three times as long as the last one took.
constexpr std::int64_t kPause = 3;
constexpr core::Duration kLongestPause = core::Seconds(3);
// After a gap like this between two streams that took their part, the later one was
// not waiting for us but for its client, which must not slow the others down.
constexpr core::Duration kClientGap = core::Millis(50);
constexpr std::size_t kHistory = 1024;
constexpr std::size_t kMaxHistory = 65536;

}  // namespace

void MapServiceImpl::ScheduleTick() {
  if (tick_scheduled_) return;
  tick_scheduled_ = true;
  tick_timer_ = loop_.After(options_.tick, [this] {
    tick_scheduled_ = false;
    Tick();
  });
}

void MapServiceImpl::Publish() {
  published_ = index_.head();
}

void MapServiceImpl::Tick() {
  const core::Instant now = loop_.Now();
  const core::Duration last = fan_out_progress_ - fan_out_started_;
  const core::Instant earliest = fan_out_started_ + std::min(last * kPause, kLongestPause);
  if (fan_out_ > 0 && now < earliest) {
    tick_scheduled_ = true;
    tick_timer_ = loop_.After(earliest - now, [this] {
      tick_scheduled_ = false;
      Tick();
    });
    return;
  }
  if (published_ == index_.head()) return;
  const Sequence before = published_;
  Publish();
  ++fan_out_;
  fan_out_started_ = now;
  fan_out_progress_ = now;
  bool told = false;
  // By index: waking a stream may end others.
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    StreamImpl* stream = slots_[slot].stream;
    if (stream == nullptr || stream->phase_ != Phase::kLive || !stream->idle() ||
        stream->position_ >= published_) {
      continue;
    }
    OutputPtr output = MakeUpdate(*stream);
    if (output == nullptr) continue;
    stream->Give(std::move(output));
    stream->awaited_by_ = fan_out_;
    told = true;
    stream->waker_.Wake();
  }
  if (told) stats_.fan_outs.Add();
  CountCompressions();
  if (index_.history() > std::max(forget_at_, kHistory)) {
    ForgetHistory();
    if (index_.history() > kMaxHistory) index_.Forget(before);
    forget_at_ = 2 * index_.history();
  }
}

// Pulls of one fan-out come over many turns of the loop, and the clock stands
// still within a turn: what the pulls of a turn cost shows in the next one.
void MapServiceImpl::NoteFanOutProgress() {
  if (progress_pending_) return;
  // A task, not a timer: it runs in the next turn, where a timer would wake the
  // loop once more for every fan-out. Without room for it the next pull notes.
  progress_pending_ = loop_.Post([alive = std::weak_ptr(alive_), fan_out = fan_out_] {
    if (const auto service = alive.lock()) (*service)->OnFanOutProgress(fan_out);
  });
}

void MapServiceImpl::OnFanOutProgress(std::uint64_t fan_out) {
  progress_pending_ = false;
  const core::Instant now = loop_.Now();
  if (fan_out != fan_out_ || now - fan_out_progress_ > kClientGap) return;
  fan_out_progress_ = now;
  stats_.last_fan_out_us.Set((fan_out_progress_ - fan_out_started_).ns / 1000);
}

void MapServiceImpl::ForgetHistory() {
  Sequence oldest = index_.head();
  for (const Slot& slot : slots_) {
    if (slot.stream != nullptr && slot.stream->phase_ == Phase::kLive) {
      oldest = std::min(oldest, slot.stream->position_);
    }
  }
  index_.Forget(oldest);
}

// Classes mean something else from now on. Streams that are up to date and see the
// same nodes as before only get their new filter; the others get a new full map
// from shared blocks.
void MapServiceImpl::OnPolicyChanged() {
  const Sequence before = index_.head();
  using Seen = std::shared_ptr<const std::vector<NodeId>>;
  std::map<std::pair<Audience*, Sequence>, Seen> old_sets;
  std::vector<std::pair<StreamImpl*, Seen>> live;
  for (const Slot& slot : slots_) {
    StreamImpl* stream = slot.stream;
    if (stream == nullptr || stream->audience_ == nullptr) continue;
    Seen seen;
    if (stream->phase_ == Phase::kLive) {
      Seen& set = old_sets[{stream->audience_, stream->position_}];
      if (!set) {
        set = std::make_shared<const std::vector<NodeId>>(
            stream->audience_->SeenAt(stream->position_));
      }
      seen = set;
    }
    live.emplace_back(stream, std::move(seen));
  }

  const auto old_audiences = std::exchange(audiences_, {});
  const auto old_ipv6_only = index_.Ipv6Only();
  deltas_.clear();
  index_.Rebuild();
  const Sequence rebuilt = index_.head();
  policy_changed_ = index_.Advance();
  // Nodes that lost or got their IPv4 address: to be told to all who see them.
  const auto ipv6_only = index_.Ipv6Only();
  std::vector<NodeId> differing;
  std::ranges::set_symmetric_difference(old_ipv6_only, ipv6_only, std::back_inserter(differing));
  for (const NodeId id : differing) {
    if (const Node* node = source_.FindNode(id)) index_.Replace(*node);
  }

  std::map<Audience*, std::vector<NodeId>> new_sets;
  for (const auto& [stream, seen] : live) {
    const Node* viewer = source_.FindNode(stream->node_);
    if (viewer == nullptr) {
      Expire(*stream);
      continue;
    }
    const bool lagging = stream->position_ < before;
    const Audience& old_audience = *stream->audience_;
    stream->audience_ = &AudienceOf(*viewer);
    if (stream->phase_ != Phase::kLive) continue;
    auto [set, fresh] = new_sets.try_emplace(stream->audience_);
    if (fresh) set->second = stream->audience_->SeenAt(rebuilt);
    const bool same_routes =
        old_audience.varied_before() == policy_.Varied(stream->audience_->id());
    const bool same_families = old_audience.ipv6_only() == stream->audience_->ipv6_only();
    if (!lagging && same_routes && same_families && *seen == set->second) {
      stream->position_ = rebuilt;
      continue;
    }
    auto forgotten = *seen;
    std::erase(forgotten, stream->node_);
    stream->forgotten_ = std::make_shared<const std::vector<NodeId>>(std::move(forgotten));
    NeedMap(*stream);
  }
}

}  // namespace ringscale::control

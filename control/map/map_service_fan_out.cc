// Ticks of the map fan-out, and what a policy change means.
#include <algorithm>
#include <utility>

#include "control/map/map_service_impl.h"
#include "core/base/prefetch.h"

namespace ringscale::control {
namespace {

// Streams share the processor with everything else of the control thread: a
// fan-out starts at the earliest after three times as long as the last one took.
constexpr std::int64_t kPause = 3;
constexpr core::Duration kLongestPause = core::Seconds(3);
// After a gap like this between two streams that took their part, the later one was
// not waiting for us but for its client, which must not slow the others down.
constexpr core::Duration kClientGap = core::Millis(50);
// A policy change may concern everybody, and what the rules say to one node takes some
// 50 us: after so many of them others get their turn.
constexpr std::size_t kRulesPerTurn = 256;
constexpr std::size_t kHistory = 1024;
constexpr std::size_t kMaxHistory = 65536;

}  // namespace

// The first change after a quiet time is told at the end of the turn that brought it,
// together with what else that turn brings; those that follow are gathered.
void MapServiceImpl::ScheduleTick() {
  if (tick_scheduled_) return;
  tick_scheduled_ = true;
  const core::Instant now = loop_.Now();
  const core::Instant earliest = EarliestTick();
  const auto task = [alive = std::weak_ptr(alive_)] {
    if (const auto service = alive.lock()) (*service)->OnTick();
  };
  if (now >= earliest && loop_.Post(task)) return;
  tick_timer_ = loop_.After(std::max(earliest - now, core::Duration{}), task);
}

core::Instant MapServiceImpl::EarliestTick() const {
  if (fan_out_ == 0) return loop_.Now();
  const core::Duration last = fan_out_progress_ - fan_out_started_;
  return fan_out_started_ + std::max(options_.tick, std::min(last * kPause, kLongestPause));
}

void MapServiceImpl::OnTick() {
  tick_scheduled_ = false;
  Tick();
}

void MapServiceImpl::Publish() {
  published_ = index_.head();
}

// Streams were silent since the last tick: what waking one reads is in no cache. Each
// step follows a pointer that the one before has fetched.
void MapServiceImpl::FetchAhead(std::size_t slot) const {
  constexpr std::size_t kStep = 4;
  constexpr std::size_t kStreamBytes = 256;  // of what telling reads
  constexpr std::size_t kWakerBytes = 128;
  const auto at = [&](std::size_t steps) {
    const std::size_t ahead = slot + steps * kStep;
    return ahead < slots_.size() ? slots_[ahead].stream : nullptr;
  };
  if (const StreamImpl* stream = at(3)) core::Prefetch(stream, kStreamBytes);
  if (const StreamImpl* stream = at(2)) core::Prefetch(&stream->waker_, kWakerBytes);
  if (const StreamImpl* stream = at(1)) stream->waker_.Prefetch();
}

void MapServiceImpl::Tick() {
  const core::Instant now = loop_.Now();
  // The last fan-out went on meanwhile.
  if (now < EarliestTick()) {
    ScheduleTick();
    return;
  }
  if (published_ == index_.head()) return;
  published_before_ = published_;
  Publish();
  ++fan_out_;
  fan_out_started_ = now;
  fan_out_progress_ = now;
  TellFrom(0);
}

void MapServiceImpl::TellFrom(std::size_t slot) {
  const std::uint64_t rules_made = rules_made_;
  bool told = false;
  // By index: waking a stream may end others.
  for (; slot < slots_.size() && rules_made_ - rules_made < kRulesPerTurn; ++slot) {
    FetchAhead(slot);
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
  if (told && std::exchange(fan_out_counted_, fan_out_) != fan_out_) stats_.fan_outs.Add();
  CountCompressions();
  if (slot < slots_.size()) {
    tick_scheduled_ = true;
    tick_timer_ = loop_.After(core::Duration{}, [this, slot] {
      tick_scheduled_ = false;
      TellFrom(slot);
    });
    return;
  }
  if (index_.history() > std::max(forget_at_, kHistory)) {
    ForgetHistory();
    if (index_.history() > kMaxHistory) index_.Forget(published_before_);
    forget_at_ = 2 * index_.history();
  }
  // Changes since it began.
  if (published_ != index_.head()) ScheduleTick();
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
  // Nobody's: made again when somebody comes.
  std::erase_if(audiences_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

// Classes mean something else from now on. Blocks of peers stay, and so does what
// streams know: each gets the difference.
void MapServiceImpl::OnPolicyChanged() {
  index_.MoveAll();
  index_.Advance();
  for (auto& [id, audience] : std::exchange(audiences_, {})) {
    if (audience.use_count() == 1) continue;
    auto now = std::make_shared<Audience>(id, index_, policy_, encoder_);
    if (now->SeesTheSame(*audience)) {
      audiences_[id] = std::move(audience);
      continue;
    }
    audience->Freeze();
    audiences_[id] = std::move(now);
  }
  for (const Slot& slot : slots_) {
    StreamImpl* stream = slot.stream;
    if (stream == nullptr || stream->audience_ == nullptr) continue;
    const Node* viewer = source_.FindNode(stream->node_);
    if (viewer == nullptr) {
      Expire(*stream);
    } else {
      SwitchAudience(*stream, *viewer);
    }
  }
}

}  // namespace ringscale::control

// Streams of the map fan-out: their coming and going, places for full maps,
// keep-alives.
#include <algorithm>
#include <numeric>

#include "control/map/map_service_impl.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

// Keep-alives 50 to 53 s after the last message: often enough for clients, which
// give a poll up after 120 s, and not more often than needed, for batteries. The
// spread keeps streams that were opened together from waking together. A client that
// vanishes right after one is noticed by the next: with ControlLimits::silence and
// RegistryOptions::offline_grace it is offline within 80 s.
constexpr core::Duration kQuiet = core::Seconds(50);
constexpr std::uint32_t kQuietSpreadMillis = 2000;
// More than one in so many streams asked for a full map within seconds: a storm. A
// few come together at any time.
constexpr std::size_t kStormShare = 32;
constexpr std::size_t kStormLeast = 64;
// Streams that take their map slowly, per place of fast ones.
constexpr std::size_t kSlowFactor = 4;

// What may stand in a URL as its host and port; the client only compares it.
std::string_view UrlHost(std::string_view authority) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]";
  const bool usable = !authority.empty() && authority.size() <= 255 &&
                      authority.find_first_not_of(kAllowed) == std::string_view::npos;
  return usable ? authority : "unused";
}

std::int64_t SecondOf(core::Instant at) {
  return at.ns / core::Seconds(1).ns;
}

}  // namespace

void MapServiceImpl::Register(StreamImpl& stream) {
  std::uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot] = {&stream, next_generation_++};
  stream.slot_ = slot;
  ++open_streams_;
  stats_.streams.Set(static_cast<std::int64_t>(open_streams_));

  const core::Instant now = loop_.Now();
  stream.last_message_ = now;
  stream.last_pull_ = now;
  jitter_ = jitter_ * 1664525U + 1013904223U;
  stream.keep_alive_after_ = kQuiet + core::Millis((jitter_ >> 8) % kQuietSpreadMillis);
  StartSeconds();
  if (stream.keep_alive_) Expect(stream, now + kQuiet);
}

void MapServiceImpl::Unregister(StreamImpl& stream) {
  Stop(stream);
  const auto found = by_node_.find(stream.node_);
  if (found != by_node_.end() && found->second == &stream) by_node_.erase(found);
  if (stream.node_ == 0) --expired_streams_;
  slots_[stream.slot_] = {};
  free_slots_.push_back(stream.slot_);
  --open_streams_;
  stats_.streams.Set(static_cast<std::int64_t>(open_streams_));
}

StreamImpl* MapServiceImpl::Find(StreamRef ref) const {
  const Slot& slot = slots_[ref.slot];
  return slot.generation == ref.generation ? slot.stream : nullptr;
}

StreamImpl* MapServiceImpl::StreamOf(NodeId node) const {
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : found->second;
}

MapServiceImpl::StreamRef MapServiceImpl::RefOf(const StreamImpl& stream) const {
  return {stream.slot_, slots_[stream.slot_].generation};
}

void MapServiceImpl::Stop(StreamImpl& stream) {
  stream.phase_ = Phase::kEnded;
  stream.output_.reset();
  LeavePlace(stream);
}

void MapServiceImpl::End(StreamImpl& stream) {
  if (stream.phase_ == Phase::kEnded) return;
  Stop(stream);
  stream.waker_.Wake();
}

void MapServiceImpl::Expire(StreamImpl& stream) {
  if (stream.phase_ == Phase::kEnded || stream.phase_ == Phase::kExpired) return;
  stream.phase_ = Phase::kExpired;
  // A map that is being taken goes on; its place is given back with its last byte.
  if (!stream.taking_map_) LeavePlace(stream);
  if (stream.idle()) stream.waker_.Wake();
}

// A node that has moved to a new key is not who polls with the old one: a map
// whose own Node has another key would be refused by the client.
void MapServiceImpl::CheckNodeKey(const Node& node) {
  StreamImpl* stream = StreamOf(node.row.id);
  if (stream != nullptr && stream->node_key_ != node.row.node_key) End(*stream);
}

void MapServiceImpl::OnPull(StreamImpl& stream) {
  stream.last_pull_ = loop_.Now();
}

void MapServiceImpl::OnTaken(StreamImpl& stream, std::size_t bytes, bool complete) {
  stats_.bytes.Add(bytes);
  if (!complete) return;
  stream.output_.reset();
  stream.last_message_ = loop_.Now();
  stream.keep_alive_due_ = false;
  if (stream.taking_map_) {
    stream.taking_map_ = false;
    LeavePlace(stream);
  }
  if (stream.awaited_by_ != 0 && stream.awaited_by_ == fan_out_) {
    stream.awaited_by_ = 0;
    NoteFanOutProgress();
  }
}

// --- places for full maps ---

bool MapServiceImpl::storm_draining() const {
  const auto asked = std::accumulate(maps_asked_.begin(), maps_asked_.end(), std::size_t{0});
  return waiting_ > 0 || asked > std::max(kStormLeast, open_streams_ / kStormShare);
}

void MapServiceImpl::NeedMap(StreamImpl& stream) {
  stream.phase_ = Phase::kNeedsMap;
  ++maps_asked_.front();
  if (stream.place_ != Place::kNone) return;
  QueueForPlace(stream);
  FillPlaces();
}

bool MapServiceImpl::TakePlace(StreamImpl& stream) {
  if (stream.place_ != Place::kNone) return stream.place_ != Place::kQueued;
  if (held_places_ >= options_.full_maps || !map_queue_.empty()) {
    QueueForPlace(stream);
    return false;
  }
  HoldPlace(stream);
  return true;
}

void MapServiceImpl::QueueForPlace(StreamImpl& stream) {
  stream.place_ = Place::kQueued;
  ++waiting_;
  map_queue_.push_back(RefOf(stream));
}

void MapServiceImpl::HoldPlace(StreamImpl& stream) {
  stream.place_ = Place::kHeld;
  stream.place_since_ = loop_.Now();
  stream.last_pull_ = stream.place_since_;
  ++held_places_;
  places_.push_back(RefOf(stream));
}

void MapServiceImpl::LeavePlace(StreamImpl& stream) {
  const Place place = std::exchange(stream.place_, Place::kNone);
  if (place == Place::kNone) return;
  if (place == Place::kQueued) --waiting_;
  if (place == Place::kHeld) --held_places_;
  if (place == Place::kSlow) --slow_places_;
  // A map that is needed while another one was being taken.
  if (stream.phase_ == Phase::kNeedsMap && place != Place::kQueued) {
    NeedMap(stream);
    return;
  }
  FillPlaces();
}

void MapServiceImpl::FillPlaces() {
  while (held_places_ < options_.full_maps && !map_queue_.empty()) {
    const StreamRef ref = map_queue_.front();
    map_queue_.pop_front();
    StreamImpl* stream = Find(ref);
    if (stream == nullptr || stream->place_ != Place::kQueued) continue;
    --waiting_;
    HoldPlace(*stream);
    if (stream->idle()) stream->waker_.Wake();
  }
  stats_.waiting_for_map.Set(static_cast<std::int64_t>(waiting_));
  stats_.sending_maps.Set(static_cast<std::int64_t>(held_places_ + slow_places_));
}

void MapServiceImpl::CheckPlaces(core::Instant now) {
  std::vector<StreamRef> kept;
  for (const StreamRef ref : std::exchange(places_, {})) {
    StreamImpl* stream = Find(ref);
    if (stream == nullptr) continue;
    if (stream->place_ != Place::kHeld && stream->place_ != Place::kSlow) continue;
    if (now - stream->last_pull_ >= options_.stalled_map) {
      stats_.stalled_streams.Add();
      End(*stream);
      continue;
    }
    kept.push_back(ref);
    if (stream->place_ == Place::kHeld && now - stream->place_since_ >= options_.slow_map &&
        slow_places_ < kSlowFactor * options_.full_maps) {
      stream->place_ = Place::kSlow;
      --held_places_;
      ++slow_places_;
    }
  }
  // End and FillPlaces may have added some meanwhile.
  places_.insert(places_.end(), kept.begin(), kept.end());
  FillPlaces();
}

// --- pings ---

bool MapServiceImpl::Ping(NodeId node, std::string_view path) {
  StreamImpl* stream = StreamOf(node);
  if (stream == nullptr || stream->phase_ != Phase::kLive) return false;
  stream->ping_.clear();
  core::json::Writer json(stream->ping_);
  json.BeginObject();
  // Nothing else is in it, and no map is to be worked out from it.
  if (stream->keep_alive_) json.Field("KeepAlive", true);
  json.Key("PingRequest").BeginObject();
  json.Field("URL", "https://" + std::string(UrlHost(stream->authority_)) + std::string(path));
  json.Field("URLIsNoise", true);
  json.EndObject().EndObject();
  if (stream->idle()) stream->waker_.Wake();
  return true;
}

std::optional<std::pair<std::string, bool>> MapServiceImpl::HostOf(NodeId node) const {
  const StreamImpl* stream = StreamOf(node);
  if (stream == nullptr) return std::nullopt;
  return std::pair(stream->client_.host, stream->client_.https);
}

// --- keep-alives ---

void MapServiceImpl::StartSeconds() {
  if (seconds_running_) return;
  seconds_running_ = true;
  wheel_second_ = SecondOf(loop_.Now());
  second_timer_ = loop_.After(core::Seconds(1), [this] { OnSecond(); });
}

void MapServiceImpl::Expect(StreamImpl& stream, core::Instant at) {
  const std::int64_t second = std::max(SecondOf(at) + 1, wheel_second_ + 1);
  wheel_[static_cast<std::size_t>(second) % kWheel].push_back(RefOf(stream));
}

void MapServiceImpl::OnSecond() {
  const core::Instant now = loop_.Now();
  const std::int64_t second = SecondOf(now);
  // After a long pause every bucket is due once.
  wheel_second_ = std::max(wheel_second_, second - static_cast<std::int64_t>(kWheel));
  while (wheel_second_ < second) {
    ++wheel_second_;
    const auto due = std::exchange(wheel_[static_cast<std::size_t>(wheel_second_) % kWheel], {});
    for (const StreamRef ref : due) CheckKeepAlive(ref, now);
  }
  CheckPlaces(now);
  std::shift_right(maps_asked_.begin(), maps_asked_.end(), 1);
  maps_asked_.front() = 0;
  seconds_running_ = open_streams_ > 0;
  if (seconds_running_) {
    second_timer_ = loop_.After(core::Seconds(1), [this] { OnSecond(); });
  } else {
    for (auto& bucket : wheel_) bucket.clear();
    maps_asked_.fill(0);
  }
}

void MapServiceImpl::CheckKeepAlive(StreamRef ref, core::Instant now) {
  StreamImpl* stream = Find(ref);
  if (stream == nullptr || stream->phase_ == Phase::kEnded) return;
  const core::Instant due = stream->last_message_ + stream->keep_alive_after_;
  if (now < due) {
    Expect(*stream, due);
    return;
  }
  if (!stream->idle()) {
    Expect(*stream, now);
    return;
  }
  stream->keep_alive_due_ = true;
  Expect(*stream, now + kQuiet);
  stream->waker_.Wake();
}

}  // namespace ringscale::control

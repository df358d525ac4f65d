// The map fan-out (see map_service.h). Control thread only.
//
// How a change reaches 10,000 streams cheaply: the registry tells it (OnChange),
// PeerIndex notes what changed when, and at the next tick every idle stream that lags
// gets the delta of its audience since its position, rendered and compressed once
// for all streams at that position. Streams that are still taking something are
// left alone: when done they get one delta for all they missed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/derp/derp_map.h"
#include "control/dns/dns_settings.h"
#include "control/map/audience.h"
#include "control/map/delta.h"
#include "control/map/encoder.h"
#include "control/map/map_builder.h"
#include "control/map/map_service.h"
#include "control/map/map_source.h"
#include "control/map/map_stats.h"
#include "control/map/message.h"
#include "control/map/peer_index.h"
#include "control/map/settings_pieces.h"
#include "control/map/stream.h"
#include "control/policy/policy.h"
#include "core/base/time.h"
#include "core/engine/loop.h"

namespace ringscale::control {

struct MapOptions {
  std::string base_domain = "tailnet.internal";
  std::string domain;  // the tailnet's name in clients' user interfaces
  bool file_sharing = true;
  bool disable_log_tail = true;
  // Full maps in transmission at a time. A reconnect storm is worked off in order
  // of arrival; who waits gets keep-alives.
  std::size_t full_maps = 64;
  std::size_t expired_streams = 1024;              // of unknown node keys
  core::Duration tick = core::Millis(10);          // at least this long between fan-outs
  core::Duration slow_map = core::Seconds(10);     // then others may start theirs
  core::Duration stalled_map = core::Seconds(30);  // without a pull: ended
};

class MapServiceImpl final : public MapService {
 public:
  // All must outlive the service, and the service its streams. Nothing is known
  // before Load.
  MapServiceImpl(core::engine::Loop& loop, const MapSource& source, const PolicyView& policy,
                 MapOptions options);
  ~MapServiceImpl() override;
  MapServiceImpl(const MapServiceImpl&) = delete;
  MapServiceImpl& operator=(const MapServiceImpl&) = delete;

  // Reads all nodes of the source. To be called once it is loaded; changes from
  // then on arrive by OnChange.
  void Load();
  // Both are told to all streams when they differ from before.
  void SetDns(const DnsSettings& settings);
  void SetDerp(DerpMap map);
  // Every stream that has a map has taken the last one that SetDerp was given.
  [[nodiscard]] bool derp_told() const;
  // MapOptions::full_maps, from now on.
  void SetFullMaps(std::size_t full_maps);

  void OnChange(const Change& change) override;
  std::unique_ptr<MapStream> Open(NodeId node, const MapRequest& request, std::string host,
                                  bool https, core::http::BodyWaker& waker) override;
  std::string OneShot(NodeId node, const MapRequest& request, std::string host,
                      bool https) override;
  std::unique_ptr<MapStream> OpenExpired(const MapRequest& request, std::string host, bool https,
                                         core::http::BodyWaker& waker) override;
  std::string OneShotExpired(const MapRequest& request, std::string host, bool https) override;
  bool Ping(NodeId node, std::string_view path) override;
  [[nodiscard]] std::optional<std::pair<std::string, bool>> HostOf(NodeId node) const override;
  [[nodiscard]] std::size_t open_streams() const override { return open_streams_; }

  // A reconnect storm: streams wait for a place to get their full map, or so many
  // asked for one in the last seconds that more nodes must be on their way (their
  // handshakes take longer than a full map).
  [[nodiscard]] bool storm_draining() const;
  [[nodiscard]] const MapStats& stats() const { return stats_; }

 private:
  friend class StreamImpl;
  using Phase = StreamImpl::Phase;
  using Place = StreamImpl::Place;
  // A stream that may be gone by the time it is looked at.
  struct StreamRef {
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
  };
  struct Slot {
    StreamImpl* stream = nullptr;
    std::uint64_t generation = 0;
  };

  // --- called by streams ---
  void Register(StreamImpl& stream);
  void Unregister(StreamImpl& stream);
  void OnPull(StreamImpl& stream);
  void OnTaken(StreamImpl& stream, std::size_t bytes, bool complete);
  // What an idle stream gets now; null = nothing.
  [[nodiscard]] OutputPtr NextOutput(StreamImpl& stream);
  // Without asking NextOutput; false when that could have something.
  [[nodiscard]] bool HasNothingFor(const StreamImpl& stream) const;
  // Its next pull ends the body.
  void End(StreamImpl& stream);
  void Stop(StreamImpl& stream);

  // --- streams ---
  [[nodiscard]] StreamImpl* Find(StreamRef ref) const;
  [[nodiscard]] StreamImpl* StreamOf(NodeId node) const;
  [[nodiscard]] StreamRef RefOf(const StreamImpl& stream) const;
  [[nodiscard]] AudiencePtr AudienceOf(const Node& viewer);
  void SwitchAudience(StreamImpl& stream, const Node& viewer);
  void Expire(StreamImpl& stream);
  void CheckNodeKey(const Node& node);

  // --- full maps ---
  void NeedMap(StreamImpl& stream);
  // For a delta that is as large as a map; false: it has to wait.
  [[nodiscard]] bool TakePlace(StreamImpl& stream);
  void QueueForPlace(StreamImpl& stream);
  void HoldPlace(StreamImpl& stream);
  void LeavePlace(StreamImpl& stream);
  void FillPlaces();
  [[nodiscard]] OutputPtr MakeFullMap(StreamImpl& stream);

  // --- deltas ---
  void ScheduleTick();
  [[nodiscard]] core::Instant EarliestTick() const;
  void OnTick();
  void FetchAhead(std::size_t slot) const;
  void Tick();
  // The streams from this slot on, over several turns of the loop if need be.
  void TellFrom(std::size_t slot);
  void Publish();
  [[nodiscard]] OutputPtr MakeUpdate(StreamImpl& stream);
  [[nodiscard]] OutputPtr RenderUpdate(StreamImpl& stream);
  [[nodiscard]] SharedDelta& DeltaFor(const StreamImpl& stream);
  void NoteFanOutProgress();
  void OnFanOutProgress(std::uint64_t fan_out);
  void ForgetHistory();
  void OnPolicyChanged();

  // --- time ---
  void StartSeconds();
  void OnSecond();
  void Expect(StreamImpl& stream, core::Instant at);
  void CheckKeepAlive(StreamRef ref, core::Instant now);
  void CheckPlaces(core::Instant now);
  void CountCompressions();

  core::engine::Loop& loop_;
  const MapSource& source_;
  const PolicyView& policy_;
  MapOptions options_;
  Encoder encoder_;
  PeerIndex index_;
  SettingsPieces settings_;
  MapBuilder builder_;
  std::array<OutputPtr, kEncodings> keep_alive_;
  MapStats stats_;

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t next_generation_ = 1;
  std::unordered_map<NodeId, StreamImpl*> by_node_;
  std::map<ViewerClass, AudiencePtr> audiences_;
  std::size_t open_streams_ = 0;
  std::size_t expired_streams_ = 0;  // of unknown node keys

  std::deque<StreamRef> map_queue_;
  std::size_t waiting_ = 0;  // live entries of map_queue_
  static constexpr std::size_t kStormSeconds = 5;
  std::array<std::size_t, kStormSeconds> maps_asked_{};  // by second, the current one first
  std::size_t held_places_ = 0;
  std::size_t slow_places_ = 0;
  std::vector<StreamRef> places_;  // held and slow, some of them stale

  std::string dns_config_;
  DerpMap derp_;
  Sequence published_ = 0;         // what streams may be told
  Sequence published_before_ = 0;  // the last fan-out
  std::uint64_t rules_made_ = 0;   // MapBuilder::RulesOf for streams that have a map
  Sequence dns_changed_ = 0;
  Sequence derp_changed_ = 0;
  using DeltaKey = std::tuple<Audience*, Audience*, Encoding, Sequence>;
  std::map<DeltaKey, std::unique_ptr<SharedDelta>> deltas_;  // all up to deltas_to_
  Sequence deltas_to_ = 0;
  std::size_t forget_at_ = 0;

  core::engine::TimerId tick_timer_;
  bool tick_scheduled_ = false;
  std::uint64_t fan_out_ = 0;
  std::uint64_t fan_out_counted_ = 0;  // in stats_
  core::Instant fan_out_started_;
  core::Instant fan_out_progress_;  // when it was last seen to go on
  bool progress_pending_ = false;
  // For tasks that may run after the end of the service.
  std::shared_ptr<MapServiceImpl*> alive_ = std::make_shared<MapServiceImpl*>(this);

  static constexpr std::size_t kWheel = 64;
  std::array<std::vector<StreamRef>, kWheel> wheel_;  // by second
  std::int64_t wheel_second_ = 0;                     // handled up to here
  core::engine::TimerId second_timer_;
  bool seconds_running_ = false;
  std::uint32_t jitter_ = 0;
};

}  // namespace ringscale::control

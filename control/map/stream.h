// One long poll of a client. It holds a position in the order of changes and at
// most one output that is being taken; everything else is the service's and shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "control/map/audience.h"
#include "control/map/map_builder.h"
#include "control/map/map_service.h"
#include "control/map/message.h"
#include "control/map/settings_pieces.h"
#include "core/base/time.h"

namespace ringscale::control {

class MapServiceImpl;

class StreamImpl final : public MapStream {
 public:
  enum class Phase : std::uint8_t {
    kNeedsMap,  // nothing but keep-alives before a full map
    kLive,      // up to date at `position_` once its output is taken
    kExpired,   // node unknown or gone: told so, then only keep-alives
    kEnded,
  };
  // Full maps in transmission are limited: a stream waits for a place.
  enum class Place : std::uint8_t {
    kNone,
    kQueued,
    kHeld,
    kSlow,  // gave its place to others, because it takes long
  };

  StreamImpl(MapServiceImpl& service, NodeId node, const MapRequest& request, ClientKind client,
             core::http::BodyWaker& waker);
  ~StreamImpl() override;
  StreamImpl(const StreamImpl&) = delete;
  StreamImpl& operator=(const StreamImpl&) = delete;

  Status Pull(std::size_t limit, core::SliceList& out) override;
  void OnAborted() override;
  [[nodiscard]] NodeId node() const override { return node_; }
  void SetAuthority(std::string authority) override { authority_ = std::move(authority); }

 private:
  friend class MapServiceImpl;

  // Nothing is being taken.
  [[nodiscard]] bool idle() const { return output_ == nullptr; }
  void Give(OutputPtr output);

  // What telling it of a change reads comes first: there are thousands, and they are in
  // no cache.
  MapServiceImpl& service_;
  core::http::BodyWaker& waker_;
  // The service's bookkeeping about this stream.
  Phase phase_ = Phase::kNeedsMap;
  Place place_ = Place::kNone;
  const Encoding encoding_;
  const bool keep_alive_;
  bool taking_map_ = false;    // the output is a full map
  bool had_map_ = false;       // at any time
  bool self_changed_ = false;  // its own Node is to be told
  bool keep_alive_due_ = false;
  bool told_expired_ = false;
  const NodeId node_;
  OutputPtr output_;
  std::size_t slice_ = 0;   // of output_
  std::size_t offset_ = 0;  // in that slice
  Sequence position_ = 0;
  AudiencePtr audience_;
  // As whose viewer it was told all up to `position_`: another one while its audience
  // changed since.
  AudiencePtr told_;
  std::optional<std::uint64_t> rules_version_;  // PolicyView::RulesVersion it was told
  std::uint64_t awaited_by_ = 0;                // the fan-out that waits for it
  core::Instant last_message_;                  // when the last one was taken
  core::Instant last_pull_;
  std::string ping_;  // a map message on its way out, or empty

  std::uint32_t slot_ = 0;
  core::Instant place_since_;
  core::Duration keep_alive_after_;
  RulesDigests rules_;  // what it was told
  const core::NodePublic node_key_;
  const ClientKind client_;
  std::string authority_;
};

}  // namespace ringscale::control

#include "control/map/map_service_impl.h"

#include <algorithm>

namespace ringscale::control {
namespace {

Encoding EncodingOf(const MapRequest& request) {
  return request.zstd ? Encoding::kZstd : Encoding::kPlain;
}

std::string Join(const Output& output) {
  std::string text;
  text.reserve(output.bytes);
  for (const core::SharedSlice& slice : output.slices) text += slice.bytes;
  return text;
}

}  // namespace

MapServiceImpl::MapServiceImpl(core::engine::Loop& loop, const MapSource& source,
                               const PolicyView& policy, MapOptions options)
    : loop_(loop),
      source_(source),
      policy_(policy),
      options_(std::move(options)),
      index_(source, policy, encoder_, options_.base_domain),
      settings_(encoder_, options_.domain, options_.disable_log_tail),
      builder_(index_, policy, encoder_, settings_, options_.file_sharing) {
  for (const Encoding encoding : {Encoding::kPlain, Encoding::kZstd}) {
    keep_alive_[static_cast<std::size_t>(encoding)] = SingleMessage(encoder_, encoding, kKeepAlive);
  }
}

MapServiceImpl::~MapServiceImpl() {
  if (tick_scheduled_) loop_.CancelTimer(tick_timer_);
  if (seconds_running_) loop_.CancelTimer(second_timer_);
}

void MapServiceImpl::Load() {
  index_.Rebuild();
  audiences_.clear();
  deltas_.clear();
  Publish();
}

void MapServiceImpl::SetDns(const DnsSettings& settings) {
  std::string config = RenderDnsConfig(settings);
  if (config == dns_config_) return;
  dns_config_ = config;
  settings_.SetDns(std::move(config));
  dns_changed_ = index_.Advance();
  ScheduleTick();
}

void MapServiceImpl::SetDerp(DerpMap map) {
  if (map == derp_) return;
  derp_ = map;
  settings_.SetDerp(std::move(map));
  derp_changed_ = index_.Advance();
  ScheduleTick();
}

bool MapServiceImpl::derp_told() const {
  return std::ranges::all_of(by_node_, [this](const auto& entry) {
    const StreamImpl& stream = *entry.second;
    return stream.phase_ != Phase::kLive || (stream.idle() && stream.position_ >= derp_changed_);
  });
}

void MapServiceImpl::SetFullMaps(std::size_t full_maps) {
  options_.full_maps = full_maps;
  FillPlaces();
}

void MapServiceImpl::OnChange(const Change& change) {
  const Node* node = change.node != nullptr ? change.node : source_.FindNode(change.id);
  switch (change.kind) {
    case Change::Kind::kNodeAdded:
      if (node != nullptr) index_.Add(*node);
      break;
    case Change::Kind::kNodeReplaced:
      if (node != nullptr) {
        index_.Replace(*node);
        CheckNodeKey(*node);
      }
      break;
    case Change::Kind::kNodePatched:
      if (node != nullptr) {
        index_.Patch(*node, change.fields);
        if ((change.fields & Change::kNodeKey) != 0) CheckNodeKey(*node);
      }
      break;
    case Change::Kind::kNodeRefreshed:
      if (node != nullptr) index_.Refresh(*node, change.fields);
      return;
    case Change::Kind::kNodeRemoved:
      index_.Remove(change.id);
      if (StreamImpl* stream = StreamOf(change.id)) Expire(*stream);
      break;
    case Change::Kind::kSelf:
      index_.Advance();
      break;
    case Change::Kind::kUserChanged:
      index_.ChangeUser(change.id);
      break;
    case Change::Kind::kDnsChanged:
      dns_changed_ = index_.Advance();
      break;
    case Change::Kind::kDerpChanged:
      derp_changed_ = index_.Advance();
      break;
    case Change::Kind::kPolicyChanged:
      if (change.id == 0) {
        OnPolicyChanged();
      } else if (node != nullptr && index_.Move(*node)) {
        if (StreamImpl* stream = StreamOf(change.id)) SwitchAudience(*stream, *node);
      }
      break;
  }
  if (change.kind == Change::Kind::kSelf || change.self_too) {
    if (StreamImpl* stream = StreamOf(change.id)) stream->self_changed_ = true;
  }
  ScheduleTick();
}

std::unique_ptr<MapStream> MapServiceImpl::Open(NodeId node, const MapRequest& request,
                                                std::string host, bool https,
                                                core::http::BodyWaker& waker) {
  const Node* viewer = source_.FindNode(node);
  if (viewer == nullptr) return OpenExpired(request, std::move(host), https, waker);
  if (StreamImpl* older = StreamOf(node)) {
    stats_.replaced_streams.Add();
    End(*older);
  }
  auto stream = std::make_unique<StreamImpl>(
      *this, node, request,
      ClientKind{.host = std::move(host), .https = https, .capability = request.version}, waker);
  by_node_[node] = stream.get();
  stream->audience_ = AudienceOf(*viewer);
  NeedMap(*stream);
  return stream;
}

std::unique_ptr<MapStream> MapServiceImpl::OpenExpired(const MapRequest& request, std::string host,
                                                       bool https, core::http::BodyWaker& waker) {
  if (expired_streams_ >= options_.expired_streams) return nullptr;
  auto stream = std::make_unique<StreamImpl>(
      *this, 0, request,
      ClientKind{.host = std::move(host), .https = https, .capability = request.version}, waker);
  stream->phase_ = Phase::kExpired;
  ++expired_streams_;
  return stream;
}

std::string MapServiceImpl::OneShot(NodeId node, const MapRequest& request, std::string host,
                                    bool https) {
  const Node* viewer = source_.FindNode(node);
  if (viewer == nullptr) return OneShotExpired(request, std::move(host), https);
  stats_.one_shots.Add();
  const OutputPtr output =
      builder_.FullMap(*viewer, *AudienceOf(*viewer),
                       {.host = std::move(host), .https = https, .capability = request.version},
                       EncodingOf(request), loop_.Wall());
  CountCompressions();
  return Join(*output);
}

std::string MapServiceImpl::OneShotExpired(const MapRequest& request, std::string host,
                                           bool https) {
  stats_.one_shots.Add();
  const OutputPtr output = builder_.LoggedOut(
      request.node_key, {.host = std::move(host), .https = https, .capability = request.version},
      EncodingOf(request));
  CountCompressions();
  return Join(*output);
}

AudiencePtr MapServiceImpl::AudienceOf(const Node& viewer) {
  const ViewerClass id = policy_.ClassOfViewer(viewer);
  auto& audience = audiences_[id];
  if (!audience) audience = std::make_shared<Audience>(id, index_, policy_, encoder_);
  return audience;
}

void MapServiceImpl::SwitchAudience(StreamImpl& stream, const Node& viewer) {
  auto audience = AudienceOf(viewer);
  if (audience == stream.audience_) return;
  stream.audience_ = std::move(audience);
  stream.rules_version_.reset();
}

OutputPtr MapServiceImpl::NextOutput(StreamImpl& stream) {
  if (HasNothingFor(stream)) return nullptr;
  OutputPtr output;
  switch (stream.phase_) {
    case Phase::kEnded:
      return nullptr;
    case Phase::kNeedsMap:
      if (stream.place_ == Place::kHeld || stream.place_ == Place::kSlow) {
        output = MakeFullMap(stream);
      }
      break;
    case Phase::kLive:
      if (stream.position_ < published_) output = MakeUpdate(stream);
      break;
    case Phase::kExpired:
      if (!stream.told_expired_) {
        stream.told_expired_ = true;
        output = builder_.LoggedOut(stream.node_key_, stream.client_, stream.encoding_);
      }
      break;
  }
  if (output == nullptr && !stream.ping_.empty() && stream.phase_ == Phase::kLive) {
    stats_.pings.Add();
    output = SingleMessage(encoder_, stream.encoding_, std::exchange(stream.ping_, {}));
  }
  if (output == nullptr && stream.keep_alive_due_ && stream.phase_ != Phase::kEnded) {
    stats_.keep_alives.Add();
    output = keep_alive_[static_cast<std::size_t>(stream.encoding_)];
  }
  stream.keep_alive_due_ = false;
  CountCompressions();
  return output;
}

bool MapServiceImpl::HasNothingFor(const StreamImpl& stream) const {
  return stream.phase_ == Phase::kLive && stream.position_ >= published_ && stream.ping_.empty() &&
         !stream.keep_alive_due_;
}

OutputPtr MapServiceImpl::MakeFullMap(StreamImpl& stream) {
  const Node* viewer = source_.FindNode(stream.node_);
  if (viewer == nullptr) {
    Expire(stream);
    return nullptr;
  }
  OutputPtr output =
      builder_.FullMap(*viewer, *stream.audience_, stream.client_, stream.encoding_, loop_.Wall());
  stream.phase_ = Phase::kLive;
  stream.position_ = index_.head();
  stream.told_ = stream.audience_;
  stream.rules_version_ = policy_.RulesVersion(stream.audience_->id());
  stream.rules_ = builder_.last_rules();
  stream.self_changed_ = false;
  stream.had_map_ = true;
  stream.taking_map_ = true;
  stats_.full_maps.Add();
  return output;
}

OutputPtr MapServiceImpl::MakeUpdate(StreamImpl& stream) {
  if (stream.place_ == Place::kQueued) return nullptr;
  OutputPtr output = RenderUpdate(stream);
  if (stream.phase_ != Phase::kLive || stream.place_ == Place::kNone) return output;
  if (output == nullptr && stream.place_ != Place::kQueued) LeavePlace(stream);
  stream.taking_map_ = output != nullptr;
  return output;
}

OutputPtr MapServiceImpl::RenderUpdate(StreamImpl& stream) {
  const Sequence from = stream.position_;
  if (from < index_.floor()) {
    End(stream);
    return nullptr;
  }
  SharedDelta& delta = DeltaFor(stream);
  if (delta.large()) {
    const bool map = delta.worth_a_map();
    if (map) stream.phase_ = Phase::kNeedsMap;
    if (!TakePlace(stream)) return nullptr;
    if (map) return MakeFullMap(stream);
  }
  OutputPtr peers = delta.For(stream.node_);
  if (peers != nullptr) stats_.deltas.Add();
  stream.position_ = delta.to();
  stream.told_ = stream.audience_;
  const std::uint64_t version = policy_.RulesVersion(stream.audience_->id());
  const bool policy = stream.rules_version_ != version;
  stream.rules_version_ = version;
  bool self = std::exchange(stream.self_changed_, false);
  const bool dns = dns_changed_ > from;
  const bool derp = derp_changed_ > from;
  if (!self && !dns && !derp && !policy) return peers;

  const Node* viewer = source_.FindNode(stream.node_);
  if (viewer == nullptr) {
    End(stream);
    return nullptr;
  }
  MessageBuilder message(encoder_, stream.encoding_);
  if (peers != nullptr) message.Append(*peers);
  if (dns) message.Append(*settings_.DnsMessage(stream.encoding_));
  if (derp) message.Append(*settings_.DerpMessage(stream.client_, stream.encoding_));
  bool rules_changed = false;
  if (policy) {
    // Most nodes notice nothing of most changes.
    MapBuilder::Rules rules = builder_.RulesOf(*viewer);
    ++rules_made_;
    rules_changed = rules.digests != stream.rules_;
    if (rules_changed) {
      builder_.AppendPolicyMessage(message, rules, stream.rules_);
      self |= rules.digests.capabilities != stream.rules_.capabilities;
      stream.rules_ = std::move(rules.digests);
    }
  }
  if (dns || derp || rules_changed) stats_.settings_updates.Add();
  if (self) {
    builder_.AppendSelfMessage(message, *viewer);
    stats_.self_updates.Add();
  }
  OutputPtr output = message.Take();
  return output->bytes == 0 ? nullptr : output;
}

SharedDelta& MapServiceImpl::DeltaFor(const StreamImpl& stream) {
  if (deltas_to_ != index_.head()) {
    deltas_.clear();
    deltas_to_ = index_.head();
  }
  auto& delta = deltas_[DeltaKey{stream.told_.get(), stream.audience_.get(), stream.encoding_,
                                 stream.position_}];
  if (!delta) {
    delta = std::make_unique<SharedDelta>(index_, stream.told_, stream.audience_, encoder_,
                                          stream.encoding_, stream.position_);
    stats_.delta_renders.Add();
    stats_.peers_changed.Add(delta->changed());
    stats_.peers_patched.Add(delta->patched());
    stats_.peers_removed.Add(delta->removed());
  }
  return *delta;
}

void MapServiceImpl::CountCompressions() {
  stats_.compressions.Add(encoder_.compressions() - stats_.compressions.Value());
}

}  // namespace ringscale::control

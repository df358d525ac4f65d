#include "tools/relayd/relay_status.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "core/json/writer.h"

namespace ringscale::relayd {
namespace {

using relay::ShardMetrics;

constexpr core::Duration kInterval = core::Seconds(1);

// What rates are made of.
struct Snapshot {
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_packets = 0;
  std::uint64_t sent_packets = 0;
  std::uint64_t forwarded_in = 0;
  std::uint64_t forwarded_out = 0;
  core::Instant at;

  static Snapshot Of(const RelayTotals& totals, core::Instant now) {
    return {.received_bytes = totals.Sum(&ShardMetrics::bytes_received),
            .sent_bytes = totals.Sum(&ShardMetrics::bytes_sent),
            .received_packets = totals.Sum(&ShardMetrics::packets_received),
            .sent_packets = totals.Sum(&ShardMetrics::packets_sent),
            .forwarded_in = totals.Sum(&ShardMetrics::packets_forwarded_in),
            .forwarded_out = totals.Sum(&ShardMetrics::packets_forwarded_out),
            .at = now};
  }
};

// Ends the interval before; nobody looks at what the shards say.
class Mark final : public relay::ReportSink {
 public:
  void OnShardReport(relay::ShardReport) override {}
};

class Gathering final : public relay::ReportSink, public std::enable_shared_from_this<Gathering> {
 public:
  Gathering(const StatusParts& parts, std::size_t talkers, std::function<void(std::string)> done)
      : parts_(parts),
        talkers_(talkers),
        done_(std::move(done)),
        before_(Snapshot::Of(parts.metrics->totals(), parts.loop->Now())) {}

  void Start() {
    parts_.relay->Report(0, std::make_shared<Mark>());
    parts_.loop->After(kInterval, [self = shared_from_this()] {
      self->missing_ = self->parts_.relay->shard_count();
      if (!self->parts_.relay->Report(self->talkers_, self)) self->Finish();
    });
  }

  void OnShardReport(relay::ShardReport report) override {
    {
      const std::lock_guard lock(mutex_);
      std::ranges::move(report.talkers, std::back_inserter(all_.talkers));
      std::ranges::move(report.links, std::back_inserter(all_.links));
      if (--missing_ != 0) return;
    }
    (void)parts_.loop->Post([self = shared_from_this()] { self->Finish(); });
  }

 private:
  void Finish();
  void WriteRates(core::json::Writer& json, const Snapshot& now) const;
  void WriteMesh(core::json::Writer& json) const;
  void WriteTalkers(core::json::Writer& json, double seconds) const;

  const StatusParts parts_;
  const std::size_t talkers_;
  const std::function<void(std::string)> done_;
  const Snapshot before_;
  std::mutex mutex_;
  std::size_t missing_ = 0;
  relay::ShardReport all_;
};

std::int64_t PerSecond(std::uint64_t before, std::uint64_t after, double seconds) {
  return static_cast<std::int64_t>(static_cast<double>(after - before) / seconds);
}

double SecondsBetween(core::Instant from, core::Instant to) {
  return std::max(static_cast<double>((to - from).ns) * 1e-9, 1e-3);
}

void Gathering::WriteRates(core::json::Writer& json, const Snapshot& now) const {
  const double seconds = SecondsBetween(before_.at, now.at);
  const auto rate = [&](std::string_view name, std::uint64_t Snapshot::* member) {
    json.Field(name, PerSecond(before_.*member, now.*member, seconds));
  };
  json.Key("rates").BeginObject();
  rate("receivedBytes", &Snapshot::received_bytes);
  rate("sentBytes", &Snapshot::sent_bytes);
  rate("receivedPackets", &Snapshot::received_packets);
  rate("sentPackets", &Snapshot::sent_packets);
  rate("forwardedIn", &Snapshot::forwarded_in);
  rate("forwardedOut", &Snapshot::forwarded_out);
  json.EndObject();
}

void Gathering::WriteMesh(core::json::Writer& json) const {
  json.Key("mesh").BeginArray();
  const auto states =
      parts_.mesh == nullptr ? std::vector<MeshDialer::PeerState>() : parts_.mesh->States();
  for (std::size_t i = 0; i < states.size(); ++i) {
    const auto link = std::ranges::find(all_.links, i, &relay::MeshLinkReport::link);
    const bool up = link != all_.links.end();
    json.BeginObject()
        .Field("host", states[i].host)
        .Field("state", states[i].state)
        .Field("key", up ? link->key.text() : std::string())
        .Field("clients", up ? link->clients : 0)
        .Field("sentBytes", up ? link->sent_bytes : 0)
        .EndObject();
  }
  json.EndArray();
}

void Gathering::WriteTalkers(core::json::Writer& json, double seconds) const {
  json.Key("talkers").BeginArray();
  for (const auto& talker : all_.talkers) {
    json.BeginObject()
        .Field("key", talker.key.text())
        .Field("address", talker.remote.text())
        .Field("bytesPerSecond", PerSecond(0, talker.recent_bytes, seconds))
        .Field("receivedBytes", talker.received_bytes)
        .Field("sentBytes", talker.sent_bytes)
        .Field("home", talker.home)
        .Field("meshPeer", talker.mesh_peer)
        .EndObject();
  }
  json.EndArray();
}

void Gathering::Finish() {
  const RelayTotals& totals = parts_.metrics->totals();
  const Snapshot now = Snapshot::Of(totals, parts_.loop->Now());
  std::ranges::sort(all_.talkers, std::greater(), &relay::ClientReport::recent_bytes);
  if (all_.talkers.size() > talkers_) all_.talkers.resize(talkers_);
  std::string text;
  core::json::Writer json(text);
  json.BeginObject();
  json.Field("key", parts_.key.text());
  json.Field("uptimeSeconds", parts_.metrics->uptime().millis() / 1000);
  json.Key("relay")
      .BeginObject()
      .Field("connections", totals.Sum(&ShardMetrics::connections))
      .Field("homeConnections", totals.Sum(&ShardMetrics::home_connections))
      .Field("duplicateConnections", totals.Sum(&ShardMetrics::duplicate_connections))
      .Field("notIdealConnections", totals.Sum(&ShardMetrics::not_ideal_connections))
      .Field("watchers", totals.Sum(&ShardMetrics::watchers))
      .EndObject();
  json.Key("totals")
      .BeginObject()
      .Field("receivedBytes", now.received_bytes)
      .Field("sentBytes", now.sent_bytes)
      .Field("receivedPackets", now.received_packets)
      .Field("sentPackets", now.sent_packets)
      .EndObject();
  WriteRates(json, now);
  json.Key("drops").BeginArray();
  for (std::size_t i = 0; i < relay::kDropReasons; ++i) {
    const auto reason = static_cast<relay::DropReason>(i);
    const std::uint64_t packets = totals.Dropped(reason, relay::PacketKind::kDisco) +
                                  totals.Dropped(reason, relay::PacketKind::kOther);
    if (packets == 0) continue;
    json.BeginObject()
        .Field("reason", relay::DropReasonLabel(reason))
        .Field("packets", packets)
        .EndObject();
  }
  json.EndArray();
  WriteMesh(json);
  WriteTalkers(json, SecondsBetween(before_.at, now.at));
  json.EndObject();
  done_(std::move(text));
}

}  // namespace

void GatherStatus(const StatusParts& parts, std::size_t talkers,
                  std::function<void(std::string)> done) {
  std::make_shared<Gathering>(parts, talkers, std::move(done))->Start();
}

}  // namespace ringscale::relayd

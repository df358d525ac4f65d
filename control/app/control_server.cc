#include "control/app/control_server.h"

#include <utility>

#include "control/app/control_connection.h"

namespace ringscale::control {
namespace {

constexpr core::Duration kSweepInterval = core::Seconds(5);
// So many connections before its turn comes, what a flush reads of one is fetched.
constexpr std::size_t kAhead = 4;

}  // namespace

ControlServer::ControlServer(core::engine::Loop& loop, core::tls::AeadPool& pool, MachineApi& api,
                             const ControlLimits& limits)
    : loop_(loop),
      pool_(pool),
      api_(api),
      limits_(limits),
      alive_(std::make_shared<ControlServer*>(this)) {
  sweep_timer_ = loop_.After(kSweepInterval, [this] { Sweep(); });
}

ControlServer::~ControlServer() {
  loop_.CancelTimer(sweep_timer_);
  CloseAll();
}

void ControlServer::Accept(NoiseClient client) {
  const bool registered = api_.IsRegistered(client.machine_key);
  if (draining_ || connections_.size() >= limits_.connections ||
      (!registered && unregistered_.size() >= limits_.unregistered)) {
    stats_.refused_full.Add();
    return;
  }
  auto info = std::make_shared<MachineConnection>();
  info->id = next_id_++;
  info->machine_key = client.machine_key;
  info->protocol_version = client.protocol_version;
  info->remote = client.remote;
  info->host = std::move(client.host);
  info->https = client.https;

  const auto connection =
      std::make_shared<ControlConnection>(*this, info, std::move(client), registered);
  connections_.emplace(info->id, connection);
  stats_.accepted.Add();
  stats_.connections.Add(1);
  if (const auto oldest = machines_.Add(info->machine_key, info->id, limits_.per_machine)) {
    Evict(*oldest, stats_.evicted_machine);
  }
  if (!registered) {
    const std::size_t limit = info->remote.ip.is_loopback() ? limits_.unregistered_loopback
                                                            : limits_.unregistered_per_source;
    if (const auto oldest = unregistered_.Add(connection->source(), info->id, limit)) {
      Evict(*oldest, stats_.evicted_source);
    }
  }
  connection->Start();
}

void ControlServer::Evict(std::uint64_t id, core::Counter& counter) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  const auto connection = it->second;
  connection->Close(counter);
}

void ControlServer::OnRegistered(ControlConnection& connection) {
  unregistered_.Remove(connection.source(), connection.info().id);
}

void ControlServer::Remove(ControlConnection& connection) {
  const std::uint64_t id = connection.info().id;
  machines_.Remove(connection.info().machine_key, id);
  if (!connection.registered()) unregistered_.Remove(connection.source(), id);
  if (connections_.erase(id) > 0) stats_.connections.Add(-1);
}

// --- output of many connections, in slices ---

void ControlServer::MarkDirty(ControlConnection& connection) {
  if (std::exchange(connection.dirty, true)) return;
  dirty_.push_back(connection.shared_from_this());
  ScheduleFlush();
}

void ControlServer::ScheduleFlush() {
  if (std::exchange(flush_scheduled_, true)) return;
  const auto task = [alive = std::weak_ptr<ControlServer*>(alive_)] {
    if (const auto server = alive.lock()) (*server)->Flush();
  };
  // A full task queue only delays the flush: the timer comes all the same.
  if (!loop_.Post(task)) loop_.After(core::Millis(1), task);
}

void ControlServer::Flush() {
  flush_scheduled_ = false;
  for (std::size_t n = 0; n < limits_.flush_batch && !dirty_.empty(); ++n) {
    if (dirty_.size() > kAhead) dirty_[kAhead]->Prefetch();
    const auto connection = std::move(dirty_.front());
    dirty_.pop_front();
    connection->dirty = false;
    connection->Pump();
  }
  if (!dirty_.empty()) ScheduleFlush();
}

// --- time and end ---

void ControlServer::Sweep() {
  sweep_timer_ = loop_.After(kSweepInterval, [this] { Sweep(); });
  const core::Instant now = loop_.Now();
  for (const auto& connection : All()) connection->Sweep(now);
}

// A copy, because closing one changes the table.
std::vector<std::shared_ptr<ControlConnection>> ControlServer::All() const {
  std::vector<std::shared_ptr<ControlConnection>> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  return all;
}

void ControlServer::BeginDrain() {
  draining_ = true;
  for (const auto& connection : All()) connection->GoAway(stats_.closed_shutdown);
}

void ControlServer::CloseAll() {
  draining_ = true;
  for (const auto& connection : All()) connection->Close(stats_.closed_shutdown);
}

void ControlServer::AddMetrics(core::MetricsRegistry& registry) const {
  using Kind = core::MetricsRegistry::Kind;
  registry.Add("ringscale_control_connections", Kind::kGauge, "Open control connections.", {},
               [this] { return static_cast<double>(stats_.connections.Value()); });
  const auto counter = [&](std::string name, std::string help, core::MetricLabels labels,
                           const core::Counter& value) {
    registry.Add(std::move(name), Kind::kCounter, std::move(help), std::move(labels),
                 [&value] { return static_cast<double>(value.Value()); });
  };
  counter("ringscale_control_accepted_total", "Control connections taken over from the fronts.", {},
          stats_.accepted);
  counter("ringscale_control_requests_total", "Requests inside Noise.", {}, stats_.requests);
  counter("ringscale_control_received_bytes_total", "HTTP/2 bytes received inside Noise.", {},
          stats_.bytes_received);
  counter("ringscale_control_sent_bytes_total", "HTTP/2 bytes sent inside Noise.", {},
          stats_.bytes_sent);
  const auto closed = [&](std::string reason, const core::Counter& value) {
    counter("ringscale_control_closed_total", "Control connections closed, by reason.",
            {{"reason", std::move(reason)}}, value);
  };
  closed("full", stats_.refused_full);
  closed("source_limit", stats_.evicted_source);
  closed("machine_limit", stats_.evicted_machine);
  closed("peer", stats_.closed_by_peer);
  closed("noise", stats_.closed_noise);
  closed("transport", stats_.closed_transport);
  closed("http2", stats_.closed_http2);
  closed("idle", stats_.closed_idle);
  closed("slow", stats_.closed_slow);
  closed("shutdown", stats_.closed_shutdown);
}

}  // namespace ringscale::control

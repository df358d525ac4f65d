#include "tools/serverd/front/front.h"

#include <utility>

#include "tools/serverd/front/front_connection.h"

namespace ringscale::serverd {
namespace {

constexpr core::Duration kLastAccepts = core::Millis(10);
constexpr std::array<const char*, core::tls::kTlsVersions> kTlsLabels = {"none", "1.2", "1.3"};

}  // namespace

// --- answers ---

HttpResponder::HttpResponder(std::shared_ptr<FrontHandle> front, std::uint64_t connection,
                             std::uint64_t request)
    : front_(std::move(front)), connection_(connection), request_(request) {}

HttpResponder::HttpResponder(HttpResponder&& other) noexcept
    : front_(std::exchange(other.front_, nullptr)),
      connection_(other.connection_),
      request_(other.request_) {}

HttpResponder& HttpResponder::operator=(HttpResponder&& other) noexcept {
  if (this == &other) return *this;
  SendNothing();
  front_ = std::exchange(other.front_, nullptr);
  connection_ = other.connection_;
  request_ = other.request_;
  return *this;
}

HttpResponder::~HttpResponder() {
  SendNothing();
}

void HttpResponder::SendNothing() {
  if (front_ != nullptr) Send(core::http::TextResponse(500, "internal server error"));
}

void HttpResponder::Send(core::http::HttpResponse response) {
  const auto handle = std::exchange(front_, nullptr);
  if (handle == nullptr) return;
  if (std::this_thread::get_id() == handle->thread) {
    if (handle->front != nullptr) {
      handle->front->Deliver(connection_, request_, response);
    }
    return;
  }
  const std::lock_guard lock(handle->mutex);
  if (handle->loop == nullptr) return;
  // When the queue is full the connection ends by its deadline.
  (void)handle->loop->Post(
      [handle, connection = connection_, request = request_, answer = std::move(response)] {
        if (handle->front != nullptr) {
          handle->front->Deliver(connection, request, answer);
        }
      });
}

// --- connections ---

Front::Front(core::engine::Loop& loop, FrontShared& shared, const FrontOptions& options,
             FrontHandlers handlers)
    : loop_(loop),
      shared_(shared),
      options_(options),
      handlers_(std::move(handlers)),
      noise_public_(options.noise_key == nullptr
                        ? std::nullopt
                        : std::optional(options.noise_key->PublicAs<core::MachinePublic>())),
      gate_(shared.limits.handshakes),
      heap_trim_(loop, shared.limits.heap_trim,
                 [this] {
                   TrimHeap();
                   stats_.heap_trims.Add();
                 }),
      handle_(std::make_shared<FrontHandle>()) {
  handle_->loop = &loop;
  handle_->front = this;
}

Front::~Front() {
  handle_->front = nullptr;
  {
    const std::lock_guard lock(handle_->mutex);
    handle_->loop = nullptr;
  }
  while (!connections_.empty()) {
    const auto connection = connections_.begin()->second;
    connection->Close(nullptr);
  }
  while (!bridges_.empty()) bridges_.begin()->second->Close();
}

void Front::Listen(int listening_fd) {
  loop_.Listen(listening_fd, [handle = handle_](core::Fd fd, const core::SocketAddress& peer) {
    if (handle->front != nullptr) handle->front->Accept(std::move(fd), peer);
  });
}

void Front::StopListening(int listening_fd) {
  loop_.StopListening(listening_fd);
}

void Front::SetTlsContext(std::shared_ptr<const core::tls::ServerContext> context) {
  tls_context_.store(std::move(context));
}

void Front::SetTrustedProxies(core::net::TrustedProxies proxies) {
  options_.trusted_proxies = std::move(proxies);
}

void Front::Accept(core::Fd fd, const core::SocketAddress& peer) {
  stats_.accepted.Add();
  if (!shared_.accepts.Take(loop_.Now())) {
    stats_.accept_limit.Add();
    return;
  }
  if (shared_.connections.fetch_add(1) >= shared_.most_connections) {
    shared_.connections.fetch_sub(1);
    stats_.full.Add();
    return;
  }
  // Of a proxy's connections the sources are known when their requests are.
  const bool counted = !options_.trusted_proxies.Contains(peer.ip);
  if (counted && !shared_.sources.Acquire(peer.ip)) {
    shared_.connections.fetch_sub(1);
    stats_.source_limit.Add();
    return;
  }
  const std::uint64_t id = next_id_++;
  const auto connection = std::make_shared<FrontConnection>(*this, id, peer, counted);
  connections_.emplace(id, connection);
  stats_.connections.Add(1);
  connection->Start(std::move(fd));
}

void Front::Remove(FrontConnection& connection) {
  EndTurn(connection);
  if (connections_.erase(connection.id()) == 0) return;
  heap_trim_.Count();
  shared_.connections.fetch_sub(1);
  stats_.connections.Add(-1);
  CheckDrained();
}

std::shared_ptr<FrontConnection> Front::Find(std::uint64_t id) const {
  const auto it = connections_.find(id);
  return it == connections_.end() ? nullptr : it->second;
}

void Front::BeginDrain(core::engine::Loop::Task drained) {
  draining_ = true;
  drained_ = std::move(drained);
  std::vector<std::shared_ptr<FrontConnection>> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->Drain();
  // Listeners may deliver until the end of the next turn (Loop::StopListening).
  loop_.After(kLastAccepts, [handle = handle_] {
    if (handle->front == nullptr) return;
    handle->front->accepting_ended_ = true;
    handle->front->CheckDrained();
  });
}

void Front::CheckDrained() {
  if (!accepting_ended_ || !connections_.empty() || !drained_) return;
  std::exchange(drained_, nullptr)();
}

// --- handshakes ---

void Front::WantTurn(FrontConnection& connection, bool takes_place) {
  gate_.Push(connection.id(), takes_place, loop_.Now());
  ScheduleHandshakes(core::Nanos(0));
}

void Front::EndTurn(FrontConnection& connection) {
  gate_.Done(connection.id());
  if (gate_.waiting()) ScheduleHandshakes(core::Nanos(0));
}

void Front::ScheduleHandshakes(core::Duration delay) {
  if (std::exchange(handshakes_scheduled_, true)) return;
  const auto task = [handle = handle_] {
    if (handle->front != nullptr) handle->front->RunHandshakes();
  };
  // As a task of its own: what has arrived meanwhile is seen first, so that the
  // newest can be chosen.
  if (delay > core::Nanos(0) || !loop_.Post(task)) loop_.After(delay, task);
}

void Front::RunHandshakes() {
  // Places are given back by time, too: look again soon when all are taken.
  constexpr core::Duration kLookAgain = core::Millis(100);
  handshakes_scheduled_ = false;
  bool blocked = false;
  for (std::size_t n = 0; n < shared_.limits.handshakes_per_turn && !blocked; ++n) {
    const HandshakeGate::Turn turn = gate_.Next(loop_.Now());
    for (const std::uint64_t id : turn.dropped) {
      if (const auto connection = Find(id)) connection->Close(&stats_.handshake_dropped);
    }
    if (turn.evicted) {
      if (const auto connection = Find(*turn.evicted)) connection->Close(&stats_.handshake_evicted);
    }
    blocked = !turn.next.has_value();
    if (blocked) break;
    if (const auto connection = Find(*turn.next)) connection->RunHandshake();
  }
  if (gate_.waiting()) ScheduleHandshakes(blocked ? kLookAgain : core::Nanos(0));
}

// --- requests ---

HttpResponder Front::MakeResponder(const FrontConnection& connection, std::uint64_t request) {
  return HttpResponder(handle_, connection.id(), request);
}

FrontHandlers::AdmitAnswer Front::MakeAdmitAnswer(const FrontConnection& connection) {
  return [handle = handle_, id = connection.id()](bool allow) {
    const std::lock_guard lock(handle->mutex);
    if (handle->loop == nullptr) return;
    // When the queue is full the connection ends by its deadline.
    (void)handle->loop->Post([handle, id, allow] {
      if (handle->front == nullptr) return;
      if (const auto found = handle->front->Find(id)) found->Admit(allow);
    });
  };
}

core::Result<core::Fd> Front::Bridge(DerpBridge::Client client) {
  const std::uint64_t id = next_id_++;
  const auto bridge = std::make_shared<DerpBridge>(*this, id, std::move(client));
  auto relay_end = bridge->Start();
  if (relay_end) bridges_.emplace(id, bridge);
  return relay_end;
}

std::size_t Front::BodyLimit(const core::http::HttpRequest& head) const {
  return handlers_.body_limit ? handlers_.body_limit(head) : shared_.limits.body_bytes;
}

void Front::Deliver(std::uint64_t connection, std::uint64_t request,
                    const core::http::HttpResponse& response) {
  if (const auto found = Find(connection)) found->Answer(request, response);
}

void Front::AddMetrics(core::MetricsRegistry& registry) const {
  using Kind = core::MetricsRegistry::Kind;
  registry.Add("ringscale_front_connections", Kind::kGauge,
               "Connections that are not handed over (yet).", {},
               [this] { return static_cast<double>(stats_.connections.Value()); });
  const auto counter = [&](std::string name, std::string help, core::MetricLabels labels,
                           const core::Counter& value) {
    registry.Add(std::move(name), Kind::kCounter, std::move(help), std::move(labels),
                 [&value] { return static_cast<double>(value.Value()); });
  };
  counter("ringscale_front_accepted_total", "Connections accepted.", {}, stats_.accepted);
  counter("ringscale_front_heap_trims_total",
          "Times that free memory was given back to the kernel after many connections.", {},
          stats_.heap_trims);
  counter("ringscale_front_requests_total", "Ordinary HTTP requests.", {}, stats_.requests);
  for (std::size_t i = 0; i < kTlsLabels.size(); ++i) {
    registry.Add("ringscale_front_bridges", Kind::kGauge,
                 "Relay clients over WebSocket or TLS 1.2, by TLS version.",
                 {{"tls", kTlsLabels[i]}},
                 [this, i] { return static_cast<double>(stats_.bridges[i].Value()); });
    counter("ringscale_front_tls_requests_total", "HTTP requests and upgrades, by TLS version.",
            {{"tls", kTlsLabels[i]}}, stats_.requests_by_tls[i]);
  }
  counter("ringscale_front_fast_starts_total",
          "Relay clients that logged in one round trip earlier (meta certificate).", {},
          stats_.fast_starts);
  counter("ringscale_front_websocket_accepts_total", "Relay clients that came over WebSocket.", {},
          stats_.websocket_accepts);
  const std::string handed = "ringscale_front_handed_over_total";
  counter(handed, "Connections handed over.", {{"to", "control"}}, stats_.handed_to_control);
  counter(handed, "Connections handed over.", {{"to", "relay"}}, stats_.handed_to_relay);
  const auto ended = [&](std::string reason, const core::Counter& value) {
    counter("ringscale_front_closed_total", "Connections refused or closed, by reason.",
            {{"reason", std::move(reason)}}, value);
  };
  ended("full", stats_.full);
  ended("accept_limit", stats_.accept_limit);
  ended("source_limit", stats_.source_limit);
  ended("first_byte_late", stats_.first_byte_late);
  ended("head_late", stats_.head_late);
  ended("preface_late", stats_.preface_late);
  ended("answer_late", stats_.answer_late);
  ended("reader_stalled", stats_.reader_stalled);
  ended("keep_alive_over", stats_.keep_alive_over);
  ended("no_certificate", stats_.no_certificate);
  ended("tls_failed", stats_.tls_failed);
  ended("handshake_dropped", stats_.handshake_dropped);
  ended("handshake_evicted", stats_.handshake_evicted);
  ended("bad_request", stats_.bad_request);
  ended("noise_failed", stats_.noise_failed);
  ended("derp_refused", stats_.derp_refused);
  ended("derp_failed", stats_.derp_failed);
  ended("handover_failed", stats_.handover_failed);
  ended("bridges_full", stats_.bridges_full);
  ended("bridge_stalled", stats_.bridge_stalled);
}

}  // namespace ringscale::serverd

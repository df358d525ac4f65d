// The front door: accepts connections on a front thread, tells TLS from plain
// HTTP by the first byte, does TLS handshakes, HTTP/1.1 heads, Noise handshakes
// and DERP logins, and hands each connection on: to control, to a relay shard, or
// to a handler of ordinary requests.
//
// One Front per front thread, on its loop; FrontShared is one per process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "control/app/ports.h"
#include "core/crypto/keys.h"
#include "core/engine/loop.h"
#include "core/http/h1_request.h"
#include "core/http/h1_response.h"
#include "core/net/trusted_proxies.h"
#include "core/obs/metrics.h"
#include "core/tls/aead.h"
#include "core/tls/handshake.h"
#include "relay/app/ports.h"
#include "relay/login/server_login.h"
#include "tools/serverd/front/accept_rate.h"
#include "tools/serverd/front/derp_bridge.h"
#include "tools/serverd/front/front_stats.h"
#include "tools/serverd/front/handshake_gate.h"
#include "tools/serverd/front/heap_trim.h"
#include "tools/serverd/front/source_limits.h"

namespace ringscale::serverd {

class Front;
class FrontConnection;

// How answers find back to a front that may be gone by then.
struct FrontHandle {
  std::mutex mutex;
  core::engine::Loop* loop = nullptr;  // under the mutex; null once the front is gone
  Front* front = nullptr;              // on the loop's thread; null likewise
  const std::thread::id thread = std::this_thread::get_id();
};

// An ordinary request, complete with its body.
struct FrontRequest {
  core::http::HttpRequest http;
  core::SocketAddress remote;  // after trusted proxies
  std::string host;            // as the client wrote it, valid; may be empty (HTTP/1.0)
  bool https = false;          // scheme the client used
  // From this machine itself, and nobody untrusted claims otherwise.
  bool local = false;
};

// Answers one ordinary request, from any thread, at most once; 500 when it is
// destroyed without an answer. The connection may be gone by then.
class HttpResponder {
 public:
  HttpResponder(std::shared_ptr<FrontHandle> front, std::uint64_t connection,
                std::uint64_t request);
  HttpResponder(HttpResponder&& other) noexcept;
  HttpResponder& operator=(HttpResponder&& other) noexcept;
  HttpResponder(const HttpResponder&) = delete;
  HttpResponder& operator=(const HttpResponder&) = delete;
  ~HttpResponder();

  void Send(core::http::HttpResponse response);

 private:
  void SendNothing();

  std::shared_ptr<FrontHandle> front_;  // null: answered
  std::uint64_t connection_;
  std::uint64_t request_;
};

// What the composition root does with what comes in. Called on front threads.
struct FrontHandlers {
  // Every path that the front does not answer itself.
  std::function<void(FrontRequest, HttpResponder)> handle;
  // The largest body that a request with this head may bring. Null: 64 KiB.
  std::function<std::size_t(const core::http::HttpRequest& head)> body_limit;
  // Each returns false when it could not take the client (its queue is full); the
  // client is closed then.
  std::function<bool(control::NoiseClient)> to_control;
  std::function<bool(relay::LoggedInClient)> to_relay;
  // Decides about a relay client where the login context asks. The answer may come
  // from any thread, once; without one the client's login deadline ends it.
  using AdmitAnswer = std::move_only_function<void(bool allow)>;
  std::function<void(const core::NodePublic&, const core::SocketAddress&, AdmitAnswer)> admit;
};

struct FrontLimits {
  std::size_t connections = 16384;  // not handed over, of all fronts
  std::size_t bridges = 4096;       // relay clients over WebSocket or TLS 1.2, of all fronts
  SourceLimits::Limits sources;
  HandshakeGate::Limits handshakes;
  HeapTrim::Limits heap_trim;
  std::size_t handshakes_per_turn = 4;
  // Connections accepted per second, of all fronts together; beyond it they are
  // closed at once. 0: any number.
  double accepts_per_second = 0;
  double accept_burst = 0;
  core::Duration first_byte = core::Seconds(5);
  core::Duration head = core::Seconds(10);     // TLS and the HTTP head, from the first byte
  core::Duration preface = core::Seconds(10);  // from the upgrade to what authenticates
  core::Duration body = core::Seconds(30);
  core::Duration answer = core::Seconds(60);  // for a handler to answer
  core::Duration keep_alive = core::Seconds(60);
  std::size_t body_bytes = 64 << 10;  // where FrontHandlers::body_limit is null
  std::size_t pipelined_bytes = 64 << 10;
};

// What all fronts of a process share. Thread-safe.
struct FrontShared {
  explicit FrontShared(const FrontLimits& front_limits)
      : limits(front_limits),
        sources(front_limits.sources),
        accepts(front_limits.accepts_per_second, front_limits.accept_burst),
        most_connections(front_limits.connections) {}

  const FrontLimits limits;  // as they were at first
  SourceLimits sources;
  AcceptRate accepts;
  std::atomic<std::size_t> most_connections;
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> bridges{0};
};

struct FrontOptions {
  const core::PrivateKey* noise_key = nullptr;  // null: no control plane here
  core::net::TrustedProxies trusted_proxies;
  const relay::LoginContext* relay = nullptr;  // null: no relay here
  bool derp_allow_plain = false;
  bool derp_paths = true;  // false: /derp and the probes go to the handler
  BridgeOptions bridge;
};

class Front {
 public:
  // On the loop's thread, as everything here except where said. All arguments by
  // reference, and what the options point to, must outlive the front.
  Front(core::engine::Loop& loop, FrontShared& shared, const FrontOptions& options,
        FrontHandlers handlers);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  // Accepts from a listening socket, until StopListening. Several fronts may
  // share one.
  void Listen(int listening_fd);
  void StopListening(int listening_fd);
  void Accept(core::Fd fd, const core::SocketAddress& peer);

  // The certificate of handshakes that begin from now on; null: none. Any thread.
  void SetTlsContext(std::shared_ptr<const core::tls::ServerContext> context);

  // What a reload of the configuration changes, for connections and requests to come.
  void SetTrustedProxies(core::net::TrustedProxies proxies);
  void SetDerpAllowPlain(bool allow) { options_.derp_allow_plain = allow; }
  void SetHandshakesInProgress(std::size_t most) { gate_.SetInProgress(most); }

  // Closes what is idle between requests and, after their answers, what is not; new
  // connections still get one answer, so that none is reset that the kernel had
  // accepted for us. `drained` runs once no connection is left and none can come
  // any more. After StopListening.
  void BeginDrain(core::engine::Loop::Task drained);

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }
  [[nodiscard]] const FrontStats& stats() const { return stats_; }
  // The same, for whoever may outlive the front.
  [[nodiscard]] std::shared_ptr<const FrontStats> shared_stats() const { return shared_stats_; }
  // Samples ringscale_front_...; those of several fronts add up.
  void AddMetrics(core::MetricsRegistry& registry) const;

 private:
  friend class FrontConnection;
  friend class DerpBridge;
  friend class HttpResponder;

  // --- for connections ---
  void WantTurn(FrontConnection& connection, bool takes_place);
  void EndTurn(FrontConnection& connection);
  void Remove(FrontConnection& connection);
  FrontHandlers::AdmitAnswer MakeAdmitAnswer(const FrontConnection& connection);
  // The descriptor for the shard.
  core::Result<core::Fd> Bridge(DerpBridge::Client client);
  HttpResponder MakeResponder(const FrontConnection& connection, std::uint64_t request);
  [[nodiscard]] std::size_t BodyLimit(const core::http::HttpRequest& head) const;

  void CheckDrained();
  void RunHandshakes();
  void ScheduleHandshakes(core::Duration delay);
  void Deliver(std::uint64_t connection, std::uint64_t request,
               const core::http::HttpResponse& response);
  std::shared_ptr<FrontConnection> Find(std::uint64_t id) const;

  core::engine::Loop& loop_;
  FrontShared& shared_;
  FrontOptions options_;
  const FrontHandlers handlers_;
  const std::optional<core::MachinePublic> noise_public_;
  std::atomic<std::shared_ptr<const core::tls::ServerContext>> tls_context_;
  core::tls::AeadPool pool_;
  const std::shared_ptr<FrontStats> shared_stats_ = std::make_shared<FrontStats>();
  FrontStats& stats_ = *shared_stats_;
  HandshakeGate gate_;
  HeapTrim heap_trim_;
  bool handshakes_scheduled_ = false;
  bool draining_ = false;
  bool accepting_ended_ = false;  // while draining: nothing more comes from the listeners
  core::engine::Loop::Task drained_;
  std::unordered_map<std::uint64_t, std::shared_ptr<FrontConnection>> connections_;
  std::unordered_map<std::uint64_t, std::shared_ptr<DerpBridge>> bridges_;
  std::uint64_t next_id_ = 1;
  const std::shared_ptr<FrontHandle> handle_;
};

}  // namespace ringscale::serverd

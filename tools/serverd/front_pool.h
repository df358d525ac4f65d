// The front threads of a process: a Front each for the sockets of clients, and on
// the first of them side doors, fronts that serve something else (metrics, port 80).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/engine/loop_thread.h"
#include "core/obs/metrics.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {

// Used by the thread that starts and stops the process, except where said.
class FrontPool {
 public:
  explicit FrontPool(const FrontLimits& limits) : shared_(limits) {}
  ~FrontPool();
  FrontPool(const FrontPool&) = delete;
  FrontPool& operator=(const FrontPool&) = delete;

  // `count` threads; 0 = one per core that the process may use. What the options
  // point to outlives the pool.
  core::Result<> Start(std::size_t count, const FrontOptions& options,
                       const FrontHandlers& handlers, core::MetricsRegistry& metrics);
  // All fronts accept from these from now on.
  void Listen(std::vector<int> sockets);
  // One more front on the first thread, for one socket, with limits of its own.
  void AddSideDoor(int socket, const FrontLimits& limits, const FrontOptions& options,
                   const FrontHandlers& handlers);

  // The certificate of handshakes that begin from now on. Any thread, at any time.
  void SetTlsContext(std::shared_ptr<const core::tls::ServerContext> context);
  [[nodiscard]] std::shared_ptr<const core::tls::ServerContext> tls_context() const;

  // Grows as fronts start (side doors are not in it).
  [[nodiscard]] const std::shared_ptr<FrontTotals>& totals() const { return totals_; }

  // What a reload of the configuration changes, for connections and requests to come:
  // of the limits connections, handshakes in progress and connections per source.
  void Reconfigure(const FrontLimits& limits, const core::net::TrustedProxies& proxies,
                   bool derp_allow_plain);

  // Stops accepting and waits until what was accepted is answered, up to `limit`.
  void Drain(core::Duration limit);
  // Ends the fronts; their threads' loops go on to take tasks until Join.
  void Stop();
  void Join();

 private:
  struct FrontThread {
    std::unique_ptr<core::engine::LoopThread> thread;
    std::unique_ptr<Front> front;
  };
  struct SideDoor {
    std::unique_ptr<FrontShared> shared;
    std::unique_ptr<Front> front;
    int socket = -1;
  };

  FrontShared shared_;
  const std::shared_ptr<FrontTotals> totals_ = std::make_shared<FrontTotals>();
  std::vector<int> sockets_;
  std::vector<FrontThread> fronts_;
  std::vector<SideDoor> side_doors_;
  mutable std::mutex certificate_mutex_;
  std::shared_ptr<const core::tls::ServerContext> certificate_;
};

}  // namespace ringscale::serverd

#include "tools/serverd/front_pool.h"

#include <chrono>
#include <condition_variable>
#include <utility>

#include "core/engine/topology.h"
#include "tools/serverd/run_on.h"

namespace ringscale::serverd {
namespace {

constexpr int kFrontNice = 10;

}  // namespace

FrontPool::~FrontPool() {
  Stop();
  Join();
}

core::Result<> FrontPool::Start(std::size_t count, const FrontOptions& options,
                                const FrontHandlers& handlers, core::MetricsRegistry& metrics) {
  if (count == 0) count = core::engine::DetectTopology().WorkerCount();
  for (std::size_t i = 0; i < count; ++i) {
    core::engine::LoopThreadOptions thread_options;
    thread_options.loop.name = "front-" + std::to_string(i);
    thread_options.nice = kFrontNice;
    auto thread = core::engine::LoopThread::Start(std::move(thread_options));
    if (!thread) return core::Forward(thread);
    std::unique_ptr<Front> front;
    auto& loop = (*thread)->loop();
    RunOn(loop, [&] {
      front = std::make_unique<Front>(loop, shared_, options, handlers);
      front->AddMetrics(metrics);
      totals_->Add(front->shared_stats());
    });
    const std::lock_guard lock(certificate_mutex_);
    front->SetTlsContext(certificate_);
    fronts_.push_back({.thread = std::move(*thread), .front = std::move(front)});
  }
  return {};
}

void FrontPool::Listen(std::vector<int> sockets) {
  sockets_ = std::move(sockets);
  for (auto& front : fronts_) {
    RunOn(front.thread->loop(), [&] {
      for (const int socket : sockets_) front.front->Listen(socket);
    });
  }
}

void FrontPool::AddSideDoor(int socket, const FrontLimits& limits, const FrontOptions& options,
                            const FrontHandlers& handlers) {
  SideDoor door{
      .shared = std::make_unique<FrontShared>(limits), .front = nullptr, .socket = socket};
  auto& loop = fronts_.front().thread->loop();
  RunOn(loop, [&] {
    door.front = std::make_unique<Front>(loop, *door.shared, options, handlers);
    door.front->Listen(socket);
  });
  side_doors_.push_back(std::move(door));
}

void FrontPool::SetTlsContext(std::shared_ptr<const core::tls::ServerContext> context) {
  const std::lock_guard lock(certificate_mutex_);
  certificate_ = std::move(context);
  for (auto& front : fronts_) {
    if (front.front) front.front->SetTlsContext(certificate_);
  }
}

std::shared_ptr<const core::tls::ServerContext> FrontPool::tls_context() const {
  const std::lock_guard lock(certificate_mutex_);
  return certificate_;
}

void FrontPool::Reconfigure(const FrontLimits& limits, const core::net::TrustedProxies& proxies,
                            bool derp_allow_plain) {
  shared_.most_connections = limits.connections;
  shared_.sources.SetPerSource(limits.sources.per_source);
  for (auto& front : fronts_) {
    RunOn(front.thread->loop(), [&] {
      front.front->SetTrustedProxies(proxies);
      front.front->SetDerpAllowPlain(derp_allow_plain);
      front.front->SetHandshakesInProgress(limits.handshakes.in_progress);
    });
  }
  for (SideDoor& door : side_doors_) {
    RunOn(fronts_.front().thread->loop(), [&] { door.front->SetTrustedProxies(proxies); });
  }
}

// What the kernel has accepted for us is answered before anything else stops.
void FrontPool::Drain(core::Duration limit) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable done;
    std::size_t left = 0;
  };
  const auto waiting = std::make_shared<Waiting>();
  for (auto& front : fronts_) {
    RunOn(front.thread->loop(), [&] {
      if (!front.front) return;
      for (const int socket : sockets_) front.front->StopListening(socket);
      {
        const std::lock_guard lock(waiting->mutex);
        ++waiting->left;
      }
      front.front->BeginDrain([waiting] {
        const std::lock_guard lock(waiting->mutex);
        --waiting->left;
        waiting->done.notify_one();
      });
    });
  }
  for (SideDoor& door : side_doors_) {
    RunOn(fronts_.front().thread->loop(), [&] {
      door.front->StopListening(door.socket);
      door.front.reset();
    });
  }
  side_doors_.clear();
  std::unique_lock lock(waiting->mutex);
  waiting->done.wait_for(lock, std::chrono::milliseconds(limit.millis()),
                         [&] { return waiting->left == 0; });
}

void FrontPool::Stop() {
  for (SideDoor& door : side_doors_) {
    RunOn(fronts_.front().thread->loop(), [&] { door.front.reset(); });
  }
  side_doors_.clear();
  for (auto& front : fronts_) {
    RunOn(front.thread->loop(), [&] {
      const std::lock_guard lock(certificate_mutex_);
      front.front.reset();
    });
    front.thread->Stop();
  }
}

void FrontPool::Join() {
  for (auto& front : fronts_) front.thread->Join();
}

}  // namespace ringscale::serverd

#include "tools/serverd/process_events.h"

#include <signal.h>

#include <cstdint>
#include <utility>

#include "core/engine/core_dumps.h"
#include "core/engine/topology.h"
#include "core/obs/log.h"

namespace ringscale::serverd {
namespace {

constexpr std::uint64_t kFilesWanted = 65536;

}  // namespace

core::Result<> ProcessEvents::Start() {
  auto signals = core::engine::SignalWatcher::Start({SIGTERM, SIGINT, SIGHUP}, [this](int signal) {
    Push(signal == SIGHUP ? Event::kReload : Event::kStop);
  });
  if (!signals) return core::Forward(signals);
  signals_ = std::move(*signals);
  return {};
}

void ProcessEvents::Push(Event event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
  ready_.notify_one();
}

void ProcessEvents::Wait(const std::function<void()>& reload) {
  while (true) {
    Event event{};
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return !events_.empty(); });
      event = events_.front();
      events_.pop_front();
    }
    if (event == Event::kStop) return;
    reload();
  }
}

core::Result<> PrepareProcess(const char* component, bool core_dumps) {
  core::engine::IgnoreBrokenPipes();
  if (const auto files = core::engine::RaiseFileLimit(); files && *files < kFilesWanted) {
    core::LogWarn(component,
                  "few file descriptors: each client needs one (ulimit -n, LimitNOFILE=)",
                  {{"limit", *files}});
  }
  return core_dumps ? core::Result<>() : core::engine::ForbidCoreDumps();
}

}  // namespace ringscale::serverd

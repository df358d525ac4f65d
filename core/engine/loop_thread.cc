#include "core/engine/loop_thread.h"

#include <future>
#include <thread>
#include <utility>

#include "core/engine/ring_loop.h"
#include "core/engine/topology.h"
#include "core/obs/log.h"

namespace ringscale::core::engine {

struct LoopThread::Shared {
  std::unique_ptr<ReleasableLoop> loop;
  std::thread thread;
};

namespace {

using Created = Result<std::unique_ptr<ReleasableLoop>>;

void RunThread(const LoopThreadOptions& options, std::promise<Created> started) {
  SetThreadName(options.loop.name);
  // Neither is worth refusing service: the thread works, only less well placed.
  for (const Result<>& placed : {options.nice == 0 ? Result<>() : SetThreadNice(options.nice),
                                 options.core ? PinThread(*options.core) : Result<>()}) {
    if (!placed) {
      LogWarn("engine", "thread not placed as wished",
              {{"thread", options.loop.name}, {"error", placed.error().message}});
    }
  }
  auto created = CreateReleasableLoop(options.loop);
  if (!created) {
    started.set_value(std::move(created));
    return;
  }
  ReleasableLoop& loop = **created;
  started.set_value(std::move(created));
  loop.Run();
  loop.Release();
}

}  // namespace

Result<std::unique_ptr<LoopThread>> LoopThread::Start(LoopThreadOptions options) {
  auto shared = std::make_unique<Shared>();
  std::promise<Created> started;
  auto outcome = started.get_future();
  shared->thread =
      std::thread([options = std::move(options), started = std::move(started)]() mutable {
        RunThread(options, std::move(started));
      });
  auto loop = outcome.get();
  if (!loop) {
    shared->thread.join();
    return Forward(loop);
  }
  shared->loop = std::move(*loop);
  return std::unique_ptr<LoopThread>(new LoopThread(std::move(shared)));
}

LoopThread::LoopThread(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

LoopThread::~LoopThread() {
  Join();
}

Loop& LoopThread::loop() const {
  return *shared_->loop;
}

void LoopThread::Stop() {
  shared_->loop->Stop();
}

void LoopThread::Join() {
  if (!shared_->thread.joinable()) return;
  shared_->loop->Stop();
  shared_->thread.join();
}

}  // namespace ringscale::core::engine

#include "core/engine/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <thread>
#include <utility>

#include "core/base/fd.h"
#include "core/engine/topology.h"

namespace ringscale::core::engine {

struct SignalWatcher::Shared {
  Fd signals;
  Fd stop;
  Callback callback;
  std::thread thread;

  void Run() {
    SetThreadName("signals");
    std::array<pollfd, 2> watched{{{signals.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}}};
    for (;;) {
      if (poll(watched.data(), watched.size(), -1) < 0) continue;
      if (watched[1].revents != 0) return;
      signalfd_siginfo info{};
      if (read(signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        callback(static_cast<int>(info.ssi_signo));
      }
    }
  }
};

void IgnoreBrokenPipes() {
  signal(SIGPIPE, SIG_IGN);
}

Result<std::unique_ptr<SignalWatcher>> SignalWatcher::Start(const std::vector<int>& signals,
                                                            Callback callback) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (error != 0) return FailErrno("blocking signals", error);
  auto shared = std::make_unique<Shared>();
  shared->signals = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!shared->signals.valid()) return FailErrno("signalfd", errno);
  shared->stop = Fd(eventfd(0, EFD_CLOEXEC));
  if (!shared->stop.valid()) return FailErrno("eventfd", errno);
  shared->callback = std::move(callback);
  shared->thread = std::thread([raw = shared.get()] { raw->Run(); });
  return std::unique_ptr<SignalWatcher>(new SignalWatcher(std::move(shared)));
}

SignalWatcher::SignalWatcher(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  while (write(shared_->stop.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  shared_->thread.join();
}

}  // namespace ringscale::core::engine

#include "bench/lib/relay_latency.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "bench/lib/derp_socket.h"
#include "bench/lib/pacer.h"
#include "bench/lib/packet_stream.h"

namespace ringscale::bench {

struct LatencyProbe::State {
  State(const LatencyOptions& given, bool tls)
      : options(given), scratch(PacketWireBytes(given.packet_bytes, tls)) {}

  LatencyOptions options;
  SocketScratch scratch;
  std::unique_ptr<DerpSocket> sender;
  std::unique_ptr<DerpSocket> receiver;
  core::Fd epoll;
  core::Instant began;
  std::atomic<bool> stop{false};
  std::thread thread;

  std::mutex mutex;  // guards what follows; taken once a turn of the thread
  LatencyResult result;

  // The thread's own.
  StreamCheck check{1};
  Histogram window;
  core::Instant window_end;

  void Run();
  void CloseWindow(core::Instant now);
  void Receive();
};

void LatencyProbe::State::CloseWindow(core::Instant now) {
  if (window.count() != 0) {
    result.series.push_back({.seconds = (window_end - began).seconds(),
                             .p50 = window.Quantile(0.5),
                             .max = window.max()});
  }
  window = {};
  while (window_end <= now) window_end = window_end + options.window;
}

void LatencyProbe::State::Receive() {
  const std::uint64_t wrong = check.corrupt() + check.misplaced();
  (void)receiver->Receive(scratch, [&](const relay::FrameView& frame) {
    if (frame.type != relay::FrameType::kRecvPacket) return;
    const auto seen = check.Check(frame.payload().subspan(relay::kKeyBytes));
    if (!seen.good) return;
    const core::Duration delay = core::MonotonicNow() - seen.sent;
    result.delays.Add(delay);
    window.Add(delay);
    ++result.received;
  });
  result.wrong += check.corrupt() + check.misplaced() - wrong;
}

void LatencyProbe::State::Run() {
  prctl(PR_SET_TIMERSLACK, 1);
  bool realtime = false;
  if (options.realtime) {
    const sched_param priority{.sched_priority = 10};
    realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
  }
  Pacer pacer(options.bits_per_second / 8 / static_cast<double>(options.packet_bytes), 1, began);
  window_end = began + options.window;
  std::uint64_t sequence = 0;
  epoll_event events[4];
  while (!stop.load(std::memory_order_relaxed)) {
    core::Instant now = core::MonotonicNow();
    const core::Duration wait =
        sender->blocked() ? core::Millis(1)
                          : std::clamp(pacer.Next() - now, core::Duration{}, core::Millis(5));
    const timespec limit{.tv_sec = 0, .tv_nsec = wait.ns};
    const int count = epoll_pwait2(epoll.get(), events, 4, &limit, nullptr);
    const std::lock_guard lock(mutex);
    result.realtime = realtime;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 1) {
        Receive();
      } else {
        if (sender->blocked()) (void)sender->Resume();
        while (sender->Receive(scratch, [](const relay::FrameView&) {}) == DerpSocket::Io::kOk) {
        }
      }
    }
    now = core::MonotonicNow();
    if (now >= window_end) CloseWindow(now);
    while (pacer.Due(now) > 0 && !sender->blocked()) {
      const core::Instant meant = pacer.Next();
      pacer.Take();
      AppendPacket(*sender, scratch, receiver->key(), options.packet_bytes,
                   [&](core::MutableBytes packet) { WritePacket(packet, 1, sequence, meant); });
      ++sequence;
      ++result.sent;
      (void)sender->Flush(scratch);
    }
  }
}

core::Result<std::unique_ptr<LatencyProbe>> LatencyProbe::Start(const RelayTarget& target,
                                                                const LatencyOptions& options) {
  auto tls = MakeBenchTlsContext(options.cipher_suites);
  if (!tls) return core::Forward(tls);
  auto state = std::make_unique<State>(options, target.tls);
  for (auto* socket : {&state->receiver, &state->sender}) {
    auto connected = DerpSocket::Connect(target, *tls, state->scratch);
    if (!connected) return core::Forward(connected);
    *socket = std::move(*connected);
  }
  state->epoll = core::Fd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 1;
  epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, state->receiver->fd(), &event);
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.u64 = 2;
  epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, state->sender->fd(), &event);
  state->began = core::MonotonicNow();
  state->thread = std::thread([&state = *state] { state.Run(); });
  return std::unique_ptr<LatencyProbe>(new LatencyProbe(std::move(state)));
}

LatencyProbe::LatencyProbe(std::unique_ptr<State> state) : state_(std::move(state)) {}

LatencyProbe::~LatencyProbe() {
  state_->stop.store(true, std::memory_order_relaxed);
  state_->thread.join();
}

LatencyResult LatencyProbe::Cut() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->result, {});
}

double LatencyProbe::seconds() const {
  return (core::MonotonicNow() - state_->began).seconds();
}

}  // namespace ringscale::bench

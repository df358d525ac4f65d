// What the kernel alone takes to tell many streams of one change: the floor under the
// figures of `ringscale-bench control`, on the machine where it runs.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "core/engine/topology.h"
#include "core/io/uring_ring.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"

namespace ringscale::bench {
namespace {

constexpr std::uint8_t kReceive = 1;
constexpr std::uint8_t kSend = 2;
// As long as a change to an endpoint is on the wire.
constexpr std::size_t kTelling = 111;
// Between changes caches go cold, as they do in a server that waits for one.
constexpr std::chrono::milliseconds kPause(100);

// Takes what comes on all of its sockets, on the machine's other core.
class Receivers {
 public:
  Receivers(std::vector<core::Fd> sockets, int core)
      : thread_([this, core, sockets = std::move(sockets)] { Run(sockets, core); }) {
    started_.wait();
  }
  ~Receivers() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Run(const std::vector<core::Fd>& sockets, int core) {
    (void)core::engine::PinThread(core);
    auto ring = core::io::UringRing::Create({});
    std::array<core::io::Completion, 256> done;
    for (std::uint32_t i = 0; ring && i < sockets.size(); ++i) {
      (*ring)->ReceiveMultishot(sockets[i].get(), core::io::Token(kReceive, i, 0));
    }
    // Nothing comes yet: this starts the receives.
    if (ring) (*ring)->Turn(done, {});
    started_.count_down();
    while (ring && !stop_) {
      const std::size_t count = (*ring)->Turn(done, core::Millis(20));
      for (std::size_t i = 0; i < count; ++i) {
        const auto& one = done[i];
        if (one.has_buffer) (*ring)->ReturnBuffer(one.buffer_id);
        if (!one.more) (*ring)->ReceiveMultishot(sockets[one.token.slot()].get(), one.token);
      }
    }
  }

  std::latch started_{1};
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

void LoopbackSends(benchmark::State& state) {
  // Asked once: the first run pins this thread.
  static const std::vector<int> cores = core::engine::DetectTopology().cores;
  auto listener = core::net::OpenTcpListener(*core::net::ParseListenAddress("127.0.0.1:0"));
  auto ring = core::io::UringRing::Create({});
  if (!listener || !ring || cores.size() < 2)
    return state.SkipWithError("needs two cores and rings");
  sockaddr_storage to{};
  const socklen_t length = core::net::LocalAddress(listener->get()).ToNative(to, false);
  std::vector<core::Fd> near;
  std::vector<core::Fd> far;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    core::Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) {
      return state.SkipWithError("cannot connect");
    }
    far.push_back(std::move(client));
    near.emplace_back(accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  (void)core::engine::PinThread(cores.front());
  const Receivers receivers(std::move(far), cores.back());

  std::string telling(kTelling, 'x');
  const iovec bytes{.iov_base = telling.data(), .iov_len = telling.size()};
  std::array<core::io::Completion, 256> done;
  for (auto _ : state) {
    std::this_thread::sleep_for(kPause);
    for (std::uint32_t i = 0; i < near.size(); ++i) {
      (*ring)->Send(near[i].get(), &bytes, 1, core::io::Token(kSend, i, 0));
    }
    for (std::size_t sent = 0; sent < near.size();) sent += (*ring)->Turn(done, core::Seconds(1));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(LoopbackSends)->Arg(199)->Arg(599)->Iterations(60)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ringscale::bench

// A whole connection of the control plane, stateful: a client that has done the
// Noise handshake sends what the input says, while answers come, sources wake,
// sockets stall and time passes.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/app/control_server.h"
#include "tests/fuzz/accepted.h"
#include "tests/support/fake_loop.h"
#include "tests/support/h2_client.h"

namespace {

using namespace ringscale;  // NOLINT

class Source final : public core::http::BodySource {
 public:
  Source(std::set<core::http::BodyWaker*>& wakers, core::http::BodyWaker& waker)
      : wakers_(wakers), waker_(waker) {
    wakers_.insert(&waker_);
  }
  ~Source() override { wakers_.erase(&waker_); }
  Status Pull(std::size_t limit, core::SliceList& out) override {
    if (++pulls_ % 3 == 0) return Status::kWait;
    out.push_back(core::SharedSlice::Own(std::string(std::min<std::size_t>(limit, 9000), 'm')));
    return pulls_ > 40 ? Status::kEnd : Status::kMore;
  }

 private:
  std::set<core::http::BodyWaker*>& wakers_;
  core::http::BodyWaker& waker_;
  int pulls_ = 0;
};

class Api final : public control::MachineApi {
 public:
  [[nodiscard]] bool IsRegistered(const core::MachinePublic&) const override { return registered; }
  void Register(control::MachineRequest request, control::Responder responder) override {
    ringscale::fuzz::Accepted();
    if (request.body.size() > (1 << 20)) std::abort();
    if (request.body.size() % 2 == 0) {
      responder.Json(request.body);
      return;
    }
    responder.OnGone([this] { ++gone; });
    if (held.size() < 100) held.push_back(std::move(responder));
  }
  void Map(control::MachineRequest, control::Responder responder) override {
    responder.Stream(200, "", [this](core::http::BodyWaker& waker) {
      return std::make_unique<Source>(wakers, waker);
    });
  }

  bool registered = false;
  std::vector<control::Responder> held;
  std::set<core::http::BodyWaker*> wakers;  // of the sources that live
  int gone = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The transport keys of a handshake that is done.
  std::array<std::uint8_t, 32> up{};
  std::array<std::uint8_t, 32> down{};
  up.fill(1);
  down.fill(2);
  static core::tls::AeadPool pool(core::tls::AeadPool::Engine::kOpenSsl);

  FuzzedDataProvider input(data, size);
  testing::FakeLoop loop;
  Api api;
  control::ControlLimits limits;
  limits.http2.streams = 8;
  limits.unregistered_per_source = 2;
  {
    control::ControlServer server(loop, pool, api, limits);
    control::noise::Session client(down, up);
    const std::uint16_t version = input.ConsumeBool() ? 142 : 100;
    testing::H2Client http(input.ConsumeBool() ? 65535 : 1 << 20);
    api.registered = input.ConsumeBool();
    server.Accept(control::NoiseClient{.fd = core::Fd(),
                                       .remote = {core::IpAddress::V4(0xc0000201), 1},
                                       .session = control::noise::Session(up, down),
                                       .machine_key = core::MachinePublic{up},
                                       .protocol_version = version,
                                       .plaintext = input.ConsumeBool() ? http.TakeOutput() : "x"});
    const auto stream = loop.last_stream();
    const auto seal = [&](std::string_view text) {
      std::string wire;
      const std::array<std::string_view, 1> pieces{text};
      if (!client.Seal(pieces, wire)) std::abort();
      return wire;
    };
    while (input.remaining_bytes() > 0 && loop.IsOpen(stream)) {
      switch (input.ConsumeIntegralInRange(0, 13)) {
        case 0:
          for (core::http::BodyWaker* waker : std::set(api.wakers)) waker->Wake();
          break;
        case 1:
          if (!api.held.empty()) {
            api.held.front().Json("{}");
            api.held.erase(api.held.begin());
          }
          break;
        case 2:
          loop.hold_sends = !loop.hold_sends;
          break;
        case 3:
          loop.Advance(core::Seconds(input.ConsumeIntegralInRange(0, 20)));
          break;
        case 4:
          api.registered = !api.registered;
          break;
        case 5: {
          // A proper request of the fuzz-chosen kind.
          static constexpr std::array<const char*, 4> kPaths{
              "/machine/register", "/machine/map", "/machine/tka/sign", "/machine/whoami"};
          http.Request(input.ConsumeBool() ? "POST" : "GET",
                       kPaths[input.ConsumeIntegralInRange<std::size_t>(0, 3)],
                       input.ConsumeRandomLengthString(300), {}, input.ConsumeBool());
          loop.Arrive(stream, seal(http.TakeOutput()));
          break;
        }
        case 6: {
          std::string wire = seal(input.ConsumeRandomLengthString(100));
          if (!wire.empty()) {
            wire[input.ConsumeIntegralInRange<std::size_t>(0, wire.size() - 1)] ^= 1;
          }
          loop.Arrive(stream, wire);
          break;
        }
        case 7:
          loop.Arrive(stream, input.ConsumeRandomLengthString(64));
          break;
        case 8:
          server.BeginDrain();
          break;
        default: {
          const std::string wire = seal(input.ConsumeRandomLengthString(600));
          const std::size_t cut = input.ConsumeIntegralInRange<std::size_t>(0, wire.size());
          loop.Arrive(stream, wire.substr(0, cut));
          loop.Arrive(stream, wire.substr(cut));
          break;
        }
      }
      if (input.ConsumeBool()) loop.Turn();
      if (loop.QueuedBytes(stream) > 512 << 10) std::abort();
    }
    if (input.ConsumeBool()) loop.PeerCloses(stream);
    loop.Turn();
  }
  if (!api.wakers.empty()) std::abort();
  return 0;
}

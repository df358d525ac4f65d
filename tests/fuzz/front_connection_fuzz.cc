// A connection at the front door, stateful: HTTP, upgrades, Noise, DERP, in
// arbitrary pieces, with handlers that answer now or later and time that passes.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "core/base/base64.h"
#include "relay/app/admission_set.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/fixed_key.h"
#include "tests/support/fake_loop.h"
#include "tools/serverd/front/front.h"

using namespace ringscale;  // NOLINT
using fuzz::FixedKey;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const core::PrivateKey noise_key = FixedKey(7);
  static const core::PrivateKey relay_key = FixedKey(8);
  static const auto noise_public = noise_key.PublicAs<core::MachinePublic>();
  static const relay::AdmissionSet admission;
  static const relay::LoginContext login{relay_key, relay_key.PublicRaw(), admission, std::nullopt};

  FuzzedDataProvider input(data, size);
  testing::FakeLoop loop;
  serverd::FrontShared shared{serverd::FrontLimits{}};
  serverd::FrontOptions options;
  options.noise_key = &noise_key;
  options.relay = &login;
  std::list<serverd::HttpResponder> held;
  const bool hold = input.ConsumeBool();
  serverd::FrontHandlers handlers;
  handlers.handle = [&](serverd::FrontRequest request, serverd::HttpResponder responder) {
    ringscale::fuzz::Accepted();
    if (hold) {
      held.push_back(std::move(responder));
    } else {
      responder.Send(core::http::TextResponse(200, request.http.body));
    }
  };
  handlers.to_control = [](control::NoiseClient) { return true; };
  handlers.to_relay = [](relay::LoggedInClient) { return true; };
  {
    serverd::Front front(loop, shared, options, handlers);
    front.Accept(core::Fd(), {core::IpAddress::V4(0x7f000001), 1});
    const auto stream = loop.last_stream();
    const auto send = [&](const std::string& bytes) {
      const std::size_t cut = input.ConsumeIntegralInRange<std::size_t>(0, bytes.size());
      loop.Arrive(stream, bytes.substr(0, cut));
      loop.Arrive(stream, bytes.substr(cut));
    };
    while (input.remaining_bytes() > 0 && loop.IsOpen(stream)) {
      switch (input.ConsumeIntegralInRange(0, 10)) {
        case 0:
          send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
          break;
        case 1: {
          const control::noise::Initiator initiator(FixedKey(1), noise_public, 142, FixedKey(2));
          send(
              "POST /ts2021 HTTP/1.1\r\nHost: h\r\nUpgrade: tailscale-control-protocol\r\n"
              "X-Tailscale-Handshake: " +
              core::Base64Encode(initiator.initiation()) + "\r\n" +
              input.ConsumeRandomLengthString(64) + "\r\n\r\n");
          break;
        }
        case 2:
          send("GET /derp HTTP/1.1\r\nHost: h\r\nUpgrade: DERP\r\n\r\n");
          break;
        case 10:
          send(
              "GET /derp HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Protocol: derp\r\n\r\n");
          break;
        case 3:
          if (!held.empty()) {
            held.front().Send(core::http::TextResponse(200, "late"));
            held.erase(held.begin());
          }
          break;
        case 4:
          loop.hold_sends = !loop.hold_sends;
          break;
        case 5:
          loop.Advance(core::Millis(input.ConsumeIntegralInRange(0, 4000)));
          break;
        default:
          send(input.ConsumeRandomLengthString(300));
          break;
      }
      if (input.ConsumeBool()) loop.Turn();
    }
    if (input.ConsumeBool()) loop.PeerCloses(stream);
    loop.Turn();
    if (loop.open_streams() == 0 && front.connections() != 0) std::abort();
  }
  if (shared.bridges.load() != 0 || shared.connections.load() != 0 || shared.sources.sources() != 0)
    std::abort();
  return 0;
}

// A relay client inside WebSocket after its login, stateful: what it sends in arbitrary
// pieces reaches the shard's side as the same stream, whatever else happens.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/crypto/box.h"
#include "relay/app/admission_set.h"
#include "tests/fuzz/accepted.h"
#include "tests/support/fake_loop.h"
#include "tests/support/websocket_frames.h"
#include "tools/serverd/front/front.h"

namespace {

using namespace ringscale;  // NOLINT

std::string ClientInfo(const core::PrivateKey& client, const core::PrivateKey& relay_key) {
  const auto box = core::SealBox(client, relay_key.PublicRaw(), R"({"version":2})");
  const std::size_t size = 32 + box->size();
  return std::string("\x02\0\0\0", 4) + static_cast<char>(size) +
         std::string(core::AsText(client.PublicRaw())) + *box;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const core::PrivateKey client_key = core::PrivateKey::Generate();
  static const core::PrivateKey relay_key = core::PrivateKey::Generate();
  static const std::string info = ClientInfo(client_key, relay_key);
  static const relay::OpenAdmission everybody;
  static const relay::LoginContext login{relay_key, relay_key.PublicRaw(), everybody, std::nullopt};

  FuzzedDataProvider input(data, size);
  testing::FakeLoop loop;
  serverd::FrontShared shared{serverd::FrontLimits{}};
  serverd::FrontOptions options;
  options.relay = &login;
  serverd::FrontHandlers handlers;
  bool taken = false;
  handlers.to_relay = [&](const relay::LoggedInClient&) { return taken = true; };
  serverd::Front front(loop, shared, options, handlers);
  front.Accept(core::Fd(), {core::IpAddress::V4(0x7f000001), 1});
  loop.Arrive(loop.last_stream(),
              "GET /derp HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Protocol: derp\r\n\r\n" +
                  testing::WebSocketFrame(0x82, info));
  loop.Turn();
  if (!taken) std::abort();
  const auto shard = loop.last_stream();
  const core::engine::StreamId client{shard.value - 1};
  (void)loop.TakeSent(client);

  std::string sent;
  std::string arrived;
  std::string down;
  std::string got;
  bool sound = true;  // only whole, proper messages so far
  while (input.remaining_bytes() > 0 && loop.IsOpen(client)) {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
        loop.hold_sends = !loop.hold_sends;
        break;
      case 1:
        loop.Advance(core::Millis(input.ConsumeIntegralInRange(0, 1500)));
        break;
      case 2: {
        const std::string bytes(input.ConsumeIntegralInRange<std::size_t>(0, 40'000), 'd');
        if (!loop.IsOpen(shard)) break;
        loop.Arrive(shard, bytes);
        down += bytes;
        break;
      }
      case 3:
        sound = false;
        loop.Arrive(client, input.ConsumeRandomLengthString(64));
        break;
      case 4:
        if (sound) loop.Arrive(client, testing::WebSocketFrame(0x89, "ping"));
        break;
      default: {
        const std::string payload = input.ConsumeRandomLengthString(300);
        const std::string frame = testing::WebSocketFrame(0x82, payload);
        const std::size_t cut = input.ConsumeIntegralInRange<std::size_t>(0, frame.size());
        if (sound) sent += payload;
        loop.Arrive(client, frame.substr(0, cut));
        loop.Arrive(client, frame.substr(cut));
      }
    }
    arrived += loop.TakeSent(shard);
    got += testing::WebSocketData(loop.TakeSent(client));
  }
  const bool alive = loop.IsOpen(client);
  loop.hold_sends = false;
  loop.Turn();
  arrived += loop.TakeSent(shard);
  got += testing::WebSocketData(loop.TakeSent(client));
  if (!arrived.empty()) fuzz::Accepted();
  if (sound && alive && (arrived != sent || got != down)) std::abort();
  if (alive) loop.PeerCloses(input.ConsumeBool() ? client : shard);
  loop.Turn();
  if (loop.open_streams() != 0 || shared.bridges.load() != 0) std::abort();
  return 0;
}

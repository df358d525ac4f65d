// A whole DERP connection on the simulated ring: the input says what two clients
// send, in which pieces, and what goes wrong meanwhile. A third, well-behaved
// pair must not notice.
#include <cstdint>
#include <vector>

#include "relay/app/relay_shard_impl.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/sim/relay_world.h"

template class ringscale::relay::RelayShard<ringscale::sim::SimRing>;

using namespace ringscale;
using fuzz::Require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input({data, size});
  const std::uint8_t setup = input.Byte();
  sim::WorldOptions options;
  options.shards = static_cast<std::uint16_t>(1 + (setup & 1));
  options.seed = input.Byte();
  options.ring = {.buffer_count = 8, .buffer_size = 1024};
  options.link_capacity = 64;
  // Time is skipped below: packets of the good pair must not grow too old by that.
  options.limits.queue.max_age_ms = 60'000;
  options.faults.short_receive = input.Byte() % 100;
  options.faults.slow_send = input.Byte() % 90;
  options.faults.stale = 5;
  sim::RelayWorld world(options);
  sim::SimClient* clients[2] = {
      &world.Connect({.tls = (setup & 2) != 0, .can_mesh = (setup & 4) != 0}),
      // A client, or the other end of our link to another relay.
      &world.Connect({.tls = (setup & 8) != 0,
                      .mesh_link = (setup & 16) != 0 ? std::uint8_t{1} : relay::kNoMeshLink})};
  sim::SimClient& good_sender = world.Connect();
  sim::SimClient& good_receiver = world.Connect();
  world.Run(core::Millis(3));

  std::size_t sent = 0;
  while (!input.empty()) {
    const std::uint8_t action = input.Byte();
    sim::SimClient& client = *clients[action & 1];
    sim::SimClient& other = *clients[1 - (action & 1)];
    switch (action >> 1 & 7) {
      case 0:  // raw bytes, beneath TLS if there is any
        client.SendRaw(input.Take(input.Byte()));
        break;
      case 1:  // any bytes as plaintext
        world.Send(client, input.Take(input.Byte()));
        break;
      case 2:  // a frame of any type
        world.Send(client, sim::MakeFrame(static_cast<relay::FrameType>(input.Byte()),
                                          input.Take(input.Byte())));
        break;
      case 3:
        world.SendPacket(client, other.key(), input.Take(input.Byte()));
        break;
      case 4:
        world.SendPacket(client, good_receiver.key(), input.Take(input.Byte()));
        break;
      case 5:
        client.socket().window = static_cast<std::size_t>(input.Byte()) * 16;
        break;
      case 6:
        if ((action & 0x40) != 0) {
          client.Close();
        } else if ((action & 0x20) != 0) {
          client.Reset();
        } else {
          world.Skip(core::Millis(input.Byte()));
        }
        break;
      case 7:
        world.SendPacket(good_sender, good_receiver.key(), core::AsBytes("steady"));
        // More at once than the link between the shards holds may be dropped.
        if (++sent % (options.link_capacity / 2) == 0) world.Run(core::Millis(1));
        break;
    }
    for (int i = action >> 5; i > 0; --i) world.Step();
    client.Read(300, world.aead());
    Require(client.complaint().empty() || client.complaint() == "TLS: alert from the peer");
  }

  // The good pair: everything arrived, in spite of what the others did.
  std::size_t received = 0;
  const core::Instant limit = world.now() + core::Millis(500);
  while (received < sent && world.now() < limit) {
    const sim::Frame frame = world.Receive(good_receiver, core::Millis(50));
    if (frame.empty()) continue;
    if (frame[0] != static_cast<std::uint8_t>(relay::FrameType::kRecvPacket)) continue;
    const core::Bytes source(frame.data() + relay::kHeaderBytes, relay::kKeyBytes);
    if (std::equal(source.begin(), source.end(), good_sender.key().raw.begin())) ++received;
  }
  // Mesh rights include closing others.
  if ((setup & 4) == 0) {
    Require(received == sent);
    Require(!good_sender.closed() && !good_receiver.closed());
  }

  if (received > 0) ringscale::fuzz::Accepted();

  for (auto& client : world.clients()) client->Close();
  for (auto& client : world.clients()) client->socket().window = 1 << 20;
  world.Skip(core::Seconds(3));
  for (std::size_t i = 0; i < world.shard_count(); ++i) {
    relay::ShardCore& core = world.shard(i).core();
    Require(core.open_connections() == 0);
    Require(core.pool().cells_in_use() == 0);
    Require(core.pool().receive_free() == core.pool().receive_count());
    Require(core.loans_outstanding() == 0);
  }
  return 0;
}

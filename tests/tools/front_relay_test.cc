// A front and a relay on real loops, rings and sockets: clients of every kind send to
// each other, byte for byte.
#include <array>

#include "core/engine/loop_thread.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "relay/app/relay_service.h"
#include "relay/wire/frame_reader.h"
#include "tests/sim/sim_client.h"
#include "tests/support/websocket_frames.h"
#include "tests/tools/front_dialer.h"

namespace ringscale::serverd {
namespace {

using sim::Frame;

struct Way {
  bool tls = false;
  bool tls12 = false;
  bool websocket = false;
};

class DerpDialer {
 public:
  DerpDialer(std::uint16_t port, const Way& way, const std::array<std::uint8_t, 32>& relay_key)
      : way_(way), dialer_(port, way.tls, way.tls12) {
    const std::string upgrade = way.websocket
                                    ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                      "Sec-WebSocket-Protocol: derp\r\nConnection: Upgrade\r\n"
                                    : "Upgrade: DERP\r\nConnection: Upgrade\r\n";
    dialer_.Write(Get("/derp", upgrade));
    Send(ClientInfoFrame(key_, relay_key));
    std::size_t end = std::string::npos;
    EXPECT_TRUE(dialer_.ReadUntil([&] {
      end = dialer_.received().find("\r\n\r\n");
      return end != std::string::npos;
    }));
    EXPECT_TRUE(dialer_.received().starts_with("HTTP/1.1 101 "));
    dialer_.received().erase(0, end + 4);
    EXPECT_EQ(Receive()[0], static_cast<std::uint8_t>(relay::FrameType::kServerKey));
    EXPECT_EQ(Receive()[0], static_cast<std::uint8_t>(relay::FrameType::kServerInfo));
  }

  [[nodiscard]] core::NodePublic key() const { return key_.PublicAs<core::NodePublic>(); }
  void Send(std::string_view derp) {
    while (!derp.empty()) {
      const std::string_view piece = derp.substr(0, 20'000);
      dialer_.Write(way_.websocket ? testing::WebSocketFrame(0x82, piece) : std::string(piece));
      derp.remove_prefix(piece.size());
    }
  }
  void SendPacket(const core::NodePublic& to, const std::string& packet) {
    Send(core::AsText(sim::SendPacketFrame(to, core::AsBytes(packet))));
  }
  // The next frame; empty at the end.
  std::string Receive() {
    std::string frame;
    const bool whole = dialer_.ReadUntil([&] {
      Unwrap();
      if (stream_.size() < relay::kHeaderBytes) return false;
      const std::size_t size =
          relay::kHeaderBytes + core::LoadBe32(core::AsBytes(stream_).data() + 1);
      if (stream_.size() < size) return false;
      frame = stream_.substr(0, size);
      stream_.erase(0, size);
      return true;
    });
    return whole ? frame : "";
  }
  bool SeesTheEnd() {
    while (!Receive().empty()) {
    }
    return dialer_.ended();
  }

 private:
  // Whole messages only.
  void Unwrap() {
    std::string& wire = dialer_.received();
    if (!way_.websocket) {
      stream_ += std::exchange(wire, {});
      return;
    }
    while (wire.size() >= 4) {
      std::size_t size = static_cast<std::uint8_t>(wire[1]);
      const std::size_t header = size == 126 ? 4 : 2;
      if (size == 126) size = core::LoadBe16(core::AsBytes(wire).data() + 2);
      if (wire.size() < header + size) return;
      stream_ += testing::WebSocketData(wire.substr(0, header + size));
      wire.erase(0, header + size);
    }
  }

  const Way way_;
  core::PrivateKey key_ = core::PrivateKey::Generate();
  Dialer dialer_;
  std::string stream_;
};

class FrontAndRelay : public ::testing::TestWithParam<bool> {  // epoll
 protected:
  void SetUp() override {
    relay::RelayServiceOptions relay_options;
    relay_options.shards = 2;
    relay_options.pin_threads = false;
    if (GetParam()) relay_options.ring_kind = core::io::RingKind::kEpoll;
    relay_options.ring.buffer_count = 64;
    relay_options.server_key = relay_key.PublicAs<core::NodePublic>();
    // A receiver may pause for as long as a slow machine takes to send to it.
    relay_options.times.write_timeout = core::Seconds(60);
    relay_options.limits.queue.max_age_ms = 60'000;
    auto started = relay::RelayService::Start(relay_options, registry);
    ASSERT_TRUE(started);
    relay = std::move(*started);

    core::engine::LoopThreadOptions thread;
    thread.loop.name = "front";
    thread.loop.force_epoll = GetParam();
    front_thread = std::move(*core::engine::LoopThread::Start(thread));
    FrontOptions options;
    options.relay = &login;
    options.bridge.times = relay_options.times;
    FrontHandlers handlers;
    handlers.to_relay = [this](relay::LoggedInClient client) {
      relay->Add(std::move(client));
      return true;
    };
    listener =
        std::move(*core::net::OpenTcpListener(*core::net::ParseListenAddress("127.0.0.1:0")));
    port = core::net::LocalAddress(listener.get()).port;
    RunOn(front_thread->loop(), [&] {
      front = std::make_unique<Front>(front_thread->loop(), shared, options, handlers);
      front->SetTlsContext(TestCertificate());
      front->Listen(listener.get());
    });
  }
  void TearDown() override {
    relay->Stop({});
    RunOn(front_thread->loop(), [&] { front.reset(); });
    front_thread->Join();
  }
  std::unique_ptr<DerpDialer> Dial(const Way& way) {
    return std::make_unique<DerpDialer>(port, way, relay_key.PublicRaw());
  }

  core::PrivateKey relay_key = core::PrivateKey::Generate();
  relay::OpenAdmission everybody;
  relay::LoginContext login{relay_key, relay_key.PublicRaw(), everybody, std::nullopt};
  FrontShared shared{FrontLimits{}};
  core::MetricsRegistry registry;
  std::unique_ptr<relay::RelayService> relay;
  core::Fd listener;
  std::uint16_t port = 0;
  std::unique_ptr<core::engine::LoopThread> front_thread;
  std::unique_ptr<Front> front;
};

constexpr std::array<Way, 6> kWays = {{{},
                                       {.tls = true},
                                       {.tls = true, .tls12 = true},
                                       {.websocket = true},
                                       {.tls = true, .websocket = true},
                                       {.tls = true, .tls12 = true, .websocket = true}}};

TEST_P(FrontAndRelay, EveryoneReachesEveryone) {
  std::vector<std::unique_ptr<DerpDialer>> all;
  for (const Way& way : kWays) all.push_back(Dial(way));
  EXPECT_EQ(shared.bridges.load(), kWays.size() - 2) << "a shard takes the first two itself";
  std::uint32_t seed = 1;
  for (const auto& from : all) {
    for (const auto& to : all) {
      std::vector<std::string> packets;
      for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1400},
                                     std::size_t{40'000}, std::size_t{65536}}) {
        std::string packet(size, '\0');
        for (char& c : packet) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
        from->SendPacket(to->key(), packet);
        packets.push_back(std::move(packet));
      }
      for (const std::string& packet : packets) {
        const std::string frame = to->Receive();
        ASSERT_EQ(frame.size(), relay::kHeaderBytes + relay::kKeyBytes + packet.size());
        EXPECT_EQ(frame[0], static_cast<char>(relay::FrameType::kRecvPacket));
        EXPECT_EQ(frame.substr(relay::kHeaderBytes, relay::kKeyBytes),
                  core::AsText(from->key().raw));
        EXPECT_TRUE(frame.substr(relay::kHeaderBytes + relay::kKeyBytes) == packet);
      }
    }
  }
}

TEST_P(FrontAndRelay, MuchAtOnceIsWhole) {
  const auto native = Dial({.tls = true});
  for (const Way& way : kWays) {
    const auto to = Dial(way);
    constexpr int kPackets = 200;
    const std::string packet(8000, 'p');
    // More than all buffers in between take, less than a queue of the relay.
    for (int i = 0; i < kPackets; ++i) native->SendPacket(to->key(), packet + std::to_string(i));
    for (int i = 0; i < kPackets; ++i) {
      const std::string frame = to->Receive();
      ASSERT_TRUE(frame.ends_with("p" + std::to_string(i)));
    }
  }
}

TEST_P(FrontAndRelay, ARevokedKeyIsClosed) {
  for (const Way& way : kWays) {
    const auto client = Dial(way);
    relay->CloseKey(client->key());
    EXPECT_TRUE(client->SeesTheEnd());
  }
  EXPECT_EQ(shared.bridges.load(), 0u);
}

TEST_P(FrontAndRelay, PeersHearOfOneThatLeaves) {
  const auto watching = Dial({.tls = true});
  for (const Way& way : kWays) {
    auto client = Dial(way);
    const core::NodePublic key = client->key();
    client->SendPacket(watching->key(), "hello");
    EXPECT_TRUE(watching->Receive().ends_with("hello"));
    client.reset();
    const std::string gone = watching->Receive();
    ASSERT_EQ(gone.size(), relay::kHeaderBytes + relay::kKeyBytes + 1);
    EXPECT_EQ(gone[0], static_cast<char>(relay::FrameType::kPeerGone));
    EXPECT_EQ(gone.substr(relay::kHeaderBytes, relay::kKeyBytes), core::AsText(key.raw));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, FrontAndRelay, ::testing::Bool(), [](const auto& param) {
  return std::string(param.param ? "Epoll" : "Uring");
});

}  // namespace
}  // namespace ringscale::serverd

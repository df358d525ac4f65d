#include "tests/tools/front_support.h"

namespace ringscale::serverd {
namespace {

class FrontNoise : public FrontTest {
 protected:
  struct Dialer {
    explicit Dialer(const core::PrivateKey& server)
        : machine(core::PrivateKey::Generate()),
          public_key(machine.PublicAs<core::MachinePublic>()),
          initiator(std::move(machine), server.PublicAs<core::MachinePublic>(), 142) {}
    core::PrivateKey machine;
    core::MachinePublic public_key;
    control::noise::Initiator initiator;
  };
  static std::string Seal(control::noise::Session& session, std::string_view text) {
    std::string wire;
    const std::array<std::string_view, 1> pieces{text};
    EXPECT_TRUE(session.Seal(pieces, wire));
    return wire;
  }
  static constexpr std::string_view kSwitching =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\n"
      "Connection: upgrade\r\n\r\n";
};

TEST_F(FrontNoise, HandsOverAfterTheFirstRecord) {
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  const std::string answer = Ask(stream, NoiseUpgrade(dialer.initiator));
  ASSERT_TRUE(answer.starts_with(kSwitching));
  auto session = dialer.initiator.Finish(core::AsBytes(answer).subspan(kSwitching.size()));
  ASSERT_TRUE(session);
  EXPECT_TRUE(noise_clients.empty());

  const std::string first = Seal(*session, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const std::string second = Seal(*session, "settings");
  // Half of the second record comes with the first one.
  loop.Arrive(stream, first.substr(0, 10));
  EXPECT_TRUE(noise_clients.empty());
  loop.Arrive(stream, first.substr(10) + second.substr(0, 5));
  loop.Turn();
  ASSERT_EQ(noise_clients.size(), 1u);
  EXPECT_TRUE(loop.WasDetached(stream));
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_EQ(shared->connections.load(), 0u);
  EXPECT_EQ(shared->sources.sources(), 0u);
  control::NoiseClient& client = noise_clients[0];
  EXPECT_EQ(client.plaintext, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  EXPECT_EQ(client.machine_key, dialer.public_key);
  EXPECT_EQ(client.protocol_version, 142);
  EXPECT_EQ(client.host, "control.example:8080");
  EXPECT_FALSE(client.https);
  EXPECT_EQ(client.websocket, nullptr);
  EXPECT_EQ(client.remote.text(), "192.0.2.1:1000");
  std::string plain;
  EXPECT_TRUE(client.session.Receive(core::AsBytes(second).subspan(5), plain));
  EXPECT_EQ(plain, "settings");
  EXPECT_EQ(front().stats().handed_to_control.Value(), 1u);
}

TEST_F(FrontNoise, HandsOverFromTls) {
  front().SetTlsContext(TestCertificate());
  const StreamId stream = Open();
  TlsClient tls;
  Dialer dialer(noise_key);
  tls.Write(NoiseUpgrade(dialer.initiator));
  Talk(stream, tls);
  ASSERT_TRUE(tls.received.starts_with(kSwitching));
  auto session = dialer.initiator.Finish(core::AsBytes(tls.received).subspan(kSwitching.size()));
  ASSERT_TRUE(session);
  tls.Write(Seal(*session, "hello"));
  Talk(stream, tls);
  ASSERT_EQ(noise_clients.size(), 1u);
  EXPECT_TRUE(noise_clients[0].https);
  EXPECT_EQ(noise_clients[0].plaintext, "hello");
  EXPECT_EQ(noise_clients[0].transport.kind(), core::tls::Transport::Kind::kRecords);
}

TEST_F(FrontNoise, TellsTheSchemeThatAProxySaw) {
  const std::vector<std::string> proxies{"192.0.2.1"};
  options.trusted_proxies = *core::net::TrustedProxies::Parse(proxies);
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  const std::string answer =
      Ask(stream, NoiseUpgrade(dialer.initiator,
                               "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n"));
  auto session = dialer.initiator.Finish(core::AsBytes(answer).subspan(kSwitching.size()));
  ASSERT_TRUE(session);
  loop.Arrive(stream, Seal(*session, "x"));
  loop.Turn();
  ASSERT_EQ(noise_clients.size(), 1u);
  EXPECT_TRUE(noise_clients[0].https);
  EXPECT_EQ(noise_clients[0].remote.ip.text(), "198.51.100.1");
}

TEST_F(FrontNoise, WaitsUntilItsOwnBytesAreSent) {
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  loop.hold_sends = true;
  const std::string answer = Ask(stream, NoiseUpgrade(dialer.initiator));
  auto session = dialer.initiator.Finish(core::AsBytes(answer).subspan(kSwitching.size()));
  loop.Arrive(stream, Seal(*session, "x"));
  loop.Turn();
  EXPECT_TRUE(noise_clients.empty());
  EXPECT_TRUE(loop.IsPaused(stream));
  loop.hold_sends = false;
  loop.Turn();
  EXPECT_EQ(noise_clients.size(), 1u);
}

TEST_F(FrontNoise, RefusesAReplayedInitiation) {
  // Whoever replays the first message cannot make a record.
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  EXPECT_TRUE(Ask(stream, NoiseUpgrade(dialer.initiator)).starts_with(kSwitching));
  loop.Arrive(stream, std::string("\x04\x00\x10", 3) + std::string(16, 'x'));
  loop.Turn();
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_TRUE(noise_clients.empty());
  EXPECT_EQ(front().stats().noise_failed.Value(), 1u);
}

TEST_F(FrontNoise, ClosesWhoSendsNoRecord) {
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  Ask(stream, NoiseUpgrade(dialer.initiator));
  loop.Advance(core::Seconds(11));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().preface_late.Value(), 1u);
}

TEST_F(FrontNoise, AnswersMalformedUpgrades) {
  Dialer dialer(noise_key);
  const std::string good = NoiseUpgrade(dialer.initiator);
  const auto change = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const std::vector<std::pair<std::string, std::string>> cases{
      {change("Upgrade: tailscale-control-protocol\r\n", ""), "missing next protocol"},
      {change("Upgrade: tailscale-control-protocol", "Upgrade: h2c"), "unknown next protocol"},
      {change("X-Tailscale-Handshake", "X-Other"), "missing Tailscale handshake header"},
      {change("X-Tailscale-Handshake: ", "X-Tailscale-Handshake: *"),
       "invalid tailscale handshake header"},
      {change("X-Tailscale-Handshake: ", "X-Tailscale-Handshake: AAAA"),
       "invalid tailscale handshake header"},
      {change("POST", "PUT"), "the upgrade is a POST"},
      {change("Content-Length: 0", "Content-Length: 1"), "the upgrade is a POST"}};
  for (const auto& [text, expected] : cases) {
    const StreamId stream = Open();
    const std::string answer = Ask(stream, text);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_NE(answer.find(expected), std::string::npos) << answer;
    EXPECT_FALSE(loop.IsOpen(stream));
  }
  // Upgrade is compared in any case.
  EXPECT_TRUE(Ask(Open(), change("Upgrade: tailscale-control-protocol",
                                 "upgrade: Tailscale-Control-Protocol"))
                  .starts_with(kSwitching));
}

TEST_F(FrontNoise, RefusesClientsOfAnotherServerKey) {
  Dialer dialer(core::PrivateKey::Generate());
  const StreamId stream = Open();
  const std::string answer = Ask(stream, NoiseUpgrade(dialer.initiator));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 "));
  EXPECT_NE(answer.find("another server key"), std::string::npos);
  EXPECT_FALSE(loop.IsOpen(stream));
}

TEST_F(FrontNoise, SpeaksWebSocket) {
  Dialer dialer(noise_key);
  std::string initiation = core::Base64Encode(dialer.initiator.initiation());
  std::string escaped;
  for (const char c : initiation) {
    if (c == '+') {
      escaped += "%2B";
    } else if (c == '/') {
      escaped += "%2F";
    } else {
      escaped += c;
    }
  }
  const std::string headers =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const StreamId stream = Open();
  const std::string answer =
      Ask(stream, Get("/ts2021?X-Tailscale-Handshake=" + escaped,
                      headers + "Sec-WebSocket-Protocol: tailscale-control-protocol\r\n"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 "));
  EXPECT_NE(answer.find("Sec-WebSocket-Protocol: tailscale-control-protocol\r\n"),
            std::string::npos);
  const std::string frame = answer.substr(answer.find("\r\n\r\n") + 4);
  ASSERT_EQ(frame.size(), 2 + control::noise::kResponseSize);
  EXPECT_EQ(frame.substr(0, 2), "\x82\x33");
  auto session = dialer.initiator.Finish(core::AsBytes(frame).subspan(2));
  ASSERT_TRUE(session);
  const std::string record = Seal(*session, "hello");
  std::string message("\x82");
  message += static_cast<char>(0x80 | record.size());
  message += std::string(4, '\0') + record;
  // The next frame is cut in the middle of its header.
  loop.Arrive(stream, message + "\x82");
  loop.Turn();
  ASSERT_EQ(noise_clients.size(), 1u);
  ASSERT_NE(noise_clients[0].websocket, nullptr);
  EXPECT_EQ(noise_clients[0].plaintext, "hello");
  std::string rest("\x81\0\0\0\0x", 6);
  std::string got;
  EXPECT_TRUE(noise_clients[0].websocket->Receive(
      {reinterpret_cast<std::uint8_t*>(rest.data()), rest.size()},
      [&](core::MutableBytes data) { got += core::AsText(data); }));
  EXPECT_EQ(got, "x");

  const StreamId other = Open();
  const std::string unselected = Ask(other, Get("/ts2021?X-Tailscale-Handshake=" + escaped,
                                                headers + "Sec-WebSocket-Protocol: other\r\n"));
  EXPECT_TRUE(unselected.ends_with("\x88\x02\x03\xf0"));
  EXPECT_TRUE(loop.WasFlushed(other));
}

TEST_F(FrontNoise, ARefusedHandOverClosesTheClient) {
  refuse_clients = true;
  const StreamId stream = Open();
  Dialer dialer(noise_key);
  const std::string answer = Ask(stream, NoiseUpgrade(dialer.initiator));
  auto session = dialer.initiator.Finish(core::AsBytes(answer).subspan(kSwitching.size()));
  loop.Arrive(stream, Seal(*session, "x"));
  loop.Turn();
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_EQ(front().stats().handover_failed.Value(), 1u);
}

}  // namespace
}  // namespace ringscale::serverd

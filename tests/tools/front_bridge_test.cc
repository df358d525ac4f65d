// Relay clients that a shard cannot take as they are: DERP inside WebSocket, DERP over
// TLS 1.2. The test plays the client on one side and the shard on the other.
#include "tests/support/websocket_frames.h"
#include "tests/tools/front_support.h"

namespace ringscale::serverd {
namespace {

using testing::WebSocketData;
using testing::WebSocketFrame;

constexpr std::string_view kPing("\x12\0\0\0\x08pingpong", 13);
constexpr std::string_view kHandshake =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

std::string WebSocketUpgrade(std::string_view extra = "Sec-WebSocket-Protocol: derp\r\n") {
  return Get("/derp", std::string(kHandshake) + std::string(extra));
}

class FrontBridge : public FrontTest {
 protected:
  core::PrivateKey Member() {
    core::PrivateKey key = core::PrivateKey::Generate();
    admission.Add(key.PublicAs<core::NodePublic>());
    return key;
  }
  struct Bridged {
    StreamId client;
    StreamId shard;
  };
  // A client over plain WebSocket that has logged in.
  Bridged OpenWebSocket() {
    const StreamId stream = Open("127.0.0.1");
    Ask(stream, WebSocketUpgrade());
    Ask(stream, WebSocketFrame(0x82, ClientInfoFrame(Member(), relay_public)));
    EXPECT_TRUE(loop.WasDetached(stream));
    return {{loop.last_stream().value - 1}, loop.last_stream()};
  }
  static std::string Big(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 37 >> 4);
    return bytes;
  }
};

TEST_F(FrontBridge, LogsInInsideWebSocket) {
  const core::PrivateKey key = Member();
  const StreamId stream = Open("127.0.0.1");
  // Neither header means anything here.
  const std::string answer =
      Ask(stream, WebSocketUpgrade("Sec-WebSocket-Protocol: other, derp\r\n"
                                   "Derp-Fast-Start: 1\r\nIdeal-Node: 900a\r\n"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 "));
  EXPECT_NE(answer.find("Sec-WebSocket-Protocol: derp\r\n"), std::string::npos);
  EXPECT_EQ(answer.find("Derp-"), std::string::npos);
  EXPECT_EQ(answer.find("Sec-WebSocket-Extensions"), std::string::npos);
  const std::string hello = WebSocketData(answer.substr(answer.find("\r\n\r\n") + 4));
  ASSERT_EQ(hello.size(), relay::kServerKeyFrameBytes);
  EXPECT_EQ(hello[0], '\x01');

  // ClientInfo over two messages, the second one with what follows it.
  const std::string info = ClientInfoFrame(key, relay_public);
  EXPECT_EQ(Ask(stream, WebSocketFrame(0x82, info.substr(0, 50))), "");
  EXPECT_TRUE(relay_clients.empty());
  Ask(stream, WebSocketFrame(0x82, info.substr(50) + std::string(kPing)));
  ASSERT_EQ(relay_clients.size(), 1u);
  const relay::LoggedInClient& client = relay_clients[0];
  EXPECT_EQ(client.key, key.PublicAs<core::NodePublic>());
  EXPECT_EQ(client.tls, nullptr);
  EXPECT_TRUE(client.fd.valid());
  EXPECT_EQ(core::AsText(client.plaintext), kPing);
  EXPECT_EQ(client.remote.text(), "127.0.0.1:1000");
  EXPECT_FALSE(client.not_ideal);
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_EQ(shared->connections.load(), 0u);
  EXPECT_EQ(shared->sources.sources(), 0u);
  EXPECT_EQ(shared->bridges.load(), 1u);
  EXPECT_EQ(front().stats().websocket_accepts.Value(), 1u);
  EXPECT_EQ(front().stats().handed_to_relay.Value(), 1u);
}

TEST_F(FrontBridge, CarriesBytesBothWays) {
  const Bridged bridged = OpenWebSocket();
  // Frames cut anywhere, and several in one message, are the same stream.
  const std::string message = WebSocketFrame(0x82, std::string(kPing) + std::string(kPing));
  std::string arrived;
  for (const char byte : message) arrived += (loop.Arrive(bridged.client, {&byte, 1}), "");
  loop.Turn();
  EXPECT_EQ(loop.TakeSent(bridged.shard), std::string(kPing) + std::string(kPing));

  // Messages are no longer than stock clients accept.
  const std::string down = Big(100'000);
  const std::string wire = Ask(bridged.shard, down);
  EXPECT_EQ(wire, "");
  const std::string got = loop.TakeSent(bridged.client);
  EXPECT_EQ(got.substr(0, 4), std::string("\x82\x7e\x80\x00", 4));
  EXPECT_EQ(got.size(), down.size() + 4 * 4u);
  EXPECT_TRUE(WebSocketData(got) == down);

  // A packet of the longest kind in one message.
  const std::string up = Big(65536);
  loop.Arrive(bridged.client, WebSocketFrame(0x82, up));
  loop.Turn();
  EXPECT_TRUE(loop.TakeSent(bridged.shard) == up);
}

TEST_F(FrontBridge, AnswersPingsOfTheProtocolBelow) {
  const Bridged bridged = OpenWebSocket();
  EXPECT_EQ(Ask(bridged.client, WebSocketFrame(0x89, "abc")),
            "\x8a\x03"
            "abc");
  EXPECT_EQ(loop.TakeSent(bridged.shard), "");
  // Whoever takes nothing gets one when he does.
  loop.hold_sends = true;
  loop.Arrive(bridged.shard, Big(100'000));
  (void)loop.TakeSent(bridged.client);
  for (int i = 0; i < 50; ++i) loop.Arrive(bridged.client, WebSocketFrame(0x89, "abc"));
  EXPECT_EQ(loop.TakeSent(bridged.client), "");
}

TEST_F(FrontBridge, EveryKindOfTransport) {
  front().SetTlsContext(TestCertificate());
  for (const bool tls12 : {true, false}) {
    for (const bool websocket : {true, false}) {
      if (!tls12 && !websocket) continue;  // a shard's own
      const core::PrivateKey key = Member();
      const StreamId stream = Open();
      TlsClient tls(tls12);
      tls.Write(websocket ? WebSocketUpgrade()
                          : Get("/derp", "Upgrade: DERP\r\nConnection: Upgrade\r\n"));
      Talk(stream, tls);
      EXPECT_TRUE(tls.received.starts_with("HTTP/1.1 101 "));
      const auto wrap = [&](std::string_view derp) {
        return websocket ? WebSocketFrame(0x82, derp) : std::string(derp);
      };
      const std::size_t before = relay_clients.size();
      tls.Write(wrap(ClientInfoFrame(key, relay_public)));
      Talk(stream, tls);
      ASSERT_EQ(relay_clients.size(), before + 1);
      EXPECT_EQ(relay_clients.back().tls, nullptr);
      EXPECT_EQ(relay_clients.back().remote.text(), "192.0.2.1:1000");
      const Bridged bridged{{loop.last_stream().value - 1}, loop.last_stream()};
      tls.Write(wrap(kPing));
      Talk(bridged.client, tls);
      EXPECT_EQ(loop.TakeSent(bridged.shard), kPing);
      const std::string down = Big(50'000);
      loop.Arrive(bridged.shard, down);
      tls.received.clear();
      Talk(bridged.client, tls);
      EXPECT_TRUE((websocket ? WebSocketData(tls.received) : tls.received) == down);
      const auto version = static_cast<std::size_t>(tls12 ? core::tls::TlsVersion::kTls12
                                                          : core::tls::TlsVersion::kTls13);
      EXPECT_EQ(front().stats().bridges[version].Value(), 1);
      // The shard lets go: an orderly end.
      loop.PeerCloses(bridged.shard);
      EXPECT_TRUE(loop.WasFlushed(bridged.client));
      tls.Feed(loop.TakeSent(bridged.client));
      EXPECT_TRUE(tls.closed);
      EXPECT_EQ(front().stats().bridges[version].Value(), 0);
    }
  }
  EXPECT_EQ(front().stats().requests_by_tls[1].Value(), 2u);
  EXPECT_EQ(front().stats().requests_by_tls[2].Value(), 1u);
  EXPECT_EQ(shared->bridges.load(), 0u);
}

TEST_F(FrontBridge, MeshRightsNeedTlsHereToo) {
  const std::string mesh_key(64, 'b');
  login.mesh_key = relay::ParseMeshKey(mesh_key);
  const std::string json = "{\"version\":2,\"meshKey\":\"" + mesh_key + "\"}";
  front().SetTlsContext(TestCertificate());
  const core::PrivateKey key = Member();
  for (const bool tls_used : {false, true}) {
    const StreamId stream = Open("127.0.0.1");
    TlsClient tls(true);
    const std::string info = WebSocketFrame(0x82, ClientInfoFrame(key, relay_public, json));
    if (tls_used) {
      tls.Write(WebSocketUpgrade() + info);
      Talk(stream, tls);
    } else {
      Ask(stream, WebSocketUpgrade() + info);
    }
    ASSERT_FALSE(relay_clients.empty());
    EXPECT_EQ(relay_clients.back().can_mesh, tls_used);
  }
}

TEST_F(FrontBridge, RefusesWhatIsNoHandshake) {
  const auto status = [&](const std::string& request) {
    return Ask(Open("127.0.0.1"), request).substr(9, 3);
  };
  const std::string derp = "Sec-WebSocket-Protocol: derp\r\n";
  EXPECT_EQ(status(Get("/derp", "Upgrade: websocket\r\n" + derp)), "400");
  EXPECT_EQ(status(Get("/derp",
                       "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 12\r\n" +
                           derp)),
            "426");
  std::string post = WebSocketUpgrade();
  post.replace(0, 3, "POST");
  EXPECT_EQ(status(post), "400");
  // From elsewhere DERP wants TLS, whatever it is wrapped in.
  EXPECT_EQ(Ask(Open("192.0.2.1"), WebSocketUpgrade()).substr(9, 3), "426");
  // Another protocol of a similar name.
  const StreamId stream = Open("127.0.0.1");
  const std::string answer = Ask(stream, WebSocketUpgrade("Sec-WebSocket-Protocol: derpy\r\n"));
  EXPECT_TRUE(answer.ends_with("\x88\x02\x03\xf0"));
  EXPECT_TRUE(loop.WasFlushed(stream));
  EXPECT_EQ(front().stats().websocket_accepts.Value(), 0u);
  EXPECT_EQ(shared->bridges.load(), 0u);
}

TEST_F(FrontBridge, ClosesStrangersDuringTheLogin) {
  const core::PrivateKey stranger = core::PrivateKey::Generate();
  for (const std::string& bytes : {WebSocketFrame(0x82, ClientInfoFrame(stranger, relay_public)),
                                   WebSocketFrame(0x82, std::string("\x04\0\0\0\0", 5)),
                                   std::string("\x82\x01x"), WebSocketFrame(0x81, "text")}) {
    const StreamId stream = Open("127.0.0.1");
    Ask(stream, WebSocketUpgrade());
    Ask(stream, bytes);
    EXPECT_FALSE(loop.IsOpen(stream));
  }
  EXPECT_TRUE(relay_clients.empty());
  EXPECT_EQ(front().stats().derp_failed.Value(), 4u);
  EXPECT_EQ(shared->bridges.load(), 0u);
}

TEST_F(FrontBridge, SomebodyElseMayDecide) {
  login.ask = true;
  std::vector<FrontHandlers::AdmitAnswer> answers;
  handlers.admit = [&](const core::NodePublic&, const core::SocketAddress&,
                       FrontHandlers::AdmitAnswer answer) { answers.push_back(std::move(answer)); };
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, WebSocketUpgrade());
  Ask(stream, WebSocketFrame(0x82, ClientInfoFrame(core::PrivateKey::Generate(), relay_public) +
                                       std::string(kPing)));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(relay_clients.empty());
  answers[0](true);
  loop.Turn();
  ASSERT_EQ(relay_clients.size(), 1u);
  EXPECT_EQ(core::AsText(relay_clients[0].plaintext), kPing);
}

TEST_F(FrontBridge, TextAndBrokenFramesEndIt) {
  for (const auto& [bytes, code] :
       {std::pair<std::string, char>{WebSocketFrame(0x81, "text"), '\xeb'},
        {std::string("\x82\x01x"), '\xea'},
        {WebSocketFrame(0x82, Big(70'000)), '\xf1'}}) {
    const Bridged bridged = OpenWebSocket();
    EXPECT_EQ(Ask(bridged.client, bytes), std::string("\x88\x02\x03") + code);
    EXPECT_TRUE(loop.WasFlushed(bridged.client));
    EXPECT_TRUE(loop.WasFlushed(bridged.shard));
  }
  EXPECT_EQ(loop.open_streams(), 0u);
  EXPECT_EQ(shared->bridges.load(), 0u);
}

TEST_F(FrontBridge, EachSideEndsTheOther) {
  // What the client sent before its goodbye still goes on.
  Bridged bridged = OpenWebSocket();
  loop.hold_sends = true;
  EXPECT_EQ(Ask(bridged.client, WebSocketFrame(0x82, kPing) + WebSocketFrame(0x88, "\x03\xe8")),
            "\x88\x02\x03\xe8");
  EXPECT_EQ(loop.TakeSent(bridged.shard), kPing);
  EXPECT_TRUE(loop.WasFlushed(bridged.shard));
  loop.hold_sends = false;
  // The connection breaks.
  bridged = OpenWebSocket();
  loop.PeerCloses(bridged.client, -ECONNRESET);
  EXPECT_TRUE(loop.WasFlushed(bridged.shard));
  // The shard closes: the client is told.
  bridged = OpenWebSocket();
  loop.PeerCloses(bridged.shard);
  EXPECT_EQ(loop.TakeSent(bridged.client), "\x88\x02\x03\xe9");
  EXPECT_TRUE(loop.WasFlushed(bridged.client));
  EXPECT_EQ(loop.open_streams(), 0u);
  EXPECT_EQ(shared->bridges.load(), 0u);
}

TEST_F(FrontBridge, ASlowSideHoldsTheOtherBack) {
  const Bridged bridged = OpenWebSocket();
  loop.hold_sends = true;
  loop.Arrive(bridged.client, WebSocketFrame(0x82, Big(60'000)));
  EXPECT_FALSE(loop.IsPaused(bridged.client));
  loop.Arrive(bridged.client, WebSocketFrame(0x82, Big(60'000)));
  EXPECT_TRUE(loop.IsPaused(bridged.client));
  EXPECT_FALSE(loop.IsPaused(bridged.shard));
  loop.Arrive(bridged.shard, Big(70'000));
  EXPECT_TRUE(loop.IsPaused(bridged.shard));
  loop.hold_sends = false;
  loop.Turn();
  EXPECT_FALSE(loop.IsPaused(bridged.client));
  EXPECT_FALSE(loop.IsPaused(bridged.shard));
  // Its time is over only while the shard waits.
  loop.Advance(core::Seconds(100));
  EXPECT_TRUE(loop.IsOpen(bridged.client));
}

TEST_F(FrontBridge, WhoTakesNothingIsClosed) {
  const Bridged bridged = OpenWebSocket();
  loop.hold_sends = true;
  loop.Arrive(bridged.shard, Big(70'000));
  loop.Advance(core::Millis(1900));
  EXPECT_TRUE(loop.IsOpen(bridged.client));
  loop.Advance(core::Millis(200));
  EXPECT_FALSE(loop.IsOpen(bridged.client));
  EXPECT_FALSE(loop.IsOpen(bridged.shard));
  EXPECT_EQ(front().stats().bridge_stalled.Value(), 1u);
}

TEST_F(FrontBridge, WithoutAWriteTimeoutItMayTakeItsTime) {
  options.bridge.times.write_timeout = {};
  const Bridged bridged = OpenWebSocket();
  loop.hold_sends = true;
  loop.Arrive(bridged.shard, Big(70'000));
  loop.Advance(core::Seconds(60));
  EXPECT_TRUE(loop.IsOpen(bridged.client));
}

TEST_F(FrontBridge, ThereIsRoomForSoMany) {
  limits.bridges = 2;
  const Bridged first = OpenWebSocket();
  // A place is taken by who asks for one.
  const StreamId second = Open("127.0.0.1");
  EXPECT_TRUE(Ask(second, WebSocketUpgrade()).starts_with("HTTP/1.1 101 "));
  EXPECT_TRUE(Ask(Open("127.0.0.1"), WebSocketUpgrade()).starts_with("HTTP/1.1 503 "));
  EXPECT_EQ(front().stats().bridges_full.Value(), 1u);
  loop.PeerCloses(second);
  loop.PeerCloses(first.client);
  EXPECT_EQ(shared->bridges.load(), 0u);
  OpenWebSocket();
}

TEST_F(FrontBridge, ARefusedHandOverClosesTheClient) {
  refuse_clients = true;
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, WebSocketUpgrade());
  Ask(stream, WebSocketFrame(0x82, ClientInfoFrame(Member(), relay_public)));
  EXPECT_EQ(front().stats().handover_failed.Value(), 1u);
  // The shard's end is closed with the client that nobody took.
  loop.PeerCloses(loop.last_stream());
  EXPECT_EQ(loop.open_streams(), 0u);
}

}  // namespace
}  // namespace ringscale::serverd

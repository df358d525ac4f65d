#include "tests/tools/front_support.h"

namespace ringscale::serverd {
namespace {

class FrontDerp : public FrontTest {
 protected:
  core::PrivateKey Member() {
    core::PrivateKey key = core::PrivateKey::Generate();
    admission.Add(key.PublicAs<core::NodePublic>());
    return key;
  }
  static std::string Upgrade(std::string_view extra = "") {
    return Get("/derp", "Upgrade: DERP\r\nConnection: Upgrade\r\n" + std::string(extra));
  }
};

TEST_F(FrontDerp, LogsInOverTlsAndHandsOver) {
  front().SetTlsContext(TestCertificate());
  const core::PrivateKey key = Member();
  const StreamId stream = Open();
  TlsClient tls;
  tls.Write(Upgrade());
  Talk(stream, tls);
  EXPECT_TRUE(tls.received.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n"));
  const std::string server_key = tls.received.substr(tls.received.find("\r\n\r\n") + 4);
  ASSERT_EQ(server_key.size(), relay::kServerKeyFrameBytes);
  EXPECT_TRUE(relay_clients.empty());
  // A ping follows at once, before ServerInfo has come.
  const std::string ping("\x12\0\0\0\x08pingpong", 13);
  tls.Write(ClientInfoFrame(key, relay_public) + ping);
  Talk(stream, tls);
  ASSERT_EQ(relay_clients.size(), 1u);
  const relay::LoggedInClient& client = relay_clients[0];
  EXPECT_EQ(client.key, key.PublicAs<core::NodePublic>());
  ASSERT_NE(client.tls, nullptr);
  EXPECT_EQ(core::AsText(client.plaintext), ping);
  EXPECT_TRUE(client.ciphertext.empty());
  EXPECT_EQ(client.remote.text(), "192.0.2.1:1000");
  EXPECT_TRUE(loop.WasDetached(stream));
  // ServerInfo is the shard's to send, once the client can be found.
  ASSERT_FALSE(client.server_info.empty());
  EXPECT_EQ(client.server_info[0], 3);
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_EQ(front().stats().handed_to_relay.Value(), 1u);
}

TEST_F(FrontDerp, FastStartSendsNoHead) {
  front().SetTlsContext(TestCertificate());
  const core::PrivateKey key = Member();
  const StreamId stream = Open();
  TlsClient tls;
  tls.Write(Upgrade("Derp-Fast-Start: 1\r\nIdeal-Node: 900a\r\n") +
            ClientInfoFrame(key, relay_public));
  Talk(stream, tls);
  EXPECT_EQ(tls.received[0], '\x01');
  ASSERT_EQ(relay_clients.size(), 1u);
  EXPECT_TRUE(relay_clients[0].not_ideal);
  EXPECT_EQ(front().stats().fast_starts.Value(), 1u);
}

TEST_F(FrontDerp, PlainOnlyFromLoopbackProxiesOrByPermission) {
  const core::PrivateKey key = Member();
  const std::vector<std::string> proxies{"192.0.2.80"};
  options.trusted_proxies = *core::net::TrustedProxies::Parse(proxies);
  const std::string refused = Ask(Open("192.0.2.1"), Upgrade());
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 426 "));
  EXPECT_TRUE(refused.ends_with("DERP requires TLS\n"));
  for (const char* ip : {"127.0.0.1", "::1", "192.0.2.80"}) {
    const StreamId stream = Open(ip);
    EXPECT_TRUE(Ask(stream, Upgrade()).starts_with("HTTP/1.1 101 ")) << ip;
    Ask(stream, ClientInfoFrame(key, relay_public));
  }
  ASSERT_EQ(relay_clients.size(), 3u);
  EXPECT_EQ(relay_clients[0].tls, nullptr);
  EXPECT_EQ(front().stats().derp_refused.Value(), 1u);
}

TEST_F(FrontDerp, PlainWhenItIsAllowed) {
  options.derp_allow_plain = true;
  EXPECT_TRUE(Ask(Open(), Upgrade()).starts_with("HTTP/1.1 101 "));
}

TEST_F(FrontDerp, RefusesWhatIsNoUpgrade) {
  const auto status = [&](const std::string& request) {
    return Ask(Open("127.0.0.1"), request).substr(9, 3);
  };
  EXPECT_TRUE(Ask(Open("127.0.0.1"), Get("/derp")).ends_with("DERP requires connection upgrade\n"));
  EXPECT_EQ(status(Get("/derp", "Upgrade: h2c\r\n")), "426");
  // Very old clients wrote this and meant plain DERP.
  EXPECT_EQ(status(Get("/derp", "Upgrade: WebSocket\r\n")), "101");
  EXPECT_EQ(status("POST /derp HTTP/1.1\r\nHost: h\r\nUpgrade: derp\r\n\r\n"), "101");
}

TEST_F(FrontDerp, SaysWhenThereIsNoRelay) {
  options.relay = nullptr;
  EXPECT_TRUE(Ask(Open("127.0.0.1"), Upgrade()).starts_with("HTTP/1.1 404 "));
}

TEST_F(FrontDerp, ClosesStrangersAndGarbage) {
  const core::PrivateKey stranger = core::PrivateKey::Generate();
  for (const std::string& bytes :
       {ClientInfoFrame(stranger, relay_public), std::string("\x02\xff\xff\xff\xff", 5),
        std::string("\x04\0\0\0\0", 5), std::string("\x02\0\0\0\x08nonsense", 13)}) {
    const StreamId stream = Open("127.0.0.1");
    Ask(stream, Upgrade());
    EXPECT_EQ(Ask(stream, bytes), "");
    EXPECT_FALSE(loop.IsOpen(stream));
  }
  EXPECT_EQ(front().stats().derp_failed.Value(), 4u);
  EXPECT_TRUE(relay_clients.empty());
}

TEST_F(FrontDerp, ClosesWhoNeverLogsIn) {
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, Upgrade());
  loop.Advance(core::Seconds(11));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().preface_late.Value(), 1u);
}

TEST_F(FrontDerp, WaitsUntilServerKeyIsSent) {
  const core::PrivateKey key = Member();
  const StreamId stream = Open("127.0.0.1");
  loop.hold_sends = true;
  Ask(stream, Upgrade() + ClientInfoFrame(key, relay_public));
  EXPECT_TRUE(relay_clients.empty());
  // What comes meanwhile waits in the kernel.
  EXPECT_TRUE(loop.IsPaused(stream));
  loop.hold_sends = false;
  loop.Turn();
  EXPECT_EQ(relay_clients.size(), 1u);
}

// --- somebody else decides ---

class FrontDerpAsking : public FrontDerp {
 protected:
  FrontDerpAsking() {
    login.ask = true;
    handlers.admit = [this](const core::NodePublic& key, const core::SocketAddress& remote,
                            FrontHandlers::AdmitAnswer answer) {
      asked.emplace_back(key, remote.ip.text());
      answers.push_back(std::move(answer));
    };
  }
  std::vector<std::pair<core::NodePublic, std::string>> asked;
  std::vector<FrontHandlers::AdmitAnswer> answers;
};

TEST_F(FrontDerpAsking, WaitsForTheAnswer) {
  const core::PrivateKey key = core::PrivateKey::Generate();
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, Upgrade());
  const std::string ping("\x12\0\0\0\x08pingpong", 13);
  EXPECT_EQ(Ask(stream, ClientInfoFrame(key, relay_public) + ping), "");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].first, key.PublicAs<core::NodePublic>());
  EXPECT_EQ(asked[0].second, "127.0.0.1");
  EXPECT_TRUE(relay_clients.empty());
  EXPECT_TRUE(loop.IsPaused(stream));
  answers[0](true);
  loop.Turn();
  ASSERT_EQ(relay_clients.size(), 1u);
  EXPECT_EQ(core::AsText(relay_clients[0].plaintext), ping);
  ASSERT_FALSE(relay_clients[0].server_info.empty());
  EXPECT_EQ(relay_clients[0].server_info[0], 3);
}

TEST_F(FrontDerpAsking, ANoEndsTheConnection) {
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, Upgrade());
  Ask(stream, ClientInfoFrame(core::PrivateKey::Generate(), relay_public));
  ASSERT_EQ(answers.size(), 1u);
  answers[0](false);
  loop.Turn();
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().derp_failed.Value(), 1u);
  EXPECT_TRUE(relay_clients.empty());
}

TEST_F(FrontDerpAsking, WithoutAnAnswerTheDeadlineDecides) {
  const StreamId stream = Open("127.0.0.1");
  Ask(stream, Upgrade());
  Ask(stream, ClientInfoFrame(core::PrivateKey::Generate(), relay_public));
  loop.Advance(core::Seconds(11));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().preface_late.Value(), 1u);
  // Too late.
  answers[0](true);
  loop.Turn();
  EXPECT_TRUE(relay_clients.empty());
}

TEST_F(FrontDerpAsking, MeshPeersAreNotAskedAbout) {
  const std::string mesh_key(64, 'b');
  login.mesh_key = relay::ParseMeshKey(mesh_key);
  front().SetTlsContext(TestCertificate());
  const StreamId stream = Open();
  TlsClient tls;
  tls.Write(Upgrade() + ClientInfoFrame(core::PrivateKey::Generate(), relay_public,
                                        "{\"version\":2,\"meshKey\":\"" + mesh_key + "\"}"));
  Talk(stream, tls);
  EXPECT_TRUE(asked.empty());
  ASSERT_EQ(relay_clients.size(), 1u);
  EXPECT_TRUE(relay_clients[0].can_mesh);
}

TEST_F(FrontDerp, AcceptsOnlySoManyAtATime) {
  limits.accepts_per_second = 2;
  limits.accept_burst = 3;
  for (int i = 0; i < 5; ++i) front().Accept(core::Fd(), {*core::IpAddress::Parse("192.0.2.1"), 1});
  EXPECT_EQ(front().connections(), 3u);
  EXPECT_EQ(front().stats().accept_limit.Value(), 2u);
  loop.Advance(core::Seconds(1));
  for (int i = 0; i < 5; ++i) front().Accept(core::Fd(), {*core::IpAddress::Parse("192.0.2.1"), 1});
  EXPECT_EQ(front().stats().accept_limit.Value(), 5u);
}

}  // namespace
}  // namespace ringscale::serverd

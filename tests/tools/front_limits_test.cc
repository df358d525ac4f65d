#include "tests/tools/front_support.h"
#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {
namespace {

class FrontLimitsTest : public FrontTest {
 protected:
  void UseProxy(const std::string& ip) {
    const std::vector<std::string> proxies{ip};
    options.trusted_proxies = *core::net::TrustedProxies::Parse(proxies);
  }
};

TEST_F(FrontLimitsTest, BoundsTheConnectionsOfASource) {
  std::vector<StreamId> streams;
  for (int i = 0; i < 32; ++i) streams.push_back(Open("192.0.2.1"));
  Open("192.0.2.1");
  EXPECT_EQ(front().connections(), 32u);
  EXPECT_EQ(front().stats().source_limit.Value(), 1u);
  Open("192.0.2.2");
  EXPECT_EQ(front().connections(), 33u);
  loop.PeerCloses(streams[0]);
  Open("192.0.2.1");
  EXPECT_EQ(front().connections(), 33u);
  EXPECT_EQ(shared->sources.sources(), 2u);
}

TEST_F(FrontLimitsTest, OtherLimitsAreTakenOver) {
  for (int i = 0; i < 40; ++i) Open("192.0.2.1");
  EXPECT_EQ(front().connections(), 32u);
  shared->sources.SetPerSource(34);
  for (int i = 0; i < 40; ++i) Open("192.0.2.1");
  EXPECT_EQ(front().connections(), 34u);
  shared->most_connections = 35;
  for (int i = 0; i < 40; ++i) Open("192.0.2." + std::to_string(100 + i));
  EXPECT_EQ(front().connections(), 35u);
}

TEST_F(FrontLimitsTest, OtherProxiesAreTakenOver) {
  hold_answers = true;
  const std::string request = Get("/", "X-Forwarded-For: 198.51.100.1\r\n");
  Ask(Open("192.0.2.80"), request);
  const std::vector<std::string> proxies{"192.0.2.80"};
  front().SetTrustedProxies(*core::net::TrustedProxies::Parse(proxies));
  Ask(Open("192.0.2.80"), request);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].remote.ip.text(), "192.0.2.80");
  EXPECT_EQ(requests[1].remote.ip.text(), "198.51.100.1");
}

TEST_F(FrontLimitsTest, AnIpv6NetworkIsOneSource) {
  for (int i = 0; i < 40; ++i) Open("2001:db8:0:1::" + std::to_string(i + 1));
  EXPECT_EQ(front().connections(), 32u);
  Open("2001:db8:0:2::1");
  EXPECT_EQ(front().connections(), 33u);
}

TEST_F(FrontLimitsTest, LoopbackHasALimitOfItsOwn) {
  // As the key's documentation says.
  const std::string limit = std::to_string(SourceLimits::Limits{}.loopback);
  EXPECT_NE(FindKey("limits.connections_per_source")->doc.find(limit), std::string_view::npos);
  limits.sources.loopback = 50;
  for (int i = 0; i < 60; ++i) Open("127.0.0.1");
  EXPECT_EQ(front().connections(), 50u);
}

TEST_F(FrontLimitsTest, SourcesAreCountedBehindProxies) {
  UseProxy("192.0.2.80");
  hold_answers = true;
  const auto ask = [&](const std::string& client) {
    return Ask(Open("192.0.2.80"), Get("/", "X-Forwarded-For: " + client + "\r\n"));
  };
  for (int i = 0; i < 32; ++i) EXPECT_EQ(ask("198.51.100.1"), "");
  EXPECT_TRUE(ask("198.51.100.1").starts_with("HTTP/1.1 429 "));
  EXPECT_EQ(ask("198.51.100.2"), "");
  EXPECT_EQ(front().stats().source_limit.Value(), 1u);
  EXPECT_EQ(front().connections(), 33u);
  held.clear();
  loop.Turn();
  loop.Advance(core::Seconds(100));
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_EQ(shared->sources.sources(), 0u);
}

TEST_F(FrontLimitsTest, AProxysConnectionChangesItsSource) {
  UseProxy("192.0.2.80");
  const StreamId stream = Open("192.0.2.80");
  for (int i = 0; i < 100; ++i) {
    const std::string client = "198.51.100." + std::to_string(i);
    EXPECT_TRUE(
        Ask(stream, Get("/", "X-Forwarded-For: " + client + "\r\n")).starts_with("HTTP/1.1 200 "));
    EXPECT_EQ(shared->sources.sources(), 1u);
  }
}

TEST_F(FrontLimitsTest, BoundsAllConnections) {
  limits.connections = 3;
  for (int i = 0; i < 5; ++i) Open("192.0.2." + std::to_string(i));
  EXPECT_EQ(front().connections(), 3u);
  EXPECT_EQ(front().stats().full.Value(), 2u);
}

TEST_F(FrontLimitsTest, TheFirstByteComesSoon) {
  const StreamId stream = Open();
  loop.Advance(core::Seconds(4));
  EXPECT_TRUE(loop.IsOpen(stream));
  loop.Advance(core::Seconds(2));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().first_byte_late.Value(), 1u);
}

TEST_F(FrontLimitsTest, TheHeadComesInTimeHoweverItDrips) {
  const StreamId stream = Open();
  for (int i = 0; i < 9; ++i) {
    loop.Arrive(stream, i == 0 ? "GET / HTTP/1.1\r\nHost: h\r\n" : "A: b\r\n");
    loop.Advance(core::Seconds(1));
  }
  EXPECT_TRUE(loop.IsOpen(stream));
  loop.Arrive(stream, "A: b\r\n");
  loop.Advance(core::Seconds(2));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().head_late.Value(), 1u);
}

TEST_F(FrontLimitsTest, TheTlsHandshakeComesInTime) {
  front().SetTlsContext(TestCertificate());
  const StreamId stream = Open();
  TlsClient client;
  loop.Arrive(stream, client.TakeOutput());
  loop.Advance(core::Seconds(9));
  EXPECT_TRUE(loop.IsOpen(stream));
  loop.Advance(core::Seconds(2));
  EXPECT_FALSE(loop.IsOpen(stream));
}

TEST_F(FrontLimitsTest, TheSecondHeadHasItsOwnTime) {
  const StreamId stream = Open();
  Ask(stream, Get("/"));
  loop.Advance(core::Seconds(50));
  EXPECT_TRUE(loop.IsOpen(stream));
  loop.Arrive(stream, "GET ");
  loop.Advance(core::Seconds(9));
  EXPECT_TRUE(loop.IsOpen(stream));
  loop.Arrive(stream, "/ ");
  loop.Advance(core::Seconds(2));
  EXPECT_FALSE(loop.IsOpen(stream));
  const StreamId idle = Open();
  Ask(idle, Get("/"));
  loop.Advance(core::Seconds(61));
  EXPECT_FALSE(loop.IsOpen(idle));
  EXPECT_EQ(front().stats().keep_alive_over.Value(), 1u);
}

TEST_F(FrontLimitsTest, AHandlerThatNeverAnswersCostsTheConnection) {
  hold_answers = true;
  const StreamId stream = Open();
  Ask(stream, Get("/"));
  loop.Advance(core::Seconds(61));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().answer_late.Value(), 1u);
  held.clear();
}

TEST_F(FrontLimitsTest, HandshakesAreBoundedAndMakeRoom) {
  front().SetTlsContext(TestCertificate());
  limits.sources.per_source = 0;
  std::vector<StreamId> streams;
  const auto hello = [&] {
    TlsClient client;
    const StreamId stream = Open("192.0.2." + std::to_string(streams.size() % 200));
    loop.Arrive(stream, client.TakeOutput());
    streams.push_back(stream);
    return stream;
  };
  for (int i = 0; i < 64; ++i) {
    hello();
    loop.Turn();
    EXPECT_NE(loop.TakeSent(streams.back()), "") << i;
  }
  // The places are taken; nobody has held one for long.
  const StreamId waiting = hello();
  loop.Advance(core::Seconds(1));
  EXPECT_EQ(loop.TakeSent(waiting), "");
  EXPECT_TRUE(loop.IsOpen(streams[0]));
  const StreamId newer = hello();
  loop.Advance(core::Millis(1200));
  // After two seconds the oldest give theirs to those who wait.
  EXPECT_NE(loop.TakeSent(newer), "");
  EXPECT_NE(loop.TakeSent(waiting), "");
  EXPECT_FALSE(loop.IsOpen(streams[0]));
  EXPECT_FALSE(loop.IsOpen(streams[1]));
  EXPECT_TRUE(loop.IsOpen(streams[2]));
  EXPECT_EQ(front().stats().handshake_evicted.Value(), 2u);
}

TEST(HandshakeGate, TakesTheNewestFirstAndDropsTheOld) {
  HandshakeGate gate({});
  const core::Instant start{0};
  gate.Push(1, true, start);
  gate.Push(2, true, start + core::Seconds(3));
  gate.Push(3, true, start + core::Seconds(4));
  EXPECT_EQ(gate.Next(start + core::Seconds(4)).next, 3u);
  const auto turn = gate.Next(start + core::Seconds(6));
  EXPECT_EQ(turn.dropped, std::vector<std::uint64_t>{1});
  EXPECT_EQ(turn.next, 2u);
  EXPECT_FALSE(gate.waiting());
  EXPECT_EQ(gate.in_progress(), 2u);
  gate.Done(2);
  gate.Done(3);
  gate.Done(4);
  EXPECT_EQ(gate.in_progress(), 0u);
}

TEST(HandshakeGate, LetsThoseThroughThatNeedNoPlace) {
  HandshakeGate gate({.in_progress = 1});
  const core::Instant start{0};
  gate.Push(1, true, start);
  EXPECT_EQ(gate.Next(start).next, 1u);
  gate.Push(2, false, start);
  gate.Push(3, true, start);
  EXPECT_EQ(gate.Next(start).next, 2u);
  EXPECT_FALSE(gate.Next(start).next);
  EXPECT_TRUE(gate.waiting());
  gate.Done(1);
  EXPECT_EQ(gate.Next(start).next, 3u);
  gate.Push(4, true, start);
  gate.Done(4);
  EXPECT_FALSE(gate.waiting());
}

TEST(HandshakeGate, EvictsWhoKeepsAPlaceTooLong) {
  HandshakeGate gate({.in_progress = 1});
  const core::Instant start{0};
  gate.Push(1, true, start);
  EXPECT_EQ(gate.Next(start).next, 1u);
  gate.Push(2, true, start + core::Seconds(1));
  EXPECT_FALSE(gate.Next(start + core::Seconds(1)).next);
  const auto turn = gate.Next(start + core::Seconds(2));
  EXPECT_EQ(turn.evicted, 1u);
  EXPECT_EQ(turn.next, 2u);
}

TEST(SourceLimits, CountsPerAddressAndNetwork) {
  SourceLimits sources({.per_source = 1, .loopback = 2});
  const auto ip = [](const char* text) { return *core::IpAddress::Parse(text); };
  EXPECT_TRUE(sources.Acquire(ip("192.0.2.1")));
  EXPECT_FALSE(sources.Acquire(ip("192.0.2.1")));
  EXPECT_TRUE(sources.Acquire(ip("2001:db8::1")));
  EXPECT_FALSE(sources.Acquire(ip("2001:db8::ffff:0:0:1")));
  EXPECT_TRUE(sources.Acquire(ip("::1")));
  EXPECT_TRUE(sources.Acquire(ip("::1")));
  EXPECT_FALSE(sources.Acquire(ip("::1")));
  sources.Release(ip("192.0.2.1"));
  EXPECT_TRUE(sources.Acquire(ip("192.0.2.1")));
  EXPECT_EQ(sources.sources(), 3u);
}

}  // namespace
}  // namespace ringscale::serverd

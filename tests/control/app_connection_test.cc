// The whole connection of a client, on a loop without sockets.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "control/app/control_server.h"
#include "tests/control/app_support.h"
#include "tests/support/fake_loop.h"

namespace ringscale::control {
namespace {

using core::engine::StreamId;
using testing::FakeLoop;
using testing::NoiseH2Client;
using testing::NoisePair;

struct Connected {
  explicit Connected(bool early = true, std::uint32_t window = 4 << 20) : client(early, window) {}
  NoiseH2Client client;
  StreamId stream;
  core::MachinePublic machine_key;
};

class ControlApp : public ::testing::Test {
 protected:
  NoiseClient MakeClient(Connected& connected, const std::string& first_plaintext,
                         const std::string& ip = "192.0.2.1", std::uint16_t version = 145) {
    NoisePair pair(version);
    auto accepted = pair.Connect(connected.client);
    connected.machine_key = pair.machine_key;
    NoiseClient client{.fd = core::Fd(),
                       .remote = {*core::IpAddress::Parse(ip), 1000},
                       .session = std::move(accepted.session),
                       .machine_key = accepted.machine_key,
                       .protocol_version = accepted.protocol_version,
                       .plaintext = first_plaintext,
                       .host = "control.example",
                       .https = true};
    return client;
  }
  std::unique_ptr<Connected> Connect(const std::string& ip = "192.0.2.1", bool registered = true) {
    auto connected = std::make_unique<Connected>();
    NoiseClient client = MakeClient(*connected, connected->client.http.TakeOutput(), ip);
    if (registered) api.registered.insert(connected->machine_key);
    server->Accept(std::move(client));
    connected->stream = loop.last_stream();
    Talk(*connected);
    return connected;
  }
  void Talk(Connected& connected) {
    for (int round = 0; round < 1000; ++round) {
      loop.Turn();
      const std::string down = loop.TakeSent(connected.stream);
      if (!down.empty()) {
        ASSERT_TRUE(connected.client.Feed(down));
      }
      const std::string up = connected.client.TakeWire();
      if (!up.empty()) loop.Arrive(connected.stream, up);
      if (up.empty() && down.empty()) return;
    }
  }
  // A map poll with a streaming body.
  std::shared_ptr<TextSource::Shared> StreamMaps() {
    auto shared = std::make_shared<TextSource::Shared>();
    api.on_map = [shared](MachineRequest, Responder responder) {
      responder.Stream(200, "", [&](core::http::BodyWaker& waker) {
        shared->waker = &waker;
        return std::make_unique<TextSource>(shared);
      });
    };
    return shared;
  }

  ControlLimits limits;
  FakeLoop loop;
  core::tls::AeadPool pool{core::tls::AeadPool::Engine::kOpenSsl};
  RecordingApi api;
  std::unique_ptr<ControlServer> server = std::make_unique<ControlServer>(loop, pool, api, limits);
};

// What is queued stays where newer output can replace it; who is gone is noticed.
TEST_F(ControlApp, SocketOptionsOfAClient) {
  Connected connected;
  NoiseClient client = MakeClient(connected, connected.client.http.TakeOutput());
  client.fd = core::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = client.fd.get();
  server->Accept(std::move(client));
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, name, &value, &length), 0);
    return value;
  };
  EXPECT_EQ(option(TCP_NOTSENT_LOWAT), 128 * 1024);
  EXPECT_EQ(option(TCP_USER_TIMEOUT), 15'000);
  EXPECT_NE(option(TCP_NODELAY), 0);
}

TEST_F(ControlApp, SendsTheEarlyPayloadFirst) {
  const auto connected = Connect();
  EXPECT_EQ(connected->client.early_json.substr(0, 29), "{\"nodeKeyChallenge\":\"chalpub:");
  EXPECT_EQ(connected->client.early_json.size(), 95u);
  EXPECT_GE(connected->client.http.settings, 2);  // theirs, and their acknowledgement
  EXPECT_EQ(server->connections(), 1u);
}

TEST_F(ControlApp, AnswersARegistration) {
  const auto connected = Connect();
  api.on_register = [](MachineRequest, Responder responder) {
    EXPECT_TRUE(responder.Json("{\"MachineAuthorized\":true}"));
  };
  const auto stream = connected->client.http.Request("POST", "/machine/register?q=1", "{\"a\":1}");
  Talk(*connected);
  const auto& answer = connected->client.http.answers[stream];
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"MachineAuthorized\":true}");
  EXPECT_EQ(answer.headers.at("content-type"), "application/json; charset=utf-8");
  ASSERT_EQ(api.calls.size(), 1u);
  const MachineRequest& request = api.calls[0].request;
  EXPECT_EQ(request.body, "{\"a\":1}");
  EXPECT_EQ(request.query, "q=1");
  EXPECT_EQ(request.authority, "control.example:443");
  EXPECT_EQ(request.connection->machine_key, connected->machine_key);
  EXPECT_EQ(request.connection->protocol_version, 145);
  EXPECT_EQ(request.connection->host, "control.example");
  EXPECT_TRUE(request.connection->https);
  EXPECT_EQ(request.connection->remote.text(), "192.0.2.1:1000");
  EXPECT_EQ(server->stats().requests.Value(), 1u);
}

TEST_F(ControlApp, AnswersLaterFromOutside) {
  const auto connected = Connect();
  std::vector<Responder> held;
  api.on_register = [&](MachineRequest, Responder responder) {
    held.push_back(std::move(responder));
  };
  const auto stream = connected->client.http.Request("POST", "/machine/register", "{}");
  Talk(*connected);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_FALSE(held[0].gone());
  EXPECT_TRUE(held[0].Json("{}"));
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[stream].body, "{}");
}

TEST_F(ControlApp, TellsWhenTheClientOfALaterAnswerHasGone) {
  const auto connected = Connect();
  std::vector<Responder> held;
  int gone = 0;
  api.on_register = [&](MachineRequest, Responder responder) {
    responder.OnGone([&] { ++gone; });
    held.push_back(std::move(responder));
  };
  const auto first = connected->client.http.Request("POST", "/machine/register", "{}");
  connected->client.http.Request("POST", "/machine/register", "{}");
  Talk(*connected);
  connected->client.http.Reset(first);
  Talk(*connected);
  EXPECT_EQ(gone, 1);
  EXPECT_TRUE(held[0].gone());
  EXPECT_FALSE(held[1].gone());
  loop.PeerCloses(connected->stream);
  EXPECT_EQ(gone, 2);
  EXPECT_TRUE(held[1].gone());
  EXPECT_FALSE(held[1].Json("{}"));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_by_peer.Value(), 1u);
}

TEST_F(ControlApp, StreamsAsTheSourceHasSomething) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  const auto stream = connected->client.http.Request("POST", "/machine/map", "{}");
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[stream].status, 200);
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const std::string message = std::to_string(i) + std::string(1000, 'm');
    expected += message;
    source->text += message;
    source->waker->Wake();
    Talk(*connected);
    EXPECT_EQ(connected->client.http.answers[stream].body, expected);
  }
  connected->client.http.Reset(stream);
  Talk(*connected);
  EXPECT_TRUE(source->aborted);
  EXPECT_EQ(source->alive, 0);
}

TEST_F(ControlApp, ALargeMapArrivesWhole) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  for (int i = 0; i < 300'000; ++i) source->text += std::to_string(i) + ",";
  source->ended = true;
  const std::string expected = source->text;
  const auto stream = connected->client.http.Request("POST", "/machine/map", "{}");
  Talk(*connected);
  EXPECT_TRUE(connected->client.http.answers[stream].ended);
  EXPECT_TRUE(connected->client.http.answers[stream].body == expected);
}

TEST_F(ControlApp, PullsNoMoreThanTheSocketTakes) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  source->text = std::string(1 << 20, 'x');
  connected->client.http.Request("POST", "/machine/map", "{}");
  loop.hold_sends = true;
  loop.Arrive(connected->stream, connected->client.TakeWire());
  loop.Turn();
  source->waker->Wake();
  loop.Turn();
  const std::size_t queued = loop.QueuedBytes(connected->stream);
  EXPECT_GE(queued, limits.send_high_water);
  EXPECT_LT(queued, limits.send_high_water + (32 << 10));
  EXPECT_GT(source->text.size(), std::size_t{800} << 10);
  loop.hold_sends = false;
  Talk(*connected);
  EXPECT_TRUE(source->text.empty());
}

TEST_F(ControlApp, FlushesManyConnectionsInSlices) {
  const auto source = StreamMaps();
  std::vector<std::unique_ptr<Connected>> all;
  std::vector<core::http::BodyWaker*> wakers;
  for (int i = 0; i < 300; ++i) {
    all.push_back(Connect());
    all.back()->client.http.Request("POST", "/machine/map", "{}");
    Talk(*all.back());
    wakers.push_back(source->waker);
  }
  source->text = std::string(300, 'x');
  for (auto* waker : wakers) waker->Wake();
  loop.Turn();
  EXPECT_TRUE(source->text.empty());
  // A full task queue delays, it does not lose.
  loop.refuse_posts = true;
  source->text = "y";
  wakers.back()->Wake();
  loop.Advance(core::Millis(10));
  EXPECT_TRUE(source->text.empty());
}

TEST_F(ControlApp, RefusesLargeBodiesOfUnregisteredMachines) {
  const auto connected = Connect("192.0.2.1", false);
  const auto large =
      connected->client.http.Request("POST", "/machine/register", std::string((64 << 10) + 1, 'x'));
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[large].status, 413);
  EXPECT_TRUE(api.calls.empty());
  // Registered meanwhile.
  api.registered.insert(connected->machine_key);
  api.on_map = [](MachineRequest request, Responder responder) {
    responder.Text(200, std::to_string(request.body.size()));
  };
  const auto fits =
      connected->client.http.Request("POST", "/machine/map", std::string(1 << 20, 'x'));
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[fits].body, "1048576\n");
  const auto too_large =
      connected->client.http.Request("POST", "/machine/map", std::string((1 << 20) + 1, 'x'));
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[too_large].status, 413);
}

TEST_F(ControlApp, ClosesOnARecordThatDoesNotAuthenticate) {
  const auto connected = Connect();
  std::string wire = connected->client.Seal("xxxx");
  wire[10] = static_cast<char>(wire[10] ^ 1);
  loop.Arrive(connected->stream, wire);
  loop.Turn();
  EXPECT_FALSE(loop.IsOpen(connected->stream));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_noise.Value(), 1u);
}

TEST_F(ControlApp, ClosesOnWhatIsNotHttp2) {
  Connected connected;
  NoiseClient client = MakeClient(connected, "GET / HTTP/1.1\r\n\r\nxxxxxxxxx");
  server->Accept(std::move(client));
  loop.Turn();
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_http2.Value(), 1u);
}

TEST_F(ControlApp, SaysGoodbyeOnAProtocolViolation) {
  const auto connected = Connect();
  // DATA on stream 0.
  loop.Arrive(connected->stream, connected->client.Seal(std::string("\0\0\1\0\0\0\0\0\0x", 10)));
  loop.Turn();
  EXPECT_TRUE(loop.WasFlushed(connected->stream));
  EXPECT_TRUE(connected->client.Feed(loop.TakeSent(connected->stream)));
  EXPECT_TRUE(connected->client.http.goaway);
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ControlApp, ClosesTheSilentAndTheSlow) {
  Connected silent;
  server->Accept(MakeClient(silent, "PRI * HTTP/2.0\r\n"));
  loop.Advance(core::Seconds(16));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_slow.Value(), 1u);

  const auto slow = Connect();
  slow->client.http.Request("POST", "/machine/map", "", {}, true);
  Talk(*slow);
  loop.Advance(core::Seconds(20));
  EXPECT_EQ(server->connections(), 1u);
  loop.Advance(core::Seconds(20));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_slow.Value(), 2u);
}

TEST_F(ControlApp, ClosesTheIdleSoonerWhenUnregistered) {
  const auto registered = Connect("192.0.2.1", true);
  const auto unregistered = Connect("192.0.2.2", false);
  loop.Advance(core::Seconds(40));
  EXPECT_TRUE(loop.IsOpen(registered->stream));
  EXPECT_FALSE(loop.IsOpen(unregistered->stream));
  EXPECT_TRUE(unregistered->client.Feed(loop.TakeSent(unregistered->stream)));
  EXPECT_TRUE(unregistered->client.http.goaway);
  loop.Advance(core::Seconds(600));
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(server->stats().closed_idle.Value(), 2u);
}

TEST_F(ControlApp, ClosesTheIdleThatTakesNoGoodbye) {
  const auto connected = Connect("192.0.2.2", false);
  loop.hold_sends = true;
  loop.Send(connected->stream, std::string(limits.send_high_water, 'x'));
  loop.Advance(core::Seconds(32));
  EXPECT_TRUE(loop.IsOpen(connected->stream));
  loop.Advance(core::Seconds(5));
  EXPECT_FALSE(loop.IsOpen(connected->stream));
  EXPECT_EQ(server->stats().closed_idle.Value(), 1u);
}

TEST_F(ControlApp, AStreamKeepsItsConnection) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  connected->client.http.Request("POST", "/machine/map", "{}");
  Talk(*connected);
  loop.Advance(core::Seconds(3600));
  EXPECT_TRUE(loop.IsOpen(connected->stream));
}

TEST_F(ControlApp, BoundsUnregisteredConnectionsBySourceAndInAll) {
  limits.unregistered_per_source = 3;
  limits.unregistered = 5;
  server = std::make_unique<ControlServer>(loop, pool, api, limits);
  std::vector<std::unique_ptr<Connected>> all;
  for (int i = 0; i < 5; ++i) {
    // One IPv6 /64.
    all.push_back(Connect("2001:db8::" + std::to_string(i + 1), false));
  }
  EXPECT_EQ(server->connections(), 3u);
  EXPECT_FALSE(loop.IsOpen(all[0]->stream));
  EXPECT_FALSE(loop.IsOpen(all[1]->stream));
  EXPECT_TRUE(loop.IsOpen(all[4]->stream));
  EXPECT_EQ(server->stats().evicted_source.Value(), 2u);
  all.push_back(Connect("192.0.2.1", false));
  all.push_back(Connect("192.0.2.2", false));
  EXPECT_EQ(server->connections(), 5u);
  Connected refused;
  server->Accept(MakeClient(refused, refused.client.http.TakeOutput(), "192.0.2.3"));
  EXPECT_EQ(server->connections(), 5u);
  EXPECT_EQ(server->stats().refused_full.Value(), 1u);
  // Registered machines are not held to it.
  const auto member = Connect("192.0.2.3", true);
  EXPECT_EQ(server->connections(), 6u);
}

TEST_F(ControlApp, BoundsTheConnectionsOfOneMachine) {
  limits.per_machine = 2;
  server = std::make_unique<ControlServer>(loop, pool, api, limits);
  const auto raw = core::PrivateKey::Generate();
  std::array<std::uint8_t, 32> key{};
  std::copy_n(raw.raw(), 32, key.begin());
  std::vector<StreamId> streams;
  for (int i = 0; i < 3; ++i) {
    NoisePair pair;
    NoiseH2Client client;
    auto accepted = pair.Connect(client, core::PrivateKey::FromRaw(key));
    api.registered.insert(accepted.machine_key);
    server->Accept(NoiseClient{.fd = core::Fd(),
                               .remote = {*core::IpAddress::Parse("192.0.2.1"), 1},
                               .session = std::move(accepted.session),
                               .machine_key = accepted.machine_key,
                               .protocol_version = 145});
    streams.push_back(loop.last_stream());
  }
  EXPECT_FALSE(loop.IsOpen(streams[0]));
  EXPECT_TRUE(loop.IsOpen(streams[1]));
  EXPECT_TRUE(loop.IsOpen(streams[2]));
}

TEST_F(ControlApp, DrainsAndCloses) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  const auto stream = connected->client.http.Request("POST", "/machine/map", "{}");
  Talk(*connected);
  server->BeginDrain();
  Talk(*connected);
  EXPECT_TRUE(connected->client.http.goaway);
  EXPECT_EQ(server->connections(), 1u);
  source->text = "last";
  source->ended = true;
  source->waker->Wake();
  Talk(*connected);
  EXPECT_EQ(connected->client.http.answers[stream].body, "last");
  EXPECT_EQ(server->connections(), 0u);
  Connected late;
  server->Accept(MakeClient(late, late.client.http.TakeOutput()));
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ControlApp, CloseAllTellsTheStreams) {
  const auto connected = Connect();
  const auto source = StreamMaps();
  connected->client.http.Request("POST", "/machine/map", "{}");
  Talk(*connected);
  server->CloseAll();
  EXPECT_TRUE(source->aborted);
  EXPECT_EQ(source->alive, 0);
  EXPECT_FALSE(loop.IsOpen(connected->stream));
  server.reset();
  loop.Advance(core::Seconds(60));
}

TEST_F(ControlApp, ClosingInsideARequestIsSafe) {
  const auto connected = Connect();
  api.on_register = [&](MachineRequest, Responder responder) {
    server->CloseAll();
    responder.Json("{}");
  };
  connected->client.http.Request("POST", "/machine/register", "{}");
  loop.Arrive(connected->stream, connected->client.TakeWire());
  loop.Turn();
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ControlApp, SpeaksWebSocketWithoutEarlyPayload) {
  Connected connected(false);
  NoiseClient client = MakeClient(connected, connected.client.http.TakeOutput());
  client.websocket = std::make_unique<core::http::WebSocket>();
  api.registered.insert(connected.machine_key);
  api.on_register = [](MachineRequest, Responder responder) {
    responder.Json(std::string(100'000, 'j'));
  };
  server->Accept(std::move(client));
  connected.stream = loop.last_stream();
  const auto feed = [&](std::string down) {
    while (!down.empty()) {
      ASSERT_EQ(static_cast<std::uint8_t>(down[0]), 0x82);
      std::size_t size = static_cast<std::uint8_t>(down[1]);
      std::size_t head = 2;
      if (size == 126) {
        size = core::LoadBe16(core::AsBytes(down).data() + 2);
        head = 4;
      }
      ASSERT_LE(size, core::http::WebSocket::kMaxSend);
      ASSERT_TRUE(connected.client.Feed(down.substr(head, size)));
      down.erase(0, head + size);
    }
  };
  const auto stream = connected.client.http.Request("POST", "/machine/register", "{}");
  for (int i = 0; i < 20; ++i) {
    loop.Turn();
    feed(loop.TakeSent(connected.stream));
    const std::string up = connected.client.TakeWire();
    if (up.empty()) continue;
    // A masked frame, mask zero.
    std::string frame("\x82");
    if (up.size() < 126) {
      frame += static_cast<char>(0x80 | up.size());
    } else {
      frame += '\xfe';
      frame += static_cast<char>(up.size() >> 8);
      frame += static_cast<char>(up.size());
    }
    frame += std::string(4, '\0') + up;
    loop.Arrive(connected.stream, frame);
  }
  EXPECT_EQ(connected.client.http.answers[stream].body.size(), 100'000u);
  loop.Arrive(connected.stream, std::string("\x81\x80\0\0\0\0", 6));  // a text message
  loop.Turn();
  EXPECT_EQ(loop.TakeSent(connected.stream), "\x88\x02\x03\xeb");
  EXPECT_EQ(server->stats().closed_transport.Value(), 1u);
}

TEST_F(ControlApp, CountsForTheMetrics) {
  core::MetricsRegistry registry;
  server->AddMetrics(registry);
  const auto connected = Connect();
  const std::string text = registry.Render();
  EXPECT_NE(text.find("ringscale_control_connections 1"), std::string::npos);
  EXPECT_NE(text.find("ringscale_control_closed_total{reason=\"noise\"} 0"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::control

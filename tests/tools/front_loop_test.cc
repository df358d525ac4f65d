// The front door and the control plane's connections on real loops and sockets,
// io_uring and epoll, plain and TLS.
#include <poll.h>

#include <future>
#include <mutex>
#include <thread>

#include "control/app/control_server.h"
#include "core/engine/loop_thread.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/tools/front_dialer.h"

namespace ringscale::serverd {
namespace {

// Answers registrations from the body, maps with a stream that the test feeds.
class EchoApi final : public control::MachineApi {
 public:
  class Source final : public core::http::BodySource {
   public:
    explicit Source(EchoApi& api) : api_(api) {}
    Status Pull(std::size_t limit, core::SliceList& out) override {
      const std::size_t n = std::min(limit, api_.pending.bytes.size());
      if (n == 0) return Status::kWait;
      out.push_back({api_.pending.owner, api_.pending.bytes.substr(0, n)});
      api_.pending.bytes.remove_prefix(n);
      return Status::kMore;
    }
    void OnAborted() override { api_.aborted.set_value(); }

   private:
    EchoApi& api_;
  };

  [[nodiscard]] bool IsRegistered(const core::MachinePublic&) const override { return true; }
  void Register(control::MachineRequest request, control::Responder responder) override {
    responder.Json(request.connection->host + (request.connection->https ? "+tls:" : ":") +
                   request.body);
  }
  void Map(control::MachineRequest, control::Responder responder) override {
    responder.Stream(200, "", [this](core::http::BodyWaker& stream_waker) {
      waker = &stream_waker;
      return std::make_unique<Source>(*this);
    });
  }

  core::SharedSlice pending;
  core::http::BodyWaker* waker = nullptr;
  std::promise<void> aborted;
};

struct Variant {
  bool epoll;
  bool tls;
  friend void PrintTo(const Variant& v, std::ostream* out) {
    *out << (v.epoll ? "epoll" : "uring") << (v.tls ? "_tls" : "_plain");
  }
};

class FrontOnLoop : public ::testing::TestWithParam<Variant> {
 protected:
  FrontOnLoop() {
    relay_public = relay_key.PublicRaw();
    front_thread = StartThread("front");
    control_thread = StartThread("control");
    RunOn(control_thread->loop(), [&] {
      pool = std::make_unique<core::tls::AeadPool>();
      control_server = std::make_unique<control::ControlServer>(control_thread->loop(), *pool, api);
    });
    FrontOptions options;
    options.noise_key = &noise_key;
    options.relay = &login;
    FrontHandlers handlers;
    handlers.handle = [this](FrontRequest request, HttpResponder responder) {
      // Answered by a thread of its own, as the admin API is.
      const std::lock_guard lock(workers_mutex);
      if (request.http.path == "/held") {
        held.set_value(std::move(responder));
        return;
      }
      workers.emplace_back([path = request.http.path, answer = std::move(responder)]() mutable {
        answer.Send(core::http::TextResponse(200, "page " + path));
      });
    };
    handlers.to_control = [this](control::NoiseClient client) {
      return control_thread->loop().Post([this, taken = std::move(client)]() mutable {
        control_server->Accept(std::move(taken));
      });
    };
    handlers.to_relay = [this](relay::LoggedInClient client) {
      relay_client.set_value(std::move(client));
      return true;
    };
    const auto address = core::net::ParseListenAddress("127.0.0.1:0");
    listener = std::move(*core::net::OpenTcpListener(*address));
    port = core::net::LocalAddress(listener.get()).port;
    RunOn(front_thread->loop(), [&] {
      front = std::make_unique<Front>(front_thread->loop(), shared, options, handlers);
      front->SetTlsContext(TestCertificate());
      front->Listen(listener.get());
    });
  }
  ~FrontOnLoop() override {
    RunOn(front_thread->loop(), [&] { front.reset(); });
    {
      const std::lock_guard lock(workers_mutex);
      for (std::thread& worker : workers) worker.join();
    }
    RunOn(control_thread->loop(), [&] {
      control_server.reset();
      pool.reset();
    });
    front_thread->Join();
    control_thread->Join();
  }
  static std::unique_ptr<core::engine::LoopThread> StartThread(const std::string& name) {
    core::engine::LoopThreadOptions options;
    options.loop.name = name;
    options.loop.force_epoll = GetParam().epoll;
    auto thread = core::engine::LoopThread::Start(options);
    EXPECT_TRUE(thread);
    return std::move(*thread);
  }

  core::PrivateKey noise_key = core::PrivateKey::Generate();
  core::PrivateKey relay_key = core::PrivateKey::Generate();
  std::array<std::uint8_t, 32> relay_public{};
  relay::AdmissionSet admission;
  relay::LoginContext login{relay_key, relay_key.PublicRaw(), admission, std::nullopt};
  FrontShared shared{FrontLimits{}};
  EchoApi api;
  std::promise<relay::LoggedInClient> relay_client;
  std::promise<HttpResponder> held;
  std::mutex workers_mutex;
  std::vector<std::thread> workers;
  core::Fd listener;
  std::uint16_t port = 0;
  std::unique_ptr<core::engine::LoopThread> front_thread;
  std::unique_ptr<core::engine::LoopThread> control_thread;
  std::unique_ptr<core::tls::AeadPool> pool;
  std::unique_ptr<control::ControlServer> control_server;
  std::unique_ptr<Front> front;
};

TEST_P(FrontOnLoop, AnswersRequestsFromOtherThreads) {
  Dialer dialer(port, GetParam().tls);
  for (int i = 0; i < 20; ++i) {
    const std::string path = "/" + std::to_string(i);
    dialer.Write(Get(path));
    ASSERT_TRUE(
        dialer.ReadUntil([&] { return dialer.received().ends_with("page " + path + "\n"); }));
  }
  dialer.Write(Get("/end", "Connection: close\r\n"));
  while (dialer.ReadSome()) {
  }
  EXPECT_TRUE(dialer.received().ends_with("page /end\n"));
}

TEST_P(FrontOnLoop, AnAnswerMayComeAfterTheEnd) {
  Dialer dialer(port, GetParam().tls);
  dialer.Write(Get("/held"));
  HttpResponder responder = held.get_future().get();
  RunOn(front_thread->loop(), [&] { front.reset(); });
  responder.Send(core::http::TextResponse(200, "late"));
  while (dialer.ReadSome()) {
  }
  EXPECT_EQ(dialer.received(), "");
}

TEST_P(FrontOnLoop, ManyConnectionsAtOnce) {
  std::vector<std::unique_ptr<Dialer>> dialers;
  for (int i = 0; i < 100; ++i) dialers.push_back(std::make_unique<Dialer>(port, GetParam().tls));
  for (auto& dialer : dialers) dialer->Write(Get("/x", "Connection: close\r\n"));
  for (auto& dialer : dialers) {
    while (dialer->ReadSome()) {
    }
    EXPECT_TRUE(dialer->received().ends_with("page /x\n"));
  }
}

TEST_P(FrontOnLoop, CarriesAClientOfTheControlPlane) {
  auto dialer = std::make_unique<Dialer>(port, GetParam().tls);
  control::noise::Initiator initiator(core::PrivateKey::Generate(),
                                      noise_key.PublicAs<core::MachinePublic>(), 142);
  dialer->Write(NoiseUpgrade(initiator));
  const auto head_end = [&] { return dialer->received().find("\r\n\r\n"); };
  ASSERT_TRUE(dialer->ReadUntil([&] {
    return head_end() != std::string::npos &&
           dialer->received().size() >= head_end() + 4 + control::noise::kResponseSize;
  }));
  auto session = initiator.Finish(
      core::AsBytes(dialer->received()).subspan(head_end() + 4, control::noise::kResponseSize));
  ASSERT_TRUE(session);
  dialer->received().clear();

  testing::NoiseH2Client client;
  client.SetSession(std::move(*session));
  const auto talk_until = [&](const std::function<bool()>& enough) {
    return dialer->ReadUntil([&] {
      EXPECT_TRUE(client.Feed(std::exchange(dialer->received(), {})));
      if (const std::string up = client.TakeWire(); !up.empty()) dialer->Write(up);
      return enough();
    });
  };
  const auto registration = client.http.Request("POST", "/machine/register", "{\"x\":1}");
  ASSERT_TRUE(talk_until([&] { return client.http.answers[registration].ended; }));
  EXPECT_EQ(client.http.answers[registration].body, GetParam().tls
                                                        ? "control.example:8080+tls:{\"x\":1}"
                                                        : "control.example:8080:{\"x\":1}");
  EXPECT_FALSE(client.early_json.empty());

  const auto poll = client.http.Request("POST", "/machine/map", "{}");
  ASSERT_TRUE(talk_until([&] { return client.http.answers[poll].status == 200; }));
  std::string expected;
  for (const std::size_t size : {std::size_t{100}, std::size_t{3} << 20, std::size_t{1}}) {
    std::string message(size, 'm');
    for (std::size_t i = 0; i < size; ++i) message[i] = static_cast<char>(i * 31 >> 3);
    expected += message;
    RunOn(control_thread->loop(), [&] {
      api.pending = core::SharedSlice::Own(message);
      api.waker->Wake();
    });
    ASSERT_TRUE(
        talk_until([&] { return client.http.answers[poll].body.size() == expected.size(); }));
  }
  EXPECT_TRUE(client.http.answers[poll].body == expected);

  auto aborted = api.aborted.get_future();
  dialer.reset();
  aborted.wait();
  RunOn(control_thread->loop(), [&] { EXPECT_EQ(control_server->connections(), 0u); });
}

TEST_P(FrontOnLoop, HandsRelayClientsOver) {
  const core::PrivateKey key = core::PrivateKey::Generate();
  admission.Add(key.PublicAs<core::NodePublic>());
  Dialer dialer(port, GetParam().tls);
  dialer.Write(Get("/derp", "Upgrade: DERP\r\nConnection: Upgrade\r\n") +
               ClientInfoFrame(key, relay_public));
  relay::LoggedInClient client = relay_client.get_future().get();
  EXPECT_EQ(client.key, key.PublicAs<core::NodePublic>());
  EXPECT_EQ(client.tls != nullptr, GetParam().tls);
  // The descriptor is ours alone: what the client sends now arrives here.
  dialer.Write("frame");
  pollfd readable{.fd = client.fd.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&readable, 1, 30'000), 1);
  EXPECT_NE(readable.revents & POLLIN, 0);
  char buffer[64];
  const ssize_t n = recv(client.fd.get(), buffer, sizeof buffer, 0);
  EXPECT_EQ(n, GetParam().tls ? 5 + 5 + 1 + 16 : 5);
}

INSTANTIATE_TEST_SUITE_P(Kinds, FrontOnLoop,
                         ::testing::Values(Variant{false, false}, Variant{false, true},
                                           Variant{true, false}, Variant{true, true}),
                         [](const auto& param) {
                           return std::string(param.param.epoll ? "Epoll" : "Uring") +
                                  (param.param.tls ? "Tls" : "Plain");
                         });

}  // namespace
}  // namespace ringscale::serverd

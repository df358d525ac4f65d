#include "tests/tools/front_support.h"

namespace ringscale::serverd {
namespace {

class FrontHttp : public FrontTest {};

TEST_F(FrontHttp, AnswersPlainRequestsAndKeepsTheConnection) {
  const StreamId stream = Open();
  const std::string first = Ask(stream, Get("/one"));
  EXPECT_TRUE(first.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(first.ends_with("\r\n\r\npage /one\n"));
  EXPECT_NE(first.find("X-Frame-Options: DENY"), std::string::npos);
  EXPECT_TRUE(Ask(stream, Get("/two")).ends_with("page /two\n"));
  EXPECT_TRUE(loop.IsOpen(stream));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].host, "h.example");
  EXPECT_EQ(requests[0].remote.text(), "192.0.2.1:1000");
  EXPECT_FALSE(requests[0].https);
  EXPECT_FALSE(requests[0].local);
}

TEST_F(FrontHttp, AnswersByteByByteAndPipelined) {
  const StreamId stream = Open();
  for (const char c : Get("/slow")) loop.Arrive(stream, std::string_view(&c, 1));
  EXPECT_TRUE(loop.TakeSent(stream).ends_with("page /slow\n"));
  const std::string both = Ask(stream, Get("/a") + Get("/b"));
  EXPECT_NE(both.find("page /a\n"), std::string::npos);
  EXPECT_TRUE(both.ends_with("page /b\n"));
}

TEST_F(FrontHttp, KeepsPipelinedRequestsForTheirTurn) {
  hold_answers = true;
  const StreamId stream = Open();
  EXPECT_EQ(Ask(stream, Get("/a") + Get("/b") + "GET /c"), "");
  ASSERT_EQ(held.size(), 1u);
  EXPECT_TRUE(loop.IsPaused(stream));
  held[0].Send(core::http::TextResponse(200, "A"));
  loop.Turn();
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(requests[1].http.path, "/b");
  held[1].Send(core::http::TextResponse(200, "B"));
  loop.Turn();
  EXPECT_FALSE(loop.IsPaused(stream));
  loop.Arrive(stream, " HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_EQ(held.size(), 3u);
  EXPECT_EQ(requests[2].http.path, "/c");
  const std::string sent = loop.TakeSent(stream);
  EXPECT_LT(sent.find("\r\n\r\nA\n"), sent.find("\r\n\r\nB\n"));
}

TEST_F(FrontHttp, AnswersOfConnectionsThatAreGoneGoNowhere) {
  hold_answers = true;
  const StreamId stream = Open();
  Ask(stream, Get("/a"));
  loop.PeerCloses(stream);
  EXPECT_EQ(front().connections(), 0u);
  held[0].Send(core::http::TextResponse(200, "late"));
  EXPECT_EQ(loop.TakeSent(stream), "");
}

TEST_F(FrontHttp, AnUnansweredRequestGets500) {
  hold_answers = true;
  const StreamId stream = Open();
  Ask(stream, Get("/a"));
  held.clear();
  EXPECT_TRUE(loop.TakeSent(stream).starts_with("HTTP/1.1 500 "));
}

TEST_F(FrontHttp, TakesBodiesUpToTheLimitOfTheirPath) {
  handlers.body_limit = [](const core::http::HttpRequest& head) {
    return head.path == "/large" ? std::size_t{100} : std::size_t{4};
  };
  const auto post = [](std::string_view path, std::size_t size) {
    return "POST " + std::string(path) +
           " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
           std::string(size, 'b');
  };
  const StreamId stream = Open();
  Ask(stream, post("/large", 100));
  Ask(stream, post("/small", 4));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].http.body, std::string(100, 'b'));
  const std::string refused = Ask(stream, post("/small", 5));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 413 "));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().bad_request.Value(), 1u);
}

TEST_F(FrontHttp, SaysContinueToWhoWaits) {
  const StreamId stream = Open();
  EXPECT_EQ(Ask(stream,
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(Ask(stream, "ok").starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(requests[0].http.body, "ok");
}

TEST_F(FrontHttp, ClosesWhenAskedTo) {
  const StreamId stream = Open();
  EXPECT_NE(Ask(stream, Get("/", "Connection: close\r\n")).find("Connection: close"),
            std::string::npos);
  EXPECT_TRUE(loop.WasFlushed(stream));
  const StreamId old = Open();
  Ask(old, "GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(loop.WasFlushed(old));
  EXPECT_EQ(front().connections(), 0u);
}

TEST_F(FrontHttp, RefusesMalformedRequests) {
  for (const char* text :
       {"PRI * HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\x01\x02", "ABC\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"}) {
    const StreamId stream = Open();
    EXPECT_TRUE(Ask(stream, text).starts_with("HTTP/1.1 ")) << text;
    EXPECT_FALSE(loop.IsOpen(stream));
  }
  EXPECT_EQ(front().stats().bad_request.Value(), 5u);
  EXPECT_TRUE(requests.empty());
}

TEST_F(FrontHttp, ServesTheProbesAndTheKey) {
  const StreamId stream = Open();
  for (const char* path : {"/derp/probe", "/derp/latency-check"}) {
    const std::string answer = Ask(stream, Get(path));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 "));
    EXPECT_NE(answer.find("Access-Control-Allow-Origin: *\r\n"), std::string::npos);
    EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
  }
  EXPECT_TRUE(Ask(stream, "POST /derp/probe HTTP/1.1\r\nHost: h\r\n\r\n")
                  .ends_with("bogus probe method\n"));
  const std::string portal = Ask(stream, Get("/generate_204", "X-Tailscale-Challenge: ts_h:1\r\n"));
  EXPECT_TRUE(portal.starts_with("HTTP/1.1 204 "));
  EXPECT_NE(portal.find("X-Tailscale-Response: response ts_h:1\r\n"), std::string::npos);
  EXPECT_NE(portal.find("Cache-Control: no-cache, no-store, must-revalidate, no-transform, "
                        "max-age=0\r\n"),
            std::string::npos);
  for (const std::string& bad : {std::string("a b"), std::string(65, 'a'), std::string("<a>")}) {
    EXPECT_EQ(Ask(stream, Get("/generate_204", "X-Tailscale-Challenge: " + bad + "\r\n"))
                  .find("X-Tailscale-Response"),
              std::string::npos);
  }
  const std::string key = Ask(stream, Get("/key?v=145"));
  EXPECT_TRUE(key.ends_with("{\"legacyPublicKey\":\"mkey:" + std::string(64, '0') +
                            "\",\"publicKey\":\"" +
                            noise_key.PublicAs<core::MachinePublic>().text() + "\"}"));
  EXPECT_NE(key.find("Content-Type: application/json"), std::string::npos);
  EXPECT_TRUE(Ask(stream, Get("/key")).ends_with("capability version must be set\n"));
  EXPECT_TRUE(Ask(stream, Get("/key?v=x")).ends_with("invalid capability version\n"));
  EXPECT_TRUE(Ask(stream, Get("/key?v=30")).ends_with("\r\n\r\n"));
  EXPECT_TRUE(requests.empty());
}

TEST_F(FrontHttp, BelievesOnlyTrustedProxies) {
  const std::vector<std::string> proxies{"192.0.2.80/32"};
  options.trusted_proxies = *core::net::TrustedProxies::Parse(proxies);
  const std::string forwarded =
      Get("/",
          "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"
          "X-Forwarded-Host: public.example\r\n");
  Ask(Open("192.0.2.80"), forwarded);
  Ask(Open("192.0.2.1"), forwarded);
  Ask(Open("127.0.0.1"), forwarded);
  Ask(Open("127.0.0.1"), Get("/"));
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].remote.ip.text(), "198.51.100.7");
  EXPECT_TRUE(requests[0].https);
  EXPECT_EQ(requests[0].host, "public.example");
  EXPECT_EQ(requests[1].remote.ip.text(), "192.0.2.1");
  EXPECT_FALSE(requests[1].https);
  EXPECT_EQ(requests[1].host, "h.example");
  EXPECT_FALSE(requests[2].local);
  EXPECT_TRUE(requests[3].local);
}

TEST_F(FrontHttp, ServesTls) {
  front().SetTlsContext(TestCertificate());
  for (const bool tls12 : {false, true}) {
    const StreamId stream = Open();
    TlsClient client(tls12);
    client.Write(Get("/secure"));
    Talk(stream, client);
    EXPECT_TRUE(client.received.ends_with("page /secure\n")) << tls12;
    client.Write(Get("/again", "Connection: close\r\n"));
    Talk(stream, client);
    EXPECT_TRUE(client.received.ends_with("page /again\n"));
    EXPECT_TRUE(client.closed);  // close_notify
    EXPECT_FALSE(loop.IsOpen(stream));
  }
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_TRUE(requests[0].https);
}

TEST_F(FrontHttp, AnswersBrokenTlsWithAnAlert) {
  front().SetTlsContext(TestCertificate());
  const StreamId stream = Open();
  const std::string sent = Ask(stream, std::string("\x16\x03\x01\x00\x05garbage", 12));
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(sent.substr(0, 1), "\x15");
  EXPECT_EQ(front().stats().tls_failed.Value(), 1u);
}

TEST_F(FrontHttp, ClosesTlsWithoutACertificate) {
  const StreamId stream = Open();
  TlsClient client;
  Talk(stream, client);
  EXPECT_FALSE(loop.IsOpen(stream));
  EXPECT_EQ(front().stats().no_certificate.Value(), 1u);
}

TEST_F(FrontHttp, AReaderThatStallsGetsNoMoreAnswers) {
  handlers.handle = [this](FrontRequest request, HttpResponder responder) {
    requests.push_back(std::move(request));
    responder.Send(core::http::TextResponse(200, std::string(50'000, 'x')));
  };
  const StreamId stream = Open();
  loop.hold_sends = true;
  std::string many;
  for (int i = 0; i < 100; ++i) many += Get("/");
  loop.Arrive(stream, many);
  loop.Turn();
  EXPECT_EQ(requests.size(), 2u);
  EXPECT_TRUE(loop.IsPaused(stream));
  loop.hold_sends = false;
  loop.Turn();
  EXPECT_EQ(requests.size(), 100u);
  EXPECT_TRUE(loop.IsOpen(stream));
  EXPECT_FALSE(loop.IsPaused(stream));
}

TEST_F(FrontHttp, BoundsWhatIsPipelined) {
  hold_answers = true;
  const StreamId stream = Open();
  Ask(stream, Get("/") + std::string(70'000, 'x'));
  EXPECT_FALSE(loop.IsOpen(stream));
}

TEST_F(FrontHttp, DrainsTheIdleAndFinishesTheRest) {
  const StreamId idle = Open();
  Ask(idle, Get("/"));
  hold_answers = true;
  const StreamId busy = Open();
  Ask(busy, Get("/"));
  const StreamId silent = Open();
  bool drained = false;
  front().BeginDrain([&] { drained = true; });
  EXPECT_FALSE(loop.IsOpen(idle));
  EXPECT_TRUE(loop.IsOpen(busy));
  EXPECT_TRUE(loop.IsOpen(silent));
  // The kernel had accepted it before the listener stopped.
  const StreamId late = Open();
  Ask(late, Get("/"));
  Ask(silent, Get("/"));
  loop.Advance(core::Seconds(1));
  ASSERT_EQ(held.size(), 3u);
  EXPECT_FALSE(drained);
  for (auto& responder : held) responder.Send(core::http::TextResponse(200, "done"));
  for (const StreamId stream : {busy, silent, late}) {
    EXPECT_NE(loop.TakeSent(stream).find("Connection: close"), std::string::npos);
    EXPECT_TRUE(loop.WasFlushed(stream));
  }
  EXPECT_EQ(front().connections(), 0u);
  EXPECT_TRUE(drained);
}

}  // namespace
}  // namespace ringscale::serverd

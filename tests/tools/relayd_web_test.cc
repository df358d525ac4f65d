// What a dedicated relay answers besides DERP.
#include "tools/relayd/relay_web.h"

#include <gtest/gtest.h>

#include <cctype>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/json/reader.h"
#include "tests/tools/front_support.h"

namespace ringscale::relayd {
namespace {

class RelayWebTest : public serverd::FrontTest {
 protected:
  RelayWebTest() {
    auto shard = std::make_shared<relay::ShardMetrics>();
    shard->accepts.Add(7);
    shard->connections.Set(5);
    shard->duplicate_connections.Set(3);
    shard->duplicate_keys.Set(1);
    shard->drops.Add(relay::DropReason::kQueueHead, relay::PacketKind::kDisco, 400, 4);
    shard->queue_age_us.Set(5000);
    shard->rtt[static_cast<std::size_t>(relay::RttClass::k50)].Add(6);
    shard->tls_connections.Set(4);
    shard->packets_per_send.Observe(1);
    shard->packets_per_send.Observe(12);
    shard->stun_v6.Add(3);
    shard_ = shard;
    auto other = std::make_shared<relay::ShardMetrics>();
    other->accepts.Add(2);
    other->packets_per_send.Observe(1);
    derp_ = std::make_shared<DerpMetrics>(DerpMetrics::Parts{.relay = RelayTotals({shard, other}),
                                                             .fronts = fronts_,
                                                             .bootstrap_dns = dns_.stats(),
                                                             .version = "1.2.3",
                                                             .rates = true});
    DerpMetrics::Register(derp_, metrics_);
    options.noise_key = nullptr;
  }
  void Serve(void (RelayWeb::*handler)(const serverd::FrontRequest&, serverd::HttpResponder)
                 const) {
    web_ = std::make_unique<RelayWeb>(
        RelayWeb::Parts{.config = &config_,
                        .bootstrap_dns = &dns_,
                        .metrics = &metrics_,
                        .derp = derp_,
                        .version = "1.2.3",
                        .mesh_key = true,
                        .traffic = [](auto done) { done("{\"talkers\":[]}"); }});
    handlers.handle = [this, handler](const serverd::FrontRequest& request,
                                      serverd::HttpResponder responder) {
      (*web_.*handler)(request, std::move(responder));
    };
  }
  std::string From(std::string_view ip, std::string_view request) { return Ask(Open(ip), request); }

  serverd::Config config_;
  BootstrapDns dns_{{}};
  core::MetricsRegistry metrics_;
  std::shared_ptr<relay::ShardMetrics> shard_;
  const std::shared_ptr<serverd::FrontTotals> fronts_ = std::make_shared<serverd::FrontTotals>();
  std::shared_ptr<DerpMetrics> derp_;
  std::unique_ptr<RelayWeb> web_;
};

constexpr const char* kStranger = "198.51.100.1";

TEST_F(RelayWebTest, EveryPathIsTheHomePage) {
  Serve(&RelayWeb::Handle);
  for (const char* path : {"/", "/anything/else", "/key?v=1", "/ts2021"}) {
    const std::string answer = From(kStranger, serverd::Get(path));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << path;
    EXPECT_NE(answer.find("This is a DERP relay"), std::string::npos);
    EXPECT_EQ(answer.find("/debug/"), std::string::npos);
    EXPECT_EQ(answer.find("How to connect"), std::string::npos) << "nobody joins a relay";
  }
  EXPECT_NE(From("127.0.0.1", serverd::Get("/")).find("/debug/"), std::string::npos);
}

TEST_F(RelayWebTest, TheHomePageIsAChoice) {
  config_.relay.home = "blank";
  Serve(&RelayWeb::Handle);
  EXPECT_TRUE(From(kStranger, serverd::Get("/")).ends_with("\r\n\r\n"));
  config_.relay.home = "https://example.com/about";
  const std::string answer = From(kStranger, serverd::Get("/"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 302 "));
  EXPECT_NE(answer.find("Location: https://example.com/about\r\n"), std::string::npos);
}

TEST_F(RelayWebTest, TheHomePageSaysWhenDerpIsOff) {
  Serve(&RelayWeb::Handle);
  EXPECT_EQ(From(kStranger, serverd::Get("/")).find("disabled"), std::string::npos);
  config_.derp.enabled = false;
  EXPECT_NE(From(kStranger, serverd::Get("/")).find("Status: <b>disabled</b>"), std::string::npos);
}

TEST_F(RelayWebTest, PagesForPeopleAreHardened) {
  const std::vector<std::string> proxies{"192.0.2.80"};
  options.trusted_proxies = *core::net::TrustedProxies::Parse(proxies);
  Serve(&RelayWeb::Handle);
  for (const char* path : {"/", "/robots.txt", "/bootstrap-dns"}) {
    std::string https = From("192.0.2.80", serverd::Get(path,
                                                        "X-Forwarded-For: 198.51.100.1\r\n"
                                                        "X-Forwarded-Proto: https\r\n"));
    for (char& c : https) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* header : {"\nstrict-transport-security: max-age=63072000; includesubdomains\r",
                               "\ncontent-security-policy: ", "\nx-frame-options: deny\r",
                               "\nx-content-type-options: nosniff\r"}) {
      EXPECT_NE(https.find(header), std::string::npos) << path << header << https;
    }
    // Over plain HTTP it would mean nothing.
    EXPECT_EQ(From(kStranger, serverd::Get(path)).find("Strict-Transport"), std::string::npos);
  }
}

TEST(BootstrapDnsTest, PublishesWhatItsNamesMean) {
  const BootstrapDns dns({"localhost", "no-such-name.invalid"});
  std::string body;
  // The look-up is a thread's.
  while (body.empty()) {
    body = dns.Answer("");
    std::this_thread::yield();
  }
  core::json::Parser parser;
  const auto names = parser.Parse(body);
  ASSERT_TRUE(names) << body;
  EXPECT_NE(body.find("\"127.0.0.1\""), std::string::npos) << body;
  EXPECT_TRUE((*names)["no-such-name.invalid"].is_array());
  // Everybody gets everything; only the counters tell questions apart.
  const std::uint64_t before = dns.stats()->requests.Value();
  for (const char* name : {"localhost", "no-such-name.invalid", "other.example"}) {
    EXPECT_EQ(dns.Answer(name), body);
  }
  EXPECT_EQ(dns.stats()->requests.Value(), before + 3);
  EXPECT_EQ(dns.stats()->hits.Value(), 1u);
  EXPECT_EQ(dns.stats()->misses.Value(), 1u);
  EXPECT_EQ(dns.stats()->unknown.Value(), 1u);
  EXPECT_EQ(BootstrapDns({}).Answer("localhost"), "");
}

TEST_F(RelayWebTest, PathsOfDerper) {
  Serve(&RelayWeb::Handle);
  EXPECT_TRUE(
      From(kStranger, serverd::Get("/robots.txt")).ends_with("User-agent: *\nDisallow: /\n"));
  const std::string dns = From(kStranger, serverd::Get("/bootstrap-dns?q=x"));
  EXPECT_NE(dns.find("Content-Type: application/json"), std::string::npos);
  EXPECT_NE(dns.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(dns.ends_with("\r\n\r\n")) << "no names: an empty body";
  EXPECT_TRUE(From(kStranger, serverd::Get("/derp/probe")).starts_with("HTTP/1.1 200 "));
  const std::string portal =
      From(kStranger, serverd::Get("/generate_204", "X-Tailscale-Challenge: ts_192.0.2.1\r\n"));
  EXPECT_TRUE(portal.starts_with("HTTP/1.1 204 "));
  EXPECT_NE(portal.find("X-Tailscale-Response: response ts_192.0.2.1\r\n"), std::string::npos);
}

TEST_F(RelayWebTest, DebugPagesAreForThisMachineAndTailnets) {
  Serve(&RelayWeb::Handle);
  for (const char* path : {"/debug/", "/debug/vars", "/debug/traffic", "/debug"}) {
    EXPECT_TRUE(From(kStranger, serverd::Get(path)).starts_with("HTTP/1.1 403 ")) << path;
    EXPECT_TRUE(From("127.0.0.1", serverd::Get(path)).starts_with("HTTP/1.1 200 ")) << path;
    EXPECT_TRUE(From("100.64.0.9", serverd::Get(path)).starts_with("HTTP/1.1 200 ")) << path;
    // A proxy in front may stand for anybody.
    EXPECT_TRUE(From("127.0.0.1", serverd::Get(path, "X-Forwarded-For: 1.2.3.4\r\n"))
                    .starts_with("HTTP/1.1 403 "))
        << path;
    EXPECT_TRUE(From("100.64.0.9", serverd::Get(path, "X-Forwarded-For: 1.2.3.4\r\n"))
                    .starts_with("HTTP/1.1 403 "))
        << path;
  }
  EXPECT_TRUE(From("127.0.0.1", serverd::Get("/debug/other")).starts_with("HTTP/1.1 404 "));
  EXPECT_NE(From("127.0.0.1", serverd::Get("/debug/")).find("Mesh key: true"), std::string::npos);
  EXPECT_TRUE(From("127.0.0.1", serverd::Get("/debug/check")).starts_with("HTTP/1.1 500 "));
  shard_->duplicate_keys.Set(0);
  EXPECT_TRUE(From("127.0.0.1", serverd::Get("/debug/check")).starts_with("HTTP/1.1 200 "));
}

TEST_F(RelayWebTest, FiguresUnderDerpersNames) {
  Serve(&RelayWeb::Handle);
  const std::string answer = From("127.0.0.1", serverd::Get("/debug/vars"));
  core::json::Parser parser;
  const auto vars = parser.Parse(answer.substr(answer.find("\r\n\r\n") + 4));
  ASSERT_TRUE(vars);
  EXPECT_EQ((*vars)["derp"]["accepts"].AsInt(), 9);
  EXPECT_EQ((*vars)["derp"]["gauge_current_connections"].AsInt(), 5);
  EXPECT_EQ((*vars)["derp"]["gauge_clients_local"].AsInt(), 3);
  EXPECT_EQ((*vars)["derp_packets_dropped"]["{reason=\"queue_head\",kind=\"disco\"}"].AsInt(), 4);
  const std::string text = From("127.0.0.1", serverd::Get("/debug/varz"));
  for (const char* line : {"\nderp_accepts 9\n", "\nderp_current_connections 5\n",
                           "\nderp_packets_dropped{kind=\"disco\",reason=\"queue_head\"} 4\n",
                           "\n# TYPE derp_clients_local gauge\n",
                           "\nversion{binary=\"ringscale\",version=\"1.2.3\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(RelayWebTest, FiguresOfFrontsRatesAndNames) {
  auto front = std::make_shared<serverd::FrontStats>();
  front->accepted.Add(10);
  front->accept_limit.Add(3);
  front->websocket_accepts.Add(2);
  front->requests_by_tls[static_cast<std::size_t>(core::tls::TlsVersion::kTls12)].Add(5);
  front->bridges[static_cast<std::size_t>(core::tls::TlsVersion::kTls12)].Set(1);
  front->bridges[static_cast<std::size_t>(core::tls::TlsVersion::kTls13)].Set(2);
  fronts_->Add(front);
  derp_->SetRateLimit({.bytes_per_second = 1000, .burst_bytes = 70'000});
  Serve(&RelayWeb::Handle);
  From(kStranger, serverd::Get("/bootstrap-dns?q=unknown.example"));
  From(kStranger, serverd::Get("/bootstrap-dns"));
  const std::string answer = From("127.0.0.1", serverd::Get("/debug/vars"));
  core::json::Parser parser;
  const auto vars = parser.Parse(answer.substr(answer.find("\r\n\r\n") + 4));
  ASSERT_TRUE(vars);
  const auto derp = (*vars)["derp"];
  EXPECT_EQ(derp["average_queue_duration_ms"].AsDouble(), 2.5);
  EXPECT_EQ(derp["counter_tcp_rtt"]["50ms"].AsInt(), 6);
  EXPECT_EQ(derp["counter_tcp_rtt"]["non-tcp"].AsInt(), 0);
  EXPECT_EQ(derp["counter_buffered_write_frames"]["1"].AsInt(), 2);
  EXPECT_EQ(derp["counter_buffered_write_frames"]["15"].AsInt(), 3);
  EXPECT_EQ(derp["counter_buffered_write_frames"]["+Inf"].AsInt(), 3);
  EXPECT_EQ(derp["counter_buffered_write_frames"]["sum"].AsInt(), 14);
  EXPECT_EQ(derp["rate_limit_per_client_burst_bytes"].AsInt(), 70'000);
  EXPECT_EQ((*vars)["derp_bytes_dropped"]["{reason=\"queue_head\",kind=\"disco\"}"].AsInt(), 400);
  EXPECT_EQ((*vars)["derp_websocket_accepts"].AsInt(), 2);
  EXPECT_EQ((*vars)["derper_tls_request_version"]["1.2"].AsInt(), 5);
  EXPECT_EQ((*vars)["gauge_derper_tls_active_version"]["1.2"].AsInt(), 1);
  EXPECT_EQ((*vars)["gauge_derper_tls_active_version"]["1.3"].AsInt(), 6);
  EXPECT_EQ((*vars)["tls_listener"]["counter_accepted_connections"].AsInt(), 7);
  EXPECT_EQ((*vars)["tls_listener"]["counter_rejected_connections"].AsInt(), 3);
  EXPECT_EQ((*vars)["stun"]["counter_addrfamily"]["ipv6"].AsInt(), 3);
  EXPECT_EQ((*vars)["counter_bootstrap_dns_requests"].AsInt(), 2);
  EXPECT_EQ((*vars)["counter_bootstrap_dns_unpublished_misses"].AsInt(), 1);
  const std::string text = From("127.0.0.1", serverd::Get("/debug/varz"));
  for (const char* line :
       {"\nderp_average_queue_duration_ms 2.5\n", "\nderp_tcp_rtt{le=\"50ms\"} 6\n",
        "\n# TYPE derp_buffered_write_frames histogram\n",
        "\nderp_buffered_write_frames_bucket{le=\"15\"} 3\n",
        "\nderp_bytes_dropped{kind=\"disco\",reason=\"queue_head\"} 400\n",
        "\nderp_websocket_accepts 2\n", "\nderper_tls_active_version{version=\"1.3\"} 6\n",
        "\ntls_listener_rejected_connections 3\n", "\nstun_addrfamily{family=\"ipv6\"} 3\n",
        "\nbootstrap_dns_requests 2\n", "\nderp_rate_limit_per_client_waited 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(RelayWebTest, PlainHttpLeadsToHttps) {
  options.derp_paths = false;
  Serve(&RelayWeb::HandleHttp);
  const auto location = [](const std::string& answer) {
    const auto at = answer.find("Location: ");
    return at == std::string::npos ? "" : answer.substr(at + 10, answer.find('\r', at) - at - 10);
  };
  EXPECT_EQ(location(From(kStranger, serverd::Get("/"))), "https://h.example/");
  EXPECT_EQ(location(From(kStranger, serverd::Get("/a?b=c"))), "https://h.example/a?b=c");
  EXPECT_EQ(location(From(kStranger, serverd::Get("/derp/probe"))), "https://h.example/derp/probe");
  EXPECT_EQ(location(From(kStranger, serverd::Get("/derp", "Upgrade: DERP\r\n"))),
            "https://h.example/derp");
  EXPECT_EQ(location(From("127.0.0.1", serverd::Get("/"))), "https://h.example/debug/");
  EXPECT_TRUE(From(kStranger, "POST / HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("Use HTTPS\n"));
  EXPECT_TRUE(From(kStranger, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 400 ") ||
              From(kStranger, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(From(kStranger, serverd::Get("/generate_204")).starts_with("HTTP/1.1 204 "));
}

}  // namespace
}  // namespace ringscale::relayd

// What a dedicated relay answers besides DERP.
#include "tools/relayd/relay_web.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

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
    shard->drops.Add(relay::DropReason::kQueueHead, relay::PacketKind::kDisco, 4);
    shard_ = shard;
    auto other = std::make_shared<relay::ShardMetrics>();
    other->accepts.Add(2);
    derp_ = std::make_shared<DerpMetrics>(RelayTotals({shard, other}), "1.2.3");
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
  std::shared_ptr<const DerpMetrics> derp_;
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

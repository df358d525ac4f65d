// The configuration: every key, its sources, what is refused and how that reads.
#include "tools/serverd/config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/tools/config_support.h"
#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/value.h"

namespace ringscale::serverd {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto config = ParseConfig(text, "test.toml");
  return config ? "no error" : config.error().message;
}

bool Warns(const Config& config, std::string_view part) {
  return std::ranges::any_of(config.Warnings(),
                             [&](const std::string& warning) { return warning.contains(part); });
}

TEST(Config, NothingGivenIsTheDefault) {
  const Config config = Parse("");
  EXPECT_EQ(config.listen, std::vector<std::string>{":8080"});
  EXPECT_TRUE(config.listen_auto);
  EXPECT_EQ(config.data_dir, "/var/lib/ringscale");
  EXPECT_EQ(config.SocketPath(), "/var/lib/ringscale/ringscale.sock");
  EXPECT_EQ(config.dns.base_domain, "tailnet.internal");
  EXPECT_FALSE(config.dns.override_local_dns);
  EXPECT_EQ(config.prefixes.v4->text(), "100.64.0.0/10");
  EXPECT_EQ(config.prefixes.v6->text(), "fd7a:115c:a1e0::/48");
  EXPECT_EQ(config.derp.stun_listen, (std::vector<std::string>{":3478", ":3479"}));
  EXPECT_EQ(config.limits.connections_per_source, 32U);
  EXPECT_EQ(config.limits.pending_registrations_per_source, 16U);
  EXPECT_TRUE(config.Warnings().empty());
}

TEST(Config, ReadsEveryKind) {
  const Config config = Parse(R"(
listen = ["192.0.2.1:443", "[::1]:8080"]
server_url = "https://net.example.com:8443"
data_dir = "/srv/rs"
trusted_proxies = ["10.1.2.3/8", "::1"]
[unix_socket]
path = "/run/rs.sock"
group_access = true
group = "admins"
[log]
level = "debug"
format = "json"
[metrics]
listen = ""
[tls]
cert = "c.pem"
key = "k.pem"
[derp]
region_id = 910
region_code = "home"
allow_plain = true
ipv4 = "192.0.2.1"
stun_listen = ":3478"
urls = ["https://example.com/map"]
update_interval = "1h30m"
[dns]
search_domains = ["corp.example.com"]
extra_records = [{ name = "db.tailnet.internal", type = "A", value = "100.64.0.3" },
                 { name = "db.tailnet.internal", type = "AAAA", value = "fd7a:115c:a1e0::3" }]
[dns.nameservers]
global = ["9.9.9.9", "https://dns.example/dns-query"]
[dns.nameservers.split]
"corp.example.com" = ["192.0.2.53"]
"b.example" = ["192.0.2.54", "192.0.2.55"]
[prefixes]
v4 = "100.80.0.0/16"
v6 = ""
allocation = "random"
[node]
expiry = "180d"
ephemeral.inactivity_timeout = "2h"
[limits]
connections_per_source = 0
[engine]
io = "epoll"
tls = "kernel"
relay_shards = 3
[store]
max_size = "512MiB"
)");
  EXPECT_FALSE(config.listen_auto);
  EXPECT_EQ(config.listen, (std::vector<std::string>{"192.0.2.1:443", "[::1]:8080"}));
  EXPECT_EQ(config.trusted_proxies[0].text(), "10.0.0.0/8");
  EXPECT_EQ(config.trusted_proxies[1].text(), "::1/128");
  EXPECT_EQ(config.SocketPath(), "/run/rs.sock");
  EXPECT_EQ(config.log.level, core::LogLevel::kDebug);
  EXPECT_EQ(config.log.format, core::LogFormat::kJson);
  EXPECT_EQ(config.metrics.listen, "");
  EXPECT_EQ(config.derp.stun_listen, std::vector<std::string>{":3478"});
  EXPECT_EQ(config.derp.update_interval, core::Seconds(5400));
  ASSERT_EQ(config.dns.extra_records.size(), 2U);
  EXPECT_EQ(config.dns.extra_records[1].value, "fd7a:115c:a1e0::3");
  EXPECT_EQ(config.dns.nameservers_split.at("b.example").size(), 2U);
  EXPECT_EQ(config.prefixes.v4->text(), "100.80.0.0/16");
  EXPECT_FALSE(config.prefixes.v6);
  EXPECT_TRUE(config.prefixes.random);
  EXPECT_EQ(config.node.expiry, core::Seconds(180 * 86400));
  EXPECT_EQ(config.node.ephemeral_inactivity_timeout, core::Seconds(7200));
  EXPECT_EQ(config.limits.connections_per_source, 0U);
  EXPECT_EQ(config.engine.io, Config::Engine::Io::kEpoll);
  EXPECT_EQ(config.engine.tls, relay::TlsTransport::kKernel);
  EXPECT_EQ(config.engine.relay_shards, 3U);
  EXPECT_EQ(config.store.max_bytes, std::uint64_t{512} << 20);
}

TEST(Config, ErrorsNameFileLineKeyAndWhatWasExpected) {
  EXPECT_EQ(ErrorOf("\n\n[dns]\nmagic_dns = \"yes\"\n"),
            "test.toml:4: dns.magic_dns: expected true or false, found \"yes\"");
  EXPECT_EQ(ErrorOf("listen = 8080"),
            "test.toml:1: listen: expected \"auto\" or a list of \"ADDRESS:PORT\", such as "
            "\":8080\" or \"192.0.2.1:443\", found 8080");
  EXPECT_EQ(ErrorOf("dns = 3"), "test.toml:1: dns: expected a section, found 3");
  EXPECT_TRUE(ErrorOf("a = 1\nb = \n").contains("test.toml:2: ")) << ErrorOf("a = 1\nb = \n");
  EXPECT_TRUE(ErrorOf("data_dir = 1979-05-27").contains("found a date or time"));
}

// Such letters at such places are undefined behaviour in toml++ itself.
TEST(Config, LettersOfAnyScriptMayStandAnywhere) {
  for (const char* text : {"\xcc\xaa", "data_dir = \xd0\x96", "data_dir = \"/x\" \xc2\xa7",
                           "\xd0\x96 = 1", "\xff\xfe"}) {
    EXPECT_TRUE(ErrorOf(text).contains("test.toml:1: ")) << ErrorOf(text);
  }
  EXPECT_EQ(Parse("data_dir = \"\"\"\\\n\xc2\xa7\"\"\"").data_dir, "\xc2\xa7");
  EXPECT_EQ(Parse("data_dir = \"/\xd0\x96\" # \xd0\x96").data_dir, "/\xd0\x96");
}

TEST(Config, UnfinishedLinesAreErrors) {
  for (const char* text : {"[", "[\n", "[]", "[ \n\nx = 1", "[dns.", "[dns.\n", "[[", "x", "x =",
                           "x = [", "x = {", "x = \"", "x = \"\"\"", "x.", "x. = 1", "= 1"}) {
    EXPECT_TRUE(ErrorOf(text).contains("test.toml:")) << text;
  }
}

TEST(Config, DeepNestingIsAnError) {
  std::string keys;
  for (int i = 0; i < 100'000; ++i) keys += "a.";
  EXPECT_EQ(ErrorOf("\n" + keys + "x = 1"), "test.toml:2: the line is longer than 16KiB");
  EXPECT_TRUE(ErrorOf(keys.substr(0, 16'000) + "x = 1").contains("unknown"));
  EXPECT_TRUE(ErrorOf("x = " + std::string(5000, '[')).contains("test.toml:1: "));
  EXPECT_TRUE(ErrorOf("x = " + std::string(5000, '[') + "\n" + std::string(5000, ']'))
                  .contains("test.toml:"));
}

TEST(Config, EveryProblemIsListedInOrder) {
  EXPECT_EQ(ErrorOf("[log]\nlevel = \"loud\"\n[derp]\nregion_id = 0\n"),
            "test.toml:2: log.level: expected \"trace\", \"debug\", \"info\", \"warn\" or "
            "\"error\", found \"loud\"\n"
            "test.toml:4: derp.region_id: expected a number from 1 to 65535, found 0");
}

TEST(Config, UnknownKeysAreRefusedWithAdvice) {
  EXPECT_EQ(ErrorOf("[dns]\nmagicdns = true"),
            "test.toml:2: unknown key dns.magicdns; did you mean dns.magic_dns?");
  EXPECT_EQ(ErrorOf("[derb]\nenabled = true"),
            "test.toml:1: unknown section derb; did you mean derp?");
  EXPECT_EQ(ErrorOf("base_domain = \"x\""),
            "test.toml:1: unknown key base_domain; did you mean dns.base_domain?");
  EXPECT_EQ(ErrorOf("listen_addr = \"x\""),
            "test.toml:1: unknown key listen_addr; here it is listen");
  EXPECT_TRUE(ErrorOf("[derp.server]\nenabled = true").contains("unknown section derp.server"));
  EXPECT_TRUE(ErrorOf("[noise]\nprivate_key_path = \"x\"").contains("are in data_dir"));
  EXPECT_EQ(ErrorOf("zzzzzzzzzz = 1"), "test.toml:1: unknown key zzzzzzzzzz");
  EXPECT_TRUE(ErrorOf("\"dns.magic_dns\" = true").contains("unknown key \"dns.magic_dns\""));
}

TEST(Config, BadValuesAreRefused) {
  for (const char* bad : {
           "listen = []",
           "listen = [\"8080\"]",
           "listen = [\":80\", 5]",
           "listen = \":99999\"",
           "server_url = \"net.example.com\"",
           "server_url = \"ftp://net.example.com\"",
           "server_url = \"https://net.example.com/path\"",
           "server_url = \"https://user@net.example.com\"",
           "server_url = \"https://\"",
           "server_url = \"https://[::1\"",
           "server_url = \"https://[1.2.3.4]\"",
           "server_url = \"https://[::1]8080\"",
           "server_url = \"https://x:\"",
           "server_url = \"https://x:0\"",
           "server_url = \"https://x:70000\"",
           "server_url = \"https://x?y\"",
           "trusted_proxies = [\"0.0.0.0/0\"]",
           "trusted_proxies = [\"::/0\"]",
           "trusted_proxies = [\"proxy\"]",
           "log.level = \"warning!\"",
           "metrics.listen = \"9090\"",
           "derp.region_id = 65536",
           "derp.region_id = 1.5",
           "derp.region_code = \"my region\"",
           "derp.ipv4 = \"::1\"",
           "derp.ipv6 = \"1.2.3.4\"",
           "derp.port = -1",
           "derp.host = \"a b\"",
           "derp.urls = [\"ftp://x\"]",
           "derp.paths = [\"\"]",
           "derp.update_interval = \"10s\"",
           "derp.update_interval = 10",
           "dns.base_domain = \"a..b\"",
           "dns.base_domain = \"-a.b\"",
           "dns.nameservers.global = [\"resolver\"]",
           "dns.nameservers.split = [\"x\"]",
           "dns.nameservers.split = { \"a b\" = [\"9.9.9.9\"] }",
           "dns.nameservers.split = { \"a.b\" = [\"x\"] }",
           "dns.search_domains = [\"\"]",
           "dns.extra_records = [{ name = \"a.b\", type = \"A\", value = \"::1\" }]",
           "dns.extra_records = [{ name = \"a.b\", type = \"TXT\", value = \"1.2.3.4\" }]",
           "dns.extra_records = [{ name = \"a.b\", type = \"A\", value = 3 }]",
           "dns.extra_records = [{ name = \"a.b\", typ = \"A\", value = \"1.2.3.4\" }]",
           "dns.extra_records = [\"x\"]",
           "prefixes.v4 = \"fd7a::/48\"",
           "prefixes.v4 = \"100.64.0.1/10\"",
           "prefixes.v4 = \"100.64.0.0/31\"",
           "prefixes.v6 = \"fd7a::/8\"",
           "prefixes.allocation = \"fast\"",
           "node.expiry = \"soon\"",
           "node.ephemeral.inactivity_timeout = \"30s\"",
           "limits.handshakes_per_front = 0",
           "limits.pending_registrations = 99999999999",
           "limits.relay_queue = \"16KiB\"",
           "limits.relay_queue = \"2GiB\"",
           "limits.relay_queue_age = \"10ms\"",
           "engine.io = \"kqueue\"",
           "engine.tls = \"hardware\"",
           "engine.relay_shards = 65",
           "store.max_size = \"1MiB\"",
           "store.max_size = \"1GB\"",
       }) {
    EXPECT_TRUE(ErrorOf(bad).contains("expected")) << bad << ": " << ErrorOf(bad);
  }
}

TEST(Config, KeysThatDoNotFitTogetherAreRefused) {
  EXPECT_EQ(ErrorOf("server_url = \"https://net.tailnet.internal\""),
            "test.toml:1: server_url: server_url's host net.tailnet.internal is within "
            "dns.base_domain tailnet.internal: clients would look it up in the tailnet that they "
            "need it to join; expected another base_domain");
  EXPECT_TRUE(ErrorOf("server_url = \"https://EXAMPLE.com\"\n[dns]\nbase_domain = \"example.com.\"")
                  .contains("test.toml:3: dns.base_domain"));
  // Below the server's name, and beside it, is fine.
  Parse("server_url = \"https://example.com\"\ndns.base_domain = \"net.example.com\"");
  Parse("server_url = \"https://notexample.com\"\ndns.base_domain = \"example.com\"");

  EXPECT_TRUE(ErrorOf("tls.cert = \"x\"").contains("give both or neither"));
  EXPECT_TRUE(ErrorOf("tls.key = \"x\"").contains("give both or neither"));
  EXPECT_TRUE(
      ErrorOf("tls = { cert = \"c\", key = \"k\", self_signed = true }").contains("not both"));
  EXPECT_TRUE(ErrorOf("prefixes = { v4 = \"\", v6 = \"\" }").contains("nodes need addresses"));
  EXPECT_TRUE(ErrorOf("unix_socket.group = \"x\"").contains("no effect"));
  EXPECT_TRUE(ErrorOf("data_dir = \"/" + std::string(100, 'x') + "\"").contains("107 bytes"));
  EXPECT_TRUE(ErrorOf("unix_socket.path = \"/" + std::string(107, 'x') + "\"")
                  .contains("at most 107 bytes"));
  EXPECT_TRUE(ErrorOf("dns.override_local_dns = true").contains("dns.nameservers.global"));
  EXPECT_EQ(ErrorOf("dns.base_domain = \"\""),
            "test.toml:1: dns.base_domain: expected a domain name with magic_dns = true");
  Parse("dns.base_domain = \"\"\ndns.magic_dns = false");
  EXPECT_TRUE(ErrorOf("\nlimits.pending_registrations = 3")
                  .contains("test.toml:2: limits.pending_registrations: expected"));
}

TEST(Config, WarnsOfWhatWillSurprise) {
  EXPECT_TRUE(Warns(Parse("server_url = \"http://net.example.com:8080\""), "private addresses"));
  EXPECT_TRUE(Warns(Parse("server_url = \"http://203.0.113.1\"\nlisten = \":8080\""),
                    "add \":443\" to listen"));
  for (const char* fine :
       {"http://10.0.0.1:8080", "http://localhost:8080", "http://[fd00::1]", "http://127.0.0.1"}) {
    EXPECT_FALSE(Warns(Parse("server_url = \"" + std::string(fine) + "\""), "private addresses"))
        << fine;
  }
  EXPECT_FALSE(Warns(Parse("server_url = \"http://a.example\"\nlisten = [\":8080\", \":443\"]"),
                     "private addresses"));
  EXPECT_TRUE(Warns(Parse("server_url = \"https://a.example\""), "trusted_proxies is empty"));
  EXPECT_FALSE(Warns(Parse("server_url = \"https://a.example\"\ntls.self_signed = true"), "proxy"));
  EXPECT_TRUE(Warns(Parse("prefixes.v4 = \"10.0.0.0/16\""), "outside 100.64.0.0/10"));
  EXPECT_TRUE(Warns(Parse("prefixes.v4 = \"100.0.0.0/8\""), "outside 100.64.0.0/10"));
  EXPECT_TRUE(Warns(Parse("prefixes.v6 = \"fd00::/48\""), "outside fd7a:115c:a1e0::/48"));
  EXPECT_TRUE(Warns(Parse("derp.region_id = 1"), "public region"));
  EXPECT_TRUE(Warns(Parse("derp.enabled = false"), "no relay"));
  EXPECT_TRUE(Warns(Parse("derp.verify_clients = false"), "anybody may use the relay"));
  EXPECT_FALSE(Parse("derp.verify_clients = false").derp.verify_clients);
  EXPECT_TRUE(Warns(Parse("derp.stun_listen = []"), "stun_listen is empty"));
  EXPECT_TRUE(Warns(Parse("metrics.listen = \":9090\""), "not a loopback address"));
}

// configtest does not know whether the port is free; a start does.
TEST(Config, OneWarningOfAPublicHttpNameWithout443) {
  const Config config = Parse("server_url = \"http://net.example.com:8080\"");
  ASSERT_EQ(config.Warnings().size(), 1U);
  EXPECT_TRUE(config.Warnings()[0].contains("that works if this server can listen on port 443"));
  ASSERT_EQ(config.Warnings(false).size(), 1U);
  EXPECT_TRUE(config.Warnings(false)[0].contains("this server cannot listen on port 443"));
  EXPECT_TRUE(config.Warnings(true).empty());
}

TEST(Config, ServerUrlsAreSplit) {
  const auto url = SplitServerUrl("https://Net.Example.com.:8443/");
  EXPECT_TRUE(url.https);
  EXPECT_EQ(url.host, "net.example.com");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(SplitServerUrl("http://[fd00::1]").host, "fd00::1");
  EXPECT_EQ(SplitServerUrl("http://[fd00::1]:81").port, 81);
  EXPECT_EQ(SplitServerUrl("http://10.0.0.1").port, 80);
}

TEST(ConfigValues, Durations) {
  using core::Millis;
  using core::Seconds;
  EXPECT_EQ(ParseDuration("0"), Seconds(0));
  EXPECT_EQ(ParseDuration("90d"), Seconds(90 * 86400));
  EXPECT_EQ(ParseDuration("1y2w3d4h5m6s7ms"),
            Seconds(365 * 86400 + 14 * 86400 + 3 * 86400 + 4 * 3600 + 5 * 60 + 6) + Millis(7));
  for (const char* bad : {"", "1", "d", "-1s", "1.5h", "1h1h", "1m1h", "1 h", "101y", "1S",
                          "99999999999999999999s", "100y1ms"}) {
    EXPECT_FALSE(ParseDuration(bad)) << bad;
  }
  for (const char* text : {"0", "1ms", "90s", "15m", "3h", "45d", "2w", "1y", "100y"}) {
    EXPECT_EQ(FormatDuration(*ParseDuration(text)), text);
  }
  EXPECT_EQ(FormatDuration(Seconds(3600)), "1h");
}

TEST(ConfigValues, Sizes) {
  EXPECT_EQ(ParseSize("8GiB"), std::uint64_t{8} << 30);
  EXPECT_EQ(ParseSize("1000"), 1000U);
  for (const char* bad : {"", "GiB", "1GB", "-1KiB", "1.5MiB", "999999TiB"}) {
    EXPECT_FALSE(ParseSize(bad)) << bad;
  }
  for (const char* text : {"8GiB", "1536MiB", "1000", "0"}) {
    EXPECT_EQ(FormatSize(*ParseSize(text)), text);
  }
}

TEST(ConfigValues, NearestFindsTypingErrorsOnly) {
  const std::string_view words[] = {"listen", "server_url", "magic_dns"};
  EXPECT_EQ(Nearest("lsiten", words), "listen");
  EXPECT_EQ(Nearest("serverurl", words), "server_url");
  EXPECT_EQ(Nearest("magc_dsn", words), "magic_dns");
  EXPECT_EQ(Nearest("policy", words), "");
  EXPECT_EQ(Nearest(std::string(1000, 'x'), words), "");
}

}  // namespace
}  // namespace ringscale::serverd

// The table of keys and the example made from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tools/serverd/config.h"
#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {
namespace {

Config Parse(std::string_view text) {
  auto config = ParseConfig(text, "test.toml");
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : Config{};
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The example with every key as a setting instead of a comment.
std::string Uncommented(const std::string& example) {
  std::istringstream in(example);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const bool key = line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
    out += (key ? line.substr(1) : line) + "\n";
  }
  return out;
}

TEST(ConfigExample, ParsesAndEqualsTheDefaults) {
  const Config defaults = Parse("");
  EXPECT_EQ(Parse(ExampleConfig()), defaults);
  const std::string all = Uncommented(ExampleConfig());
  Config given = Parse(all);
  // What "empty" stands for is only known outside.
  EXPECT_EQ(given.data_dir, defaults.data_dir);
  EXPECT_EQ(given, defaults);
  // Every key was really given: changing any one line away from TOML is noticed.
  EXPECT_EQ(std::ranges::count(all, '=') >= static_cast<std::ptrdiff_t>(Keys().size()), true);
}

TEST(ConfigExample, HoldsEveryKeyUnderItsSection) {
  std::istringstream in(ExampleConfig());
  std::set<std::string> seen;
  std::string section;
  for (std::string line; std::getline(in, line);) {
    EXPECT_LE(line.size(), 90U) << line;
    if (line.starts_with('[')) section = line.substr(1, line.size() - 2) + ".";
    if (line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
      seen.insert(section + line.substr(1, line.find(" = ") - 1));
    }
  }
  std::set<std::string> keys;
  for (const Key& key : Keys()) keys.insert(std::string(key.path));
  EXPECT_EQ(seen, keys);
}

TEST(ConfigExample, IsTheCheckedInFile) {
  const auto file = std::filesystem::path(RINGSCALE_SOURCE_DIR) / "tools/ringscale.example.toml";
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), ExampleConfig()) << "write ExampleConfig() to tools/ringscale.example.toml";
}

// A value other than the default for every key: none may be without effect.
TEST(ConfigKeys, EveryKeyReachesTheConfig) {
  const std::map<std::string_view, std::string_view> values = {
      {"listen", "[\":81\"]"},
      {"server_url", "\"https://a.example\""},
      {"data_dir", "\"/x\""},
      {"trusted_proxies", "[\"10.0.0.0/8\"]"},
      {"unix_socket.path", "\"/x.sock\""},
      {"unix_socket.group", "\"g\""},
      {"log.level", "\"warn\""},
      {"log.format", "\"json\""},
      {"metrics.listen", "\"127.0.0.1:1\""},
      {"tls.cert", "\"c\""},
      {"tls.key", "\"k\""},
      {"derp.region_code", "\"x\""},
      {"derp.region_name", "\"x\""},
      {"derp.host", "\"x\""},
      {"derp.ipv4", "\"192.0.2.1\""},
      {"derp.ipv6", "\"::1\""},
      {"derp.stun_listen", "[]"},
      {"derp.paths", "[\"x\"]"},
      {"derp.urls", "[\"http://x\"]"},
      {"derp.update_interval", "\"7h\""},
      {"relay.key_file", "\"x\""},
      {"relay.http_listen", "\":81\""},
      {"relay.home", "\"blank\""},
      {"relay.bootstrap_dns_names", "[\"x\"]"},
      {"relay.mesh_key_file", "\"x\""},
      {"relay.mesh_with", "[\"x\"]"},
      {"relay.tailscaled_socket", "\"x\""},
      {"relay.verify_client_url", "\"http://x\""},
      {"relay.rate_config", "\"x\""},
      {"relay.tcp_keep_alive", "\"70s\""},
      {"relay.tcp_user_timeout", "\"70s\""},
      {"relay.tcp_write_timeout", "\"70s\""},
      {"relay.drain", "\"70s\""},
      {"dns.base_domain", "\"x.y\""},
      {"dns.search_domains", "[\"x\"]"},
      {"dns.extra_records", "[{name=\"a\",type=\"A\",value=\"1.2.3.4\"}]"},
      {"dns.nameservers.global", "[\"9.9.9.9\"]"},
      {"dns.nameservers.split", "{a=[\"9.9.9.9\"]}"},
      {"prefixes.v4", "\"\""},
      {"prefixes.v6", "\"\""},
      {"prefixes.allocation", "\"random\""},
      {"policy.mode", "\"database\""},
      {"policy.path", "\"/p\""},
      {"node.expiry", "\"1d\""},
      {"node.ephemeral.inactivity_timeout", "\"70s\""},
      {"node.routes.ha.probe_interval", "\"70s\""},
      {"node.routes.ha.probe_timeout", "\"70s\""},
      {"limits.pending_registration_lifetime", "\"70s\""},
      {"limits.relay_queue", "\"1GiB\""},
      {"limits.relay_queue_age", "\"70s\""},
      {"engine.io", "\"epoll\""},
      {"engine.tls", "\"kernel\""},
      {"store.max_size", "\"1GiB\""},
  };
  std::set<std::string> names;
  for (const Key& key : Keys()) {
    Config config;
    const std::string before = key.show(config);
    std::string_view text;
    if (const auto value = values.find(key.path); value != values.end()) {
      text = value->second;
    } else if (before == "true" || before == "false") {
      text = before == "true" ? "false" : "true";
    } else {
      text = "17";
    }
    // Through the file's parser, without the checks between keys.
    const auto parsed = ParseConfig(std::string(key.path) + " = " + std::string(text), "x");
    const bool refused_alone = !parsed && !Contains(parsed.error().message, "expected");
    EXPECT_TRUE(parsed || refused_alone) << key.path << ": " << parsed.error().message;
    if (parsed) {
      Config changed = *parsed;
      EXPECT_NE(key.show(changed), before) << key.path;
      EXPECT_NE(changed, Parse("")) << key.path;
    }
    EXPECT_TRUE(names.insert(EnvironmentName(key.path)).second) << key.path;
    EXPECT_FALSE(key.doc.empty()) << key.path;
    EXPECT_FALSE(key.doc.ends_with('\n')) << key.path;
    const auto dot = key.path.rfind('.');
    if (dot != std::string_view::npos) {
      EXPECT_NE(FindSection(key.path.substr(0, dot)), nullptr) << key.path;
    }
  }
}

}  // namespace
}  // namespace ringscale::serverd

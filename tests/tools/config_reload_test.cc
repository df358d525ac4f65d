// What a changed configuration means for a running server, key by key.
#include "tools/serverd/config/reload.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/tools/config_values.h"
#include "tools/serverd/config/toml_file.h"

namespace ringscale::serverd {
namespace {

using Names = std::vector<std::string_view>;

Config With(const Key& key, std::string_view value) {
  Config config;
  EXPECT_FALSE(key.set(config, *ReadTomlValue(value))) << key.path;
  return config;
}

TEST(ConfigReload, EveryChangedKeyIsTakenOverOrNamed) {
  for (const Key& key : Keys()) {
    const Config running;
    const Config fresh = With(key, OtherValue(key));
    const ConfigChange change = CompareConfig(running, fresh);
    const bool here = !key.path.starts_with("relay.");
    EXPECT_EQ(change.at_reload, here && key.at_reload ? Names{key.path} : Names{}) << key.path;
    EXPECT_EQ(change.restart, here && !key.at_reload ? Names{key.path} : Names{}) << key.path;
    EXPECT_EQ(change.config, here && !key.at_reload ? running : fresh) << key.path;
    // And back: what runs has a value of its own, not the default.
    const ConfigChange back = CompareConfig(fresh, running);
    EXPECT_EQ(back.config, here && !key.at_reload ? fresh : running) << key.path;
  }
}

TEST(ConfigReload, NothingChanged) {
  const ConfigChange change = CompareConfig({}, {});
  EXPECT_TRUE(change.at_reload.empty());
  EXPECT_TRUE(change.restart.empty());
}

// Whoever reloads twice hears of it twice.
TEST(ConfigReload, WhatNeedsARestartStaysChanged) {
  const Config fresh = With(*FindKey("listen"), "[\":81\"]");
  const ConfigChange first = CompareConfig({}, fresh);
  const ConfigChange second = CompareConfig(first.config, fresh);
  EXPECT_EQ(second.restart, Names{"listen"});
}

// What an operator expects to change without a restart.
TEST(ConfigReload, TheUsualKeysNeedNoRestart) {
  for (const std::string_view path :
       {"server_url", "trusted_proxies", "log.level", "log.format", "tls.cert", "tls.key",
        "derp.region_name", "derp.paths", "derp.urls", "dns.magic_dns", "dns.nameservers.global",
        "policy.path", "node.expiry", "limits.connections_per_source"}) {
    EXPECT_TRUE(FindKey(path)->at_reload) << path;
  }
  for (const std::string_view path :
       {"listen", "data_dir", "derp.enabled", "derp.verify_clients", "dns.base_domain",
        "prefixes.v4", "engine.io", "store.max_size"}) {
    EXPECT_FALSE(FindKey(path)->at_reload) << path;
  }
}

}  // namespace
}  // namespace ringscale::serverd

// Where the configuration comes from: files, environment, flags.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/support/temp_folder.h"
#include "tools/serverd/config/load.h"

namespace ringscale::serverd {
namespace {

class ConfigSources : public testing::Test {
 protected:
  ConfigSources() {
    surroundings_.search_paths = {dir_ + "/etc.toml", dir_ + "/here.toml"};
    surroundings_.environment["HOME"] = "/home/ann";
  }
  void Write(const std::string& name, std::string_view text) {
    std::ofstream(dir_ + "/" + name) << text;
  }
  Config Load() {
    auto config = LoadConfigIn(overrides_, surroundings_);
    EXPECT_TRUE(config) << config.error().message;
    return config ? *config : Config{};
  }
  std::string LoadError() {
    const auto config = LoadConfigIn(overrides_, surroundings_);
    return config ? "no error" : config.error().message;
  }

  const tests::TempFolder temp_;
  const std::string& dir_ = temp_.path();
  ConfigOverrides overrides_;
  ConfigSurroundings surroundings_;
};

TEST_F(ConfigSources, FilesAreFoundInOrder) {
  EXPECT_EQ(Load().source, "");
  Write("here.toml", "data_dir = \"/here\"");
  EXPECT_EQ(Load().data_dir, "/here");
  Write("etc.toml", "data_dir = \"/etc\"");
  EXPECT_EQ(Load().data_dir, "/etc");
  Write("variable.toml", "data_dir = \"/variable\"");
  surroundings_.environment["RINGSCALE_CONFIG"] = dir_ + "/variable.toml";
  EXPECT_EQ(Load().data_dir, "/variable");
  Write("flag.toml", "data_dir = \"/flag\"");
  overrides_.config_path = dir_ + "/flag.toml";
  EXPECT_EQ(Load().data_dir, "/flag");
  EXPECT_EQ(Load().source, dir_ + "/flag.toml");
}

TEST_F(ConfigSources, ANamedFileMustBeReadable) {
  overrides_.config_path = dir_ + "/missing.toml";
  EXPECT_EQ(LoadError(),
            "reading the configuration " + dir_ + "/missing.toml: No such file or directory");
  overrides_.config_path = dir_;
  EXPECT_TRUE(LoadError().contains("Is a directory")) << LoadError();
  Write("large.toml", std::string(2 << 20, '#'));
  overrides_.config_path = dir_ + "/large.toml";
  EXPECT_TRUE(LoadError().contains("too large"));
}

TEST_F(ConfigSources, EnvironmentOverridesTheFileAndFlagsBoth) {
  Write("etc.toml", "server_url = \"http://10.0.0.1\"\n[log]\nlevel = \"error\"\n");
  auto& environment = surroundings_.environment;
  environment["RINGSCALE_SERVER_URL"] = "http://10.0.0.2";
  environment["RINGSCALE_LOG_LEVEL"] = "warn";
  environment["RINGSCALE_LISTEN"] = "[::1]:81";
  environment["RINGSCALE_DNS_MAGIC_DNS"] = "false";
  environment["RINGSCALE_DERP_REGION_ID"] = "901";
  environment["RINGSCALE_DERP_STUN_LISTEN"] = ":1, :2 ,:3";
  environment["RINGSCALE_DNS_NAMESERVERS_GLOBAL"] = R"(["9.9.9.9", "1.1.1.1"])";
  environment["RINGSCALE_DNS_NAMESERVERS_SPLIT"] = R"({ "a.b" = ["9.9.9.9"] })";
  environment["RINGSCALE_NODE_EPHEMERAL_INACTIVITY_TIMEOUT"] = "2m";
  environment["RINGSCALE_TRUSTED_PROXIES"] = "";
  Config config = Load();
  EXPECT_EQ(config.server_url, "http://10.0.0.2");
  EXPECT_EQ(config.log.level, core::LogLevel::kWarn);
  EXPECT_EQ(config.listen, std::vector<std::string>{"[::1]:81"});
  EXPECT_FALSE(config.dns.magic_dns);
  EXPECT_EQ(config.derp.region_id, 901U);
  EXPECT_EQ(config.derp.stun_listen, (std::vector<std::string>{":1", ":2", ":3"}));
  EXPECT_EQ(config.dns.nameservers_global, (std::vector<std::string>{"9.9.9.9", "1.1.1.1"}));
  EXPECT_EQ(config.dns.nameservers_split.at("a.b"), std::vector<std::string>{"9.9.9.9"});
  EXPECT_EQ(config.node.ephemeral_inactivity_timeout, core::Seconds(120));
  EXPECT_TRUE(config.source_warnings.empty());

  overrides_.server_url = "http://10.0.0.3";
  overrides_.listen = {":82", ":83"};
  overrides_.data_dir = "/flag";
  overrides_.log_level = "debug";
  overrides_.socket = "/flag.sock";
  config = Load();
  EXPECT_EQ(config.server_url, "http://10.0.0.3");
  EXPECT_EQ(config.listen, (std::vector<std::string>{":82", ":83"}));
  EXPECT_EQ(config.data_dir, "/flag");
  EXPECT_EQ(config.log.level, core::LogLevel::kDebug);
  EXPECT_EQ(config.SocketPath(), "/flag.sock");
  overrides_.listen = {"auto"};
  EXPECT_TRUE(Load().listen_auto);
}

TEST_F(ConfigSources, ErrorsNameTheVariableOrTheFlag) {
  surroundings_.environment["RINGSCALE_DNS_MAGIC_DNS"] = "perhaps";
  EXPECT_EQ(LoadError(),
            "$RINGSCALE_DNS_MAGIC_DNS: dns.magic_dns: expected true or false, found \"perhaps\"");
  surroundings_.environment.erase("RINGSCALE_DNS_MAGIC_DNS");
  surroundings_.environment["RINGSCALE_DNS_EXTRA_RECORDS"] = "[{\nx = 1";
  EXPECT_TRUE(LoadError().contains("$RINGSCALE_DNS_EXTRA_RECORDS"));
  surroundings_.environment.erase("RINGSCALE_DNS_EXTRA_RECORDS");
  overrides_.server_url = "https://a.tailnet.internal";
  overrides_.log_level = "loud";
  EXPECT_TRUE(LoadError().contains("--log-level: log.level: expected")) << LoadError();
}

TEST_F(ConfigSources, MistypedVariablesAreWarnedOf) {
  surroundings_.environment["RINGSCALE_SERVERURL"] = "http://x";
  surroundings_.environment["RINGSCALE_SERVICE_HOST"] = "10.0.0.1";  // as Kubernetes sets it
  const Config config = Load();
  ASSERT_EQ(config.source_warnings.size(), 1U);
  EXPECT_TRUE(config.source_warnings[0].contains("did you mean RINGSCALE_SERVER_URL?"));
}

TEST_F(ConfigSources, DataDirectoryDependsOnTheUser) {
  EXPECT_EQ(Load().data_dir, "/home/ann/.local/share/ringscale");
  surroundings_.environment["XDG_DATA_HOME"] = "/xdg";
  EXPECT_EQ(Load().data_dir, "/xdg/ringscale");
  surroundings_.environment["XDG_DATA_HOME"] = "relative";
  EXPECT_EQ(Load().data_dir, "/home/ann/.local/share/ringscale");
  surroundings_.is_root = true;
  EXPECT_EQ(Load().data_dir, "/var/lib/ringscale");
}

}  // namespace
}  // namespace ringscale::serverd

// From derper's command line and files to a relay's configuration.
#include "tools/relayd/settings.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "core/crypto/key_file.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"
#include "tools/ctl/derper_flags.h"

namespace ringscale::relayd {
namespace {

std::string Write(const tests::TempFolder& folder, const std::string& name, std::string_view text) {
  const std::string path = folder / name;
  std::ofstream(path) << text;
  chmod(path.c_str(), 0600);
  return path;
}

// The configuration that derper's flags make, without any file of the machine.
core::Result<serverd::Config> ConfigOf(const std::vector<std::string>& arguments) {
  auto flags = ctl::ParseGoFlags(arguments);
  if (!flags) return core::Forward(flags);
  const tests::TempFolder folder;
  ctl::RelayFlags relay;
  relay.config = Write(folder, "empty.toml", "");
  relay.data_dir = folder / "data";
  relay.derper = std::move(*flags);
  return LoadRelayConfig(relay);
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const auto config = ConfigOf(arguments);
  return config ? "" : config.error().message;
}

TEST(GoFlags, AreReadAsGoReadsThem) {
  const auto flags = ctl::ParseGoFlags({"-a", ":8443", "--hostname=x", "-stun=false",
                                        "-verify-clients", "-mesh-with", "-odd", "-derp=T"});
  ASSERT_TRUE(flags) << flags.error().message;
  std::string text;
  for (const auto& flag : *flags) text += flag.name + "=" + flag.value + " ";
  EXPECT_EQ(text, "a=:8443 hostname=x stun=false verify-clients=true mesh-with=-odd derp=true ");
}

TEST(GoFlags, MistakesAreNamed) {
  const auto error = [](std::vector<std::string> arguments) {
    const auto flags = ctl::ParseGoFlags(arguments);
    return flags ? "" : flags.error().message;
  };
  EXPECT_EQ(error({"-nonsense"}), "derper has no flag -nonsense");
  EXPECT_EQ(error({"-a"}), "-a needs a value");
  EXPECT_EQ(error({"word"}), "unexpected argument: word");
  EXPECT_EQ(error({"-"}), "unexpected argument: -");
  EXPECT_EQ(error({"-stun=maybe"}), "-stun: expected true or false, found 'maybe'");
}

TEST(DerperFlags, EveryOneIsServedOrNamed) {
  for (const auto& flag : ctl::DerperFlags()) {
    if (flag.missing.empty()) continue;
    const std::string name(flag.name);
    const std::string error = ErrorOf({"-" + name + (flag.type.empty() ? "=true" : "=x")});
    EXPECT_TRUE(error.starts_with("--" + name + " is not supported: ")) << error;
    // Asking for nothing is no reason to refuse.
    EXPECT_EQ(ErrorOf({"-" + name + (flag.type.empty() ? "=false" : "=")}), "");
  }
}

TEST(DerperFlags, MainAddressAndPorts) {
  const auto plain = ConfigOf({"-a", "192.0.2.1:3340", "-stun-port", "3500"});
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->listen, std::vector<std::string>{"192.0.2.1:3340"});
  EXPECT_TRUE(plain->derp.allow_plain);
  EXPECT_EQ(plain->relay.http_listen, "");
  EXPECT_EQ(plain->derp.stun_listen, std::vector<std::string>{"192.0.2.1:3500"});

  const auto tls = ConfigOf({"-a", "192.0.2.1:443"});
  ASSERT_TRUE(tls) << tls.error().message;
  EXPECT_FALSE(tls->derp.allow_plain);
  EXPECT_EQ(tls->relay.http_listen, "192.0.2.1:80");
  EXPECT_EQ(tls->derp.stun_listen, std::vector<std::string>{"192.0.2.1:3478"});

  const auto nothing = ConfigOf({"-http-port=-1", "-stun=false", "-derp=false"});
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_EQ(nothing->listen, std::vector<std::string>{":443"});
  EXPECT_EQ(nothing->relay.http_listen, "");
  EXPECT_TRUE(nothing->derp.stun_listen.empty());
  EXPECT_FALSE(nothing->derp.enabled);

  const auto dev = ConfigOf({"-dev"});
  ASSERT_TRUE(dev) << dev.error().message;
  EXPECT_EQ(dev->listen, std::vector<std::string>{":3340"});
  EXPECT_TRUE(dev->derp.allow_plain);

  EXPECT_TRUE(ErrorOf({"-a", "nowhere"}).starts_with("-a: "));
}

TEST(DerperFlags, Certificates) {
  const tests::TempFolder folder;
  Write(folder, "derp.example.com.crt", "x");
  const std::string dir = folder / "";
  const auto files =
      ConfigOf({"-certmode=manual", "-hostname", "derp.example.com", "-certdir", dir});
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_TRUE(files->tls.cert.ends_with("/derp.example.com.crt"));
  EXPECT_TRUE(files->tls.key.ends_with("/derp.example.com.key"));
  // An address without files: a certificate is made.
  const auto made = ConfigOf({"-certmode=manual", "-hostname", "192.0.2.1", "-certdir", dir});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->tls.cert, "");
  EXPECT_EQ(made->derp.host, "192.0.2.1");
  EXPECT_EQ(ErrorOf({"-certmode=manual"}), "--certmode=manual needs --hostname and --certdir");
  EXPECT_TRUE(ErrorOf({"-certmode=letsencrypt"}).find("is not supported") != std::string::npos);
}

TEST(DerperFlags, TheRest) {
  const auto config = ConfigOf({"-mesh-psk-file=/k", "-mesh-with=a.example,b.example/10.0.0.2",
                                "-verify-clients", "-socket=/s", "-verify-client-url=https://x/v",
                                "-verify-client-url-fail-open=false", "-home=blank",
                                "-accept-connection-limit=2.5", "-accept-connection-burst=100",
                                "-rate-config=/r", "-tcp-write-timeout=0s", "-c=/key"});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->relay.mesh_key_file, "/k");
  EXPECT_EQ(config->relay.mesh_with, (std::vector<std::string>{"a.example", "b.example/10.0.0.2"}));
  EXPECT_TRUE(config->relay.verify_clients);
  EXPECT_EQ(config->relay.tailscaled_socket, "/s");
  EXPECT_FALSE(config->relay.verify_client_url_fail_open);
  EXPECT_EQ(config->relay.home, "blank");
  EXPECT_EQ(config->relay.accept_limit, 2u);
  EXPECT_EQ(config->relay.accept_burst, 100u);
  EXPECT_EQ(config->relay.tcp_write_timeout.ns, 0);
  EXPECT_EQ(config->relay.key_file, "/key");
  EXPECT_EQ(ConfigOf({"-accept-connection-limit=+Inf"})->relay.accept_limit, 0u);
  EXPECT_TRUE(ErrorOf({"-accept-connection-limit=x"}).find("expected a number") !=
              std::string::npos);
  EXPECT_TRUE(ErrorOf({"-home=nonsense"}).starts_with("--home: relay.home: expected"));
  EXPECT_TRUE(ErrorOf({"-mesh-with=a"}).find("a mesh needs its key") != std::string::npos);
}

TEST(DerperCommand, VersionAndKeyFile) {
  const auto version = ReadDerperCommand({"-version"});
  ASSERT_TRUE(version);
  EXPECT_TRUE(version->version);
  const auto named = ReadDerperCommand({"-c", "/x"});
  ASSERT_TRUE(named);
  ASSERT_EQ(named->flags.derper.size(), 1u);
  EXPECT_EQ(named->flags.derper[0].value, "/x");
}

TEST(RelayKey, BothFormsAndANewFile) {
  const tests::TempFolder folder;
  const core::PrivateKey key = core::PrivateKey::Generate();
  const std::string text = key.TextForKeyFile();
  for (const std::string& content :
       {text, text + "\n", "{\n\t\"PrivateKey\": \"" + text + "\"\n}\n"}) {
    const auto loaded = LoadRelayKey(Write(folder, "key", content));
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ(loaded->PublicRaw(), key.PublicRaw());
  }
  const auto made = LoadRelayKey(folder / "new");
  ASSERT_TRUE(made) << made.error().message;
  const auto again = LoadRelayKey(folder / "new");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->PublicRaw(), made->PublicRaw());
  for (const char* bad : {"", "{}", "{\"PrivateKey\": 7}", "{", "nodekey:00"}) {
    EXPECT_EQ(LoadRelayKey(Write(folder, "bad", bad)).error().code, core::ErrorCode::kCorrupt)
        << bad;
  }
}

TEST(RelayKey, AKeyFileMayStandWhereAConfigurationDoes) {
  const tests::TempFolder folder;
  ctl::RelayFlags flags;
  flags.data_dir = folder / "data";
  flags.config = Write(folder, "derper.key", "{\"PrivateKey\": \"privkey:00\"}");
  const auto config = LoadRelayConfig(flags);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->relay.key_file, flags.config);
}

TEST(MeshKeyFile, SixtyFourDigits) {
  const tests::TempFolder folder;
  const std::string digits(64, 'a');
  const auto key = LoadMeshKey(Write(folder, "mesh", " " + digits + "\n"));
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ((*key)[31], 0xaa);
  for (const std::string& bad : {std::string(), digits + "a", digits.substr(1),
                                 std::string(64, 'g'), std::string(64, '0')}) {
    EXPECT_FALSE(LoadMeshKey(Write(folder, "bad", bad))) << bad;
  }
}

TEST(RateConfig, AsDerperReadsIt) {
  const tests::TempFolder folder;
  const auto read = [&](std::string_view text) { return LoadRateConfig(Write(folder, "r", text)); };
  const auto both =
      read(R"({"PerClientRateLimitBytesPerSec": 1250000, "PerClientRateBurstBytes": 2500000})");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(both->bytes_per_second, 1'250'000u);
  EXPECT_EQ(both->burst_bytes, 2'500'000u);
  // One packet of the longest kind fits into the smallest bucket.
  EXPECT_EQ(read(R"({"PerClientRateLimitBytesPerSec": 5})")->burst_bytes, 65'568u);
  EXPECT_FALSE(read("{}")->on());
  EXPECT_FALSE(read(R"({"PerClientRateLimitBytesPerSec": 0})")->on());
  for (const char* bad : {"", "[]", "nonsense", R"({"PerClientRateLimitBytesPerSec": -1})",
                          R"({"PerClientRateLimitBytesPerSec": "many"})"}) {
    EXPECT_FALSE(read(bad)) << bad;
  }
  EXPECT_EQ(LoadRateConfig(folder / "missing").error().code, core::ErrorCode::kNotFound);
}

TEST(MeshPeers, HostsAndWhereToDial) {
  const MeshPeer plain = MeshPeerOf("derp1b.example.com");
  EXPECT_EQ(plain.host.host, "derp1b.example.com");
  EXPECT_EQ(plain.dial.host, "derp1b.example.com");
  EXPECT_EQ(plain.dial.port, 443);
  const MeshPeer dialled = MeshPeerOf("derp1b.example.com:8443/10.0.0.3");
  EXPECT_EQ(dialled.host.port, 8443);
  EXPECT_EQ(dialled.dial.host, "10.0.0.3");
  EXPECT_EQ(dialled.dial.port, 8443);
  EXPECT_EQ(MeshPeerOf("a/b:1").dial.port, 1);
}

}  // namespace
}  // namespace ringscale::relayd

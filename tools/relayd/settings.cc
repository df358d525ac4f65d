#include "tools/relayd/settings.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "core/crypto/key_file.h"
#include "core/json/reader.h"
#include "core/net/listener.h"
#include "relay/wire/frame.h"
#include "tools/serverd/config/checks.h"

namespace ringscale::relayd {
namespace {

using core::ErrorCode;
using core::Fail;
using Setting = serverd::ConfigOverrides::Setting;

constexpr std::size_t kSmallFile = 64 * 1024;
constexpr std::string_view kDerperKeyFile = "/var/lib/derper/derper.key";

// Flags whose value is the value of a key.
const std::map<std::string_view, std::string_view> kSame = {
    {"hostname", "derp.host"},
    {"derp", "derp.enabled"},
    {"home", "relay.home"},
    {"mesh-psk-file", "relay.mesh_key_file"},
    {"mesh-with", "relay.mesh_with"},
    {"verify-clients", "relay.verify_clients"},
    {"verify-client-url", "relay.verify_client_url"},
    {"verify-client-url-fail-open", "relay.verify_client_url_fail_open"},
    {"bootstrap-dns-names", "relay.bootstrap_dns_names"},
    {"rate-config", "relay.rate_config"},
    {"tcp-keepalive-time", "relay.tcp_keep_alive"},
    {"tcp-user-timeout", "relay.tcp_user_timeout"},
    {"tcp-write-timeout", "relay.tcp_write_timeout"},
    {"socket", "relay.tailscaled_socket"},
    {"c", "relay.key_file"},
};

// A file's base name for a host name, as derper makes it.
std::string FileNameOf(std::string_view host) {
  std::string name;
  for (const char c : host) {
    const bool kept = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '.';
    if (kept) name += c;
  }
  return name;
}

std::string HostOfAddress(const std::string& address) {
  return address.substr(0, address.rfind(':') == std::string::npos ? 0 : address.rfind(':'));
}

// Go's numbers of connections: "+Inf" and enormous ones mean no limit.
core::Result<std::string> WholeNumber(const std::string& flag, const std::string& text) {
  if (text == "+Inf" || text == "Inf") return "0";
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= 0)) {
    return Fail(ErrorCode::kInvalid, "--" + flag + ": expected a number, found '" + text + "'");
  }
  if (number >= 1e9) return "0";
  return std::to_string(
      std::max<std::int64_t>(number > 0 ? 1 : 0, static_cast<std::int64_t>(number)));
}

// What several flags say together.
class Translation {
 public:
  explicit Translation(const std::vector<ctl::GivenFlag>& flags) {
    for (const auto& flag : flags) given_[flag.name] = flag.value;
  }

  core::Result<std::vector<Setting>> Run() {
    for (const auto& [name, value] : given_) {
      if (auto checked = CheckSupported(name, value); !checked) return core::Forward(checked);
      const auto same = kSame.find(name);
      if (same != kSame.end()) Set(same->second, value, name);
    }
    if (given_.contains("version")) return std::move(settings_);
    for (auto step : {&Translation::Listeners, &Translation::Certificates, &Translation::Accepts}) {
      if (auto done = (this->*step)(); !done) return core::Forward(done);
    }
    return std::move(settings_);
  }

 private:
  static core::Result<> CheckSupported(const std::string& name, const std::string& value) {
    const auto list = ctl::DerperFlags();
    const auto flag = std::ranges::find(list, name, &ctl::DerperFlag::name);
    if (flag == list.end() || flag->missing.empty() || value.empty() || value == "false") return {};
    return Fail(ErrorCode::kUnsupported,
                "--" + name + " is not supported: " + std::string(flag->missing));
  }

  void Set(std::string_view key, std::string value, const std::string& flag) {
    settings_.push_back({std::string(key), std::move(value), "--" + flag});
  }
  [[nodiscard]] std::string Text(const std::string& name) const {
    const auto found = given_.find(name);
    return found == given_.end() ? "" : found->second;
  }
  [[nodiscard]] bool On(const std::string& name) const { return Text(name) == "true"; }

  core::Result<> Listeners() {
    const bool dev = On("dev");
    const std::string address = dev ? ":3340" : Text("a");
    const std::string host = HostOfAddress(address);
    bool tls = true;
    if (!address.empty()) {
      const auto parsed = core::net::ParseListenAddress(address);
      if (!parsed) return Fail(ErrorCode::kInvalid, "-a: " + parsed.error().message);
      Set("listen", address, "a");
      tls = parsed->address.port == 443 || Text("certmode") == "manual";
      if (!tls) Set("derp.allow_plain", "true", "a");
    }
    // Plain HTTP beside it belongs to a main listener of TLS.
    const std::string port = given_.contains("http-port") ? Text("http-port") : "80";
    if (!tls || port == "-1") {
      Set("relay.http_listen", "", "http-port");
    } else if (given_.contains("http-port") || !host.empty()) {
      Set("relay.http_listen", host + ":" + port, "http-port");
    }
    if (given_.contains("stun") && !On("stun")) {
      Set("derp.stun_listen", "[]", "stun");
    } else if (given_.contains("stun-port") || !host.empty()) {
      const std::string stun = Text("stun-port");
      Set("derp.stun_listen", host + ":" + (stun.empty() ? "3478" : stun), "stun-port");
    }
    return {};
  }

  core::Result<> Certificates() {
    const std::string mode = Text("certmode");
    if (mode.empty()) return {};
    if (mode != "manual") {
      return Fail(ErrorCode::kUnsupported,
                  "--certmode=" + mode +
                      " is not supported: certificates by ACME are not fetched here; use "
                      "--certmode=manual with files, or leave it out for a certificate that "
                      "clients know by its pin");
    }
    const std::string host = Text("hostname");
    const std::string base = Text("certdir") + "/" + FileNameOf(host);
    if (host.empty() || Text("certdir").empty()) {
      return Fail(ErrorCode::kInvalid, "--certmode=manual needs --hostname and --certdir");
    }
    const bool files = access((base + ".crt").c_str(), F_OK) == 0;
    // As derper: an address without files gets a certificate made for it.
    if (!files && core::IpAddress::Parse(host)) return {};
    Set("tls.cert", base + ".crt", "certdir");
    Set("tls.key", base + ".key", "certdir");
    return {};
  }

  core::Result<> Accepts() {
    for (const auto& [flag, key] : {std::pair{"accept-connection-limit", "relay.accept_limit"},
                                    std::pair{"accept-connection-burst", "relay.accept_burst"}}) {
      if (!given_.contains(flag)) continue;
      auto number = WholeNumber(flag, Text(flag));
      if (!number) return core::Forward(number);
      Set(key, std::move(*number), flag);
    }
    return {};
  }

  std::map<std::string, std::string> given_;
  std::vector<Setting> settings_;
};

// The first character that is no white space.
char FirstCharacter(std::string_view text) {
  const auto at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? '\0' : text[at];
}

std::string_view Trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

HostPort HostPortOf(std::string_view authority) {
  const serverd::ServerUrl url = serverd::SplitServerUrl("https://" + std::string(authority));
  return {url.host, url.port};
}

}  // namespace

core::Result<std::vector<Setting>> SettingsOf(const std::vector<ctl::GivenFlag>& flags) {
  return Translation(flags).Run();
}

core::Result<serverd::Config> LoadRelayConfig(const ctl::RelayFlags& flags) {
  serverd::ConfigOverrides overrides;
  auto settings = SettingsOf(flags.derper);
  if (!settings) return core::Forward(settings);
  overrides.settings = std::move(*settings);
  if (!flags.config.empty()) {
    // A key file is JSON, which no configuration begins like.
    const auto text = core::ReadPrivateFile(flags.config);
    if (text && FirstCharacter(*text) == '{') {
      overrides.settings.push_back({"relay.key_file", flags.config, "-c"});
    } else {
      overrides.config_path = flags.config;
    }
  }
  overrides.data_dir = flags.data_dir;
  overrides.socket = flags.socket;
  overrides.log_level = flags.log_level;
  auto config = serverd::LoadConfig(overrides);
  if (!config) return config;
  if (config->listen_auto) {
    config->listen_auto = false;
    config->listen = {":443"};
  }
  return config;
}

core::Result<DerperCommand> ReadDerperCommand(const std::vector<std::string>& arguments) {
  auto flags = ctl::ParseGoFlags(arguments);
  if (!flags) return core::Forward(flags);
  DerperCommand command;
  const auto named = [&](std::string_view name) {
    return std::ranges::any_of(*flags, [&](const auto& flag) { return flag.name == name; });
  };
  command.version = named("version");
  const bool dev = named("dev");
  if (!named("c") && !dev) {
    if (geteuid() != 0) {
      return Fail(ErrorCode::kInvalid, "-c <config path> is needed when not running as root");
    }
    flags->push_back({"c", std::string(kDerperKeyFile)});
  }
  command.flags.derper = std::move(*flags);
  return command;
}

core::Result<core::PrivateKey> LoadRelayKey(const std::string& path) {
  auto text = core::ReadPrivateFile(path);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    const core::PrivateKey fresh = core::PrivateKey::Generate();
    auto written = core::WriteFileAtomically(
        path, "{\n\t\"PrivateKey\": \"" + fresh.TextForKeyFile() + "\"\n}\n", core::Replace::kNo);
    if (!written) return core::Forward(written);
    text = core::ReadPrivateFile(path);
  }
  if (!text) return core::Forward(text);
  std::string key(Trimmed(*text));
  if (key.starts_with('{')) {
    core::json::Parser parser;
    const auto root = parser.Parse(*text);
    key = root ? std::string((*root)["PrivateKey"].AsString().value_or("")) : "";
  }
  auto parsed = core::PrivateKey::Parse(key);
  if (!parsed) {
    return Fail(ErrorCode::kCorrupt, path + " holds no private key (\"privkey:...\")");
  }
  return std::move(*parsed);
}

core::Result<relay::MeshKey> LoadMeshKey(const std::string& path) {
  auto text = core::ReadPrivateFile(path, core::Readers::kOwnerAndGroup);
  if (!text) return core::Forward(text);
  const auto key = relay::ParseMeshKey(Trimmed(*text));
  if (!key) return Fail(ErrorCode::kCorrupt, path + ": a mesh key has exactly 64 hex digits");
  if (std::ranges::all_of(*key, [](std::uint8_t byte) { return byte == 0; })) {
    return Fail(ErrorCode::kInvalid, path + ": a mesh key of zeros lets nobody in");
  }
  return *key;
}

core::Result<relay::RateLimit> LoadRateConfig(const std::string& path) {
  auto text = core::ReadPublicFile(path, kSmallFile);
  if (!text) return core::Forward(text);
  core::json::Parser parser;
  const auto root = parser.Parse(*text);
  if (!root || !root->is_object()) {
    return Fail(ErrorCode::kCorrupt, path + ": expected a JSON object");
  }
  const auto number = [&](std::string_view name) -> core::Result<std::uint64_t> {
    const auto value = (*root)[name];
    if (value.absent()) return std::uint64_t{0};
    const auto whole = value.AsUint();
    if (!whole) return Fail(ErrorCode::kCorrupt, path + ": " + std::string(name) + ": a number");
    return *whole;
  };
  auto rate = number("PerClientRateLimitBytesPerSec");
  if (!rate) return core::Forward(rate);
  auto burst = number("PerClientRateBurstBytes");
  if (!burst) return core::Forward(burst);
  // One packet of the longest kind must fit, or it would never pass.
  return relay::RateLimit{
      .bytes_per_second = *rate,
      .burst_bytes = std::max<std::uint64_t>(*burst, relay::kMaxPacketBytes + relay::kKeyBytes)};
}

MeshPeer MeshPeerOf(const std::string& entry) {
  const auto slash = entry.find('/');
  MeshPeer peer;
  peer.host = HostPortOf(entry.substr(0, slash));
  peer.dial = slash == std::string::npos ? peer.host : HostPortOf(entry.substr(slash + 1));
  // A dial host without a port of its own takes the port of the other.
  if (slash != std::string::npos && entry.find(':', slash) == std::string::npos) {
    peer.dial.port = peer.host.port;
  }
  return peer;
}

}  // namespace ringscale::relayd

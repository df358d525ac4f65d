// A server that runs: what it says of itself, its relay's watchman, SIGHUP, the end.
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/crypto/key_file.h"
#include "core/net/listener.h"
#include "core/obs/log.h"
#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/reload.h"
#include "tools/serverd/data_files.h"
#include "tools/serverd/join_url.h"
#include "tools/serverd/run_on.h"
#include "tools/serverd/server_impl.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::LogWarn;

// A connection that says nothing for this long is closed anyway (FrontLimits).
constexpr core::Duration kFrontDrain = core::Seconds(5);
constexpr core::Duration kRelayDrain = core::Seconds(1);
constexpr core::Duration kProbeInterval = core::Seconds(600);

std::string ListOf(const std::vector<std::string_view>& keys) {
  std::string text;
  for (const std::string_view key : keys) {
    text += text.empty() ? "" : " ";
    text += key;
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace

RelayTarget Server::Impl::OwnRelay() {
  const auto shared = shared_config_.load();
  const Config& config = *shared;
  const ServerName name = ServerNameOf(config);
  RelayTarget target;
  target.host = !config.derp.host.empty() ? config.derp.host : name.host;
  target.port = config.derp.port != 0 ? config.derp.port : name.port;
  if (target.host.empty()) {
    target.host = "127.0.0.1";
    target.port = sockets_.http_port != 0 ? sockets_.http_port : 443;
  }
  target.address = !config.derp.ipv4.empty() ? config.derp.ipv4 : config.derp.ipv6;
  if (PinBelongsIntoMap(config)) {
    target.cert_name = "sha256-raw:" + fronts_.tls_context()->leaf_sha256_hex();
  }
  return target;
}

core::Result<> Server::Impl::StartProber() {
  // A listener on some other address only: there is no name to dial.
  const bool dialable =
      !ServerNameOf(config_).host.empty() || !config_.derp.host.empty() || config_.listen_auto;
  if (!config_.derp.enabled || !dialable) return {};
  prober_ = std::make_unique<RelayProber>(
      [this] { return OwnRelay(); },
      [this](const RelayTarget& target, const core::Result<>& outcome) {
        const std::string where = (target.address.empty() ? target.host : target.address) + ":" +
                                  std::to_string(target.port);
        const std::string text =
            outcome ? ""
                    : "clients cannot use the relay at " + where + ": " + outcome.error().message;
        if (health_.Set("relay", HealthBoard::Severity::kWarning, text)) {
          if (outcome) {
            LogInfo("relay", "reachable as clients dial it", {{"address", where}});
          } else {
            LogWarn("relay", text);
          }
        }
      },
      kProbeInterval);
  return {};
}

std::vector<std::pair<std::string, std::string>> Server::Impl::BackupFiles() const {
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* name : {kNoiseKeyFile, kRelayKeyFile, "tls-ca.pem", "tls-ca-key.pem",
                           "tls-leaf.pem", "tls-leaf-key.pem"}) {
    if (auto content = core::ReadPublicFile(data_dir_->File(name), 1 << 20)) {
      files.emplace_back("data/" + std::string(name), std::move(*content));
    }
  }
  if (const auto config = shared_config_.load(); !config->source.empty()) {
    if (auto content = core::ReadPublicFile(config->source, 1 << 20)) {
      files.emplace_back("config/ringscale.toml", std::move(*content));
    }
  }
  return files;
}

void Server::Impl::RunUntilSignal() {
  events_.Wait([this] { Reload(); });
  Stop();
}

void Server::Impl::Reload() {
  const auto refuse = [](const core::Error& error) {
    core::LogError("serve",
                   "configuration not reloaded, the old one stays in force: " + error.message);
  };
  auto fresh = reread_();
  if (!fresh) return refuse(fresh.error());
  NameActivated(activated_, *fresh);
  const auto warnings = fresh->Warnings(sockets_.https_443);
  ConfigChange change = CompareConfig(config_, std::move(*fresh));
  // New values beside those that stay until a restart.
  std::optional<core::Error> misfit;
  CheckKeysTogether(change.config, [&](BlamedKeys keys, const std::string& message) {
    misfit = change.config.Blame(
        keys, {core::ErrorCode::kConflict, message + "; a restart takes all of it over"});
  });
  if (misfit) return refuse(*misfit);
  auto proxies = TrustedProxiesOf(change.config);
  if (!proxies) return refuse(proxies.error());
  auto reloaded =
      RunOn<void>(control_thread_->loop(), [&] { return control_->Reload(change.config); });
  if (!reloaded) return refuse(reloaded.error());

  const bool other_relay = change.config.server_url != config_.server_url ||
                           change.config.derp != config_.derp || change.config.tls != config_.tls;
  config_ = std::move(change.config);
  shared_config_ = std::make_shared<const Config>(config_);
  core::ConfigureLog(config_.log.level, config_.log.format);
  fronts_.Reconfigure(FrontLimitsOf(config_), *proxies, config_.derp.allow_plain);
  if (other_relay) {
    prober_.reset();
    health_.Set("relay", HealthBoard::Severity::kWarning, "");
    if (auto started = StartProber(); !started) LogWarn("relay", started.error().message);
  }
  for (const auto& warning : warnings) LogWarn("config", warning);
  if (!change.restart.empty()) {
    LogWarn("serve", "these changes of the configuration need a restart",
            {{"keys", ListOf(change.restart)}});
  }
  LogInfo("serve", "configuration reloaded", {{"changed", ListOf(change.at_reload)}});
}

void Server::Impl::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (started_) LogInfo("serve", "stopping");
  prober_.reset();
  fronts_.Drain(kFrontDrain);
  if (relay_) relay_->Stop(kRelayDrain);
  if (control_) {
    std::promise<void> flushed;
    RunOn(control_thread_->loop(),
          [&] { control_->Shutdown([&flushed] { flushed.set_value(); }); });
    flushed.get_future().wait();
  }
  // The store's last completions are posted to the control loop: it goes last.
  if (store_) store_->Close();
  fronts_.Stop();
  if (control_thread_) {
    RunOn(control_thread_->loop(), [&] { control_.reset(); });
    control_thread_->Stop();
  }
  fronts_.Join();
  if (control_thread_) control_thread_->Join();
  events_.End();
  if (started_) LogInfo("serve", "stopped");
  core::FlushLog();
}

std::string Server::Impl::JoinLine() const {
  // What a listener names is what can be reached; one without an address means all.
  std::vector<core::IpAddress> addresses;
  for (const auto& text : config_.listen) {
    const auto address = core::net::ParseListenAddress(text);
    if (!address) continue;
    if (!address->address.ip.valid()) {
      addresses = MachineAddresses();
      break;
    }
    addresses.push_back(address->address.ip);
  }
  const JoinUrl join =
      ChooseJoinUrl(config_.server_url, addresses, sockets_.http_port, sockets_.https_443);
  std::string line = "tailscale up --login-server " + join.url;
  if (!join.warning.empty()) line += "\n(" + join.warning + ")";
  return line;
}

}  // namespace ringscale::serverd

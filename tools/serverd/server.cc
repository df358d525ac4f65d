#include "tools/serverd/server.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/crypto/key_file.h"
#include "core/engine/loop_thread.h"
#include "core/io/probe.h"
#include "core/net/listener.h"
#include "core/net/trusted_proxies.h"
#include "core/obs/log.h"
#include "core/obs/metrics.h"
#include "core/tls/aead.h"
#include "relay/app/admission_set.h"
#include "relay/app/relay_service.h"
#include "relay/login/server_login.h"
#include "storage/commit/lmdb_store.h"
#include "storage/data_dir.h"
#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/reload.h"
#include "tools/serverd/control_plane.h"
#include "tools/serverd/front_pool.h"
#include "tools/serverd/health_board.h"
#include "tools/serverd/join_url.h"
#include "tools/serverd/process_events.h"
#include "tools/serverd/relay_probe.h"
#include "tools/serverd/run_on.h"
#include "tools/serverd/settings.h"
#include "tools/serverd/sockets.h"
#include "tools/serverd/take_over.h"
#include "tools/serverd/urls.h"
#include "tools/serverd/web_handlers.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::LogWarn;

constexpr int kControlNice = 10;
// A connection that says nothing for this long is closed anyway (FrontLimits).
constexpr core::Duration kFrontDrain = core::Seconds(5);
constexpr core::Duration kRelayDrain = core::Seconds(1);
// How long a server that was told to stop may take.
constexpr core::Duration kPredecessorStop = core::Seconds(60);
constexpr core::Duration kProbeInterval = core::Seconds(600);

constexpr const char* kNoiseKeyFile = "noise_private.key";
constexpr const char* kRelayKeyFile = "derp_private.key";

core::Result<storage::DataDir> LockData(const Config& config, core::Duration wait = {}) {
  return config.Blame({"data_dir"}, storage::DataDir::Lock(config.data_dir, wait));
}

// As far as it can be checked without the users of the store.
core::Result<> CheckPolicyFile(const Config& config) {
  if (config.policy.database || config.policy.path.empty()) return {};
  auto text = config.Blame({"policy.path"}, control::ReadPolicyFile(config.policy.path));
  if (!text) return core::Forward(text);
  const auto document = control::policy::ParseDocument(*text);
  if (document) return {};
  return std::unexpected(config.Blame(
      {"policy.path"},
      {core::ErrorCode::kInvalid, config.policy.path + ": " + document.error().text()}));
}

// Writes nothing, so that it may be done beside a running server.
core::Result<> CheckGivenCertificate(const Config& config) {
  if (config.tls.cert.empty()) return {};
  auto certificate = CertificateKeeper::Create(config, OwnNames(config), core::WallNow());
  if (!certificate) return core::Forward(certificate);
  return {};
}

std::string ListOf(const std::vector<std::string_view>& keys) {
  std::string text;
  for (const std::string_view key : keys) {
    text += text.empty() ? "" : " ";
    text += key;
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace

class Server::Impl final : public relay::PresenceListener {
 public:
  Impl(Config config, Build build, Reread reread)
      : config_(std::move(config)), build_(std::move(build)), reread_(std::move(reread)) {}
  ~Impl() override { Stop(); }

  core::Result<> Start(Inheritance inheritance);
  void RunUntilSignal();
  [[nodiscard]] std::string JoinLine() const;

  void OnRelayPresence(const core::NodePublic& key, bool present) override {
    if (!control_thread_) return;
    // A full queue loses a note for `nodes show`, nothing else.
    const bool posted = control_thread_->loop().Post([this, key, present] {
      if (control_) control_->SetRelayPresence(key, present);
    });
    if (!posted) presence_lost_.Add();
  }

 private:
  core::Result<> Open(Inheritance inheritance);
  core::Result<> OpenStorage(core::Duration wait);
  core::Result<> OpenSockets(std::vector<GivenSocket> given);
  // Any thread, once the keys are there.
  core::Result<CertificateKeeper> MakeCertificate(const Config& config,
                                                  std::set<std::string> names) const;
  core::Result<> StartControl();
  core::Result<> StartRelay();
  core::Result<> StartFronts();
  core::Result<> StartMetrics();
  core::Result<> StartProber();
  // How a client would dial our relay now.
  RelayTarget OwnRelay();
  FrontHandlers MakeHandlers();
  std::vector<std::pair<std::string, std::string>> BackupFiles() const;
  void Reload();
  void Stop();

  // What the server runs with; other threads go by `shared_config_`, which is the same.
  Config config_;
  std::atomic<std::shared_ptr<const Config>> shared_config_;
  const Build build_;
  const Reread reread_;

  ProcessEvents events_;

  std::optional<storage::DataDir> data_dir_;
  std::unique_ptr<storage::LmdbStore> store_;
  std::optional<core::PrivateKey> noise_key_;
  std::optional<core::PrivateKey> relay_key_;
  std::vector<SocketLabel> activated_;
  ServerSockets sockets_;
  core::net::TrustedProxies proxies_;

  core::MetricsRegistry metrics_;
  core::SharedCounter presence_lost_;
  HealthBoard health_;
  relay::AdmissionSet admitted_;
  const relay::OpenAdmission everybody_;
  std::unique_ptr<core::engine::LoopThread> control_thread_;
  std::unique_ptr<ControlPlane> control_;
  std::unique_ptr<relay::RelayService> relay_;
  std::optional<relay::LoginContext> login_context_;
  std::unique_ptr<WebHandlers> web_;
  FrontPool fronts_{FrontLimitsOf(config_)};
  std::unique_ptr<RelayProber> prober_;
  bool started_ = false;
  bool stopped_ = false;
};

core::Result<> Server::Impl::Start(Inheritance inheritance) {
  // Signals first: threads inherit the mask.
  if (auto started = events_.Start(); !started) return started;
  if (auto prepared = PrepareProcess("serve", config_.engine.core_dumps); !prepared) {
    return prepared;
  }

  if (auto opened = Open(std::move(inheritance)); !opened) return opened;
  for (auto step : {&Impl::StartControl, &Impl::StartRelay, &Impl::StartFronts, &Impl::StartMetrics,
                    &Impl::StartProber}) {
    if (auto done = (this->*step)(); !done) return done;
  }
  RunOn(control_thread_->loop(),
        [this] { control_->ServeCommands(std::move(*sockets_.commands)); });
  started_ = true;
  return {};
}

core::Result<> Server::Impl::Open(Inheritance inheritance) {
  std::vector<GivenSocket> given = FromActivation(std::move(inheritance.activated));
  for (const auto& socket : given) activated_.push_back(socket.label);
  NameActivated(activated_, config_);
  shared_config_ = std::make_shared<const Config>(config_);
  if (!inheritance.take_over) {
    // The data directory first: its error names the server that runs already.
    if (auto opened = OpenStorage({}); !opened) return opened;
    return OpenSockets(std::move(given));
  }
  auto old_server = TakeOver::Ask(config_.SocketPath());
  if (!old_server) return core::Forward(old_server);
  if (!*old_server) {
    LogInfo("serve", "no server to take over from", {{"socket", config_.SocketPath()}});
  } else {
    std::ranges::move((*old_server)->TakeSockets(), std::back_inserter(given));
  }
  // What can fail fails while the old server still serves.
  if (auto certificate = CheckGivenCertificate(config_); !certificate) return certificate;
  if (auto opened = OpenSockets(std::move(given)); !opened) return opened;
  if (*old_server) {
    if (auto told = (*old_server)->TellToStop(); !told) return told;
  }
  return OpenStorage(kPredecessorStop);
}

core::Result<> Server::Impl::OpenStorage(core::Duration wait) {
  auto dir = LockData(config_, wait);
  if (!dir) return core::Forward(dir);
  data_dir_.emplace(std::move(*dir));
  auto noise = core::LoadOrCreatePrivateKey(data_dir_->File(kNoiseKeyFile));
  if (!noise) return core::Forward(noise);
  noise_key_ = std::move(*noise);
  auto relay = core::LoadOrCreatePrivateKey(data_dir_->File(kRelayKeyFile));
  if (!relay) return core::Forward(relay);
  relay_key_ = std::move(*relay);
  storage::LmdbOptions options;
  options.path = data_dir_->DatabasePath();
  options.max_map_bytes = config_.store.max_bytes;
  auto store = storage::LmdbStore::Open(std::move(options));
  if (!store) return core::Forward(store);
  store_ = std::move(*store);
  return {};
}

core::Result<> Server::Impl::OpenSockets(std::vector<GivenSocket> given) {
  auto sockets = OpenServerSockets(config_, std::move(given));
  if (!sockets) return core::Forward(sockets);
  sockets_ = std::move(*sockets);
  for (const auto& warning : config_.Warnings(sockets_.https_443)) LogWarn("config", warning);
  auto trusted = TrustedProxiesOf(config_);
  if (!trusted) return core::Forward(trusted);
  proxies_ = std::move(*trusted);
  return {};
}

core::Result<CertificateKeeper> Server::Impl::MakeCertificate(const Config& config,
                                                              std::set<std::string> names) const {
  // Our own certificate is sent alone: the first clients that knew pins insist on it.
  const bool fast_start = config.derp.enabled && !config.tls.cert.empty();
  return CertificateKeeper::Create(
      config, std::move(names), core::WallNow(),
      fast_start ? std::optional(relay_key_->PublicRaw()) : std::nullopt);
}

core::Result<> Server::Impl::StartControl() {
  core::engine::LoopThreadOptions options;
  options.loop.name = "control";
  options.loop.buffer_count = 256;
  options.nice = kControlNice;
  auto thread = core::engine::LoopThread::Start(std::move(options));
  if (!thread) return core::Forward(thread);
  control_thread_ = std::move(*thread);
  auto certificate = MakeCertificate(config_, OwnNames(config_));
  if (!certificate) return core::Forward(certificate);
  if (!certificate->ca_file().empty()) {
    LogInfo("tls", "serving a certificate of our own", {{"ca", certificate->ca_file()}});
  }
  ControlPlane::Parts parts;
  parts.store = store_.get();
  parts.admitted = &admitted_;
  parts.health = &health_;
  parts.metrics = &metrics_;
  parts.version = build_.version;
  parts.close_relay_key = [this](const core::NodePublic& key) {
    if (relay_) relay_->CloseKey(key);
  };
  parts.use_certificate = [this](std::shared_ptr<const core::tls::ServerContext> context) {
    fronts_.SetTlsContext(std::move(context));
  };
  parts.make_certificate = [this](const Config& config, std::set<std::string> names) {
    return MakeCertificate(config, std::move(names));
  };
  parts.backup_files = [this] { return BackupFiles(); };
  parts.sockets = [this] {
    return HandOver::ListOf(sockets_, control_->command_socket(),
                            shared_config_.load()->SocketPath());
  };
  parts.stop = [this] { events_.RequestStop(); };
  auto& loop = control_thread_->loop();
  return RunOn<void>(loop, [&]() -> core::Result<> {
    auto plane = ControlPlane::Create(loop, config_, std::move(*certificate), std::move(parts));
    if (!plane) return core::Forward(plane);
    control_ = std::move(*plane);
    return {};
  });
}

core::Result<> Server::Impl::StartRelay() {
  if (!config_.derp.enabled) return {};
  relay::RelayServiceOptions options = RelayOptionsOf(config_);
  options.server_key = relay_key_->PublicAs<core::NodePublic>();
  const relay::Admission& admission =
      config_.derp.verify_clients ? static_cast<const relay::Admission&>(admitted_) : everybody_;
  options.admission = &admission;
  options.presence = this;
  auto relay = relay::RelayService::Start(options, metrics_);
  if (!relay) return core::Forward(relay);
  relay_ = std::move(*relay);
  auto stun = CopiesOf(sockets_.stun);
  if (!stun) return core::Forward(stun);
  relay_->AttachStun(std::move(*stun));
  login_context_.emplace(relay::LoginContext{.server_key = *relay_key_,
                                             .server_public = relay_key_->PublicRaw(),
                                             .admission = admission,
                                             .mesh_key = std::nullopt});
  return {};
}

FrontHandlers Server::Impl::MakeHandlers() {
  FrontHandlers handlers;
  handlers.handle = [this](FrontRequest request, HttpResponder responder) {
    web_->Handle(std::move(request), std::move(responder));
  };
  handlers.body_limit = &WebHandlers::BodyLimit;
  handlers.to_control = [this](control::NoiseClient client) {
    return control_thread_->loop().Post([this, moved = std::move(client)]() mutable {
      if (control_) control_->Accept(std::move(moved));
    });
  };
  handlers.to_relay = [this](relay::LoggedInClient client) {
    if (!relay_) return false;
    relay_->Add(std::move(client));
    return true;
  };
  return handlers;
}

core::Result<> Server::Impl::StartFronts() {
  WebHandlers::Parts parts;
  parts.admission = &admitted_;
  parts.health = &health_;
  parts.store = store_.get();
  parts.metrics = &metrics_;
  parts.version_json = build_.version_json;
  parts.site = [this](std::string_view host, bool https) {
    return pages::Site{.server_url = BaseUrl(*shared_config_.load(), host, https),
                       .version = build_.version};
  };
  parts.show_login = [this](FrontRequest request, HttpResponder responder) {
    auto shared = std::make_shared<std::pair<FrontRequest, HttpResponder>>(std::move(request),
                                                                           std::move(responder));
    // When control cannot take it, the responder answers 500 as it goes.
    if (!control_thread_->loop().Post([this, shared] {
          if (control_) control_->ShowLogin(shared->first, std::move(shared->second));
        })) {
      LogWarn("serve", "control is too busy for a login page");
    }
  };
  web_ = std::make_unique<WebHandlers>(std::move(parts));
  FrontOptions options;
  options.noise_key = &*noise_key_;
  options.trusted_proxies = proxies_;
  options.relay = login_context_ ? &*login_context_ : nullptr;
  options.derp_allow_plain = config_.derp.allow_plain;
  if (auto started = fronts_.Start(config_.engine.fronts, options, MakeHandlers(), metrics_);
      !started)
    return started;
  std::vector<int> sockets;
  for (const auto& socket : sockets_.clients) sockets.push_back(socket.fd.get());
  fronts_.Listen(std::move(sockets));
  return {};
}

core::Result<> Server::Impl::StartMetrics() {
  using Kind = core::MetricsRegistry::Kind;
  metrics_.Add("ringscale_store_batches_total", Kind::kCounter, "Batches on disk.", {},
               [this] { return static_cast<double>(store_->counters().batches.Value()); });
  metrics_.Add("ringscale_store_commits_total", Kind::kCounter, "Transactions, one fsync each.", {},
               [this] { return static_cast<double>(store_->counters().commits.Value()); });
  metrics_.Add("ringscale_store_failed_total", Kind::kCounter, "Batches that failed.", {},
               [this] { return static_cast<double>(store_->counters().failed.Value()); });
  metrics_.Add("ringscale_relay_presence_lost_total", Kind::kCounter,
               "Relay presence notes that control had no room for.", {},
               [this] { return static_cast<double>(presence_lost_.Value()); });
  if (!sockets_.metrics) return {};
  FrontOptions options;
  options.noise_key = &*noise_key_;
  options.trusted_proxies = proxies_;
  FrontHandlers handlers;
  handlers.handle = [this](const FrontRequest& request, HttpResponder responder) {
    web_->HandleMetrics(request, std::move(responder));
  };
  handlers.body_limit = [](const core::http::HttpRequest&) { return std::size_t{0}; };
  handlers.to_control = [](const control::NoiseClient&) { return false; };
  handlers.to_relay = [](const relay::LoggedInClient&) { return false; };
  fronts_.AddSideDoor(sockets_.metrics->fd.get(), {.connections = 64}, options, handlers);
  return {};
}

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

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

core::Result<std::unique_ptr<Server>> Server::Start(Config config, Build build, Reread reread,
                                                    Inheritance inheritance) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(build), std::move(reread));
  if (auto started = impl->Start(std::move(inheritance)); !started) return core::Forward(started);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::RunUntilSignal() {
  impl_->RunUntilSignal();
}

std::string Server::JoinLine() const {
  return impl_->JoinLine();
}

core::Result<> CheckConfig(const Config& config) {
  if (auto policy = CheckPolicyFile(config); !policy) return policy;
  auto dir = LockData(config);
  if (!dir && dir.error().code == core::ErrorCode::kConflict) {
    // A server runs on that data, so keys and database are sound.
    return CheckGivenCertificate(config);
  }
  if (!dir) return core::Forward(dir);
  auto certificate = CertificateKeeper::Create(config, OwnNames(config), core::WallNow());
  if (!certificate) return core::Forward(certificate);
  for (const char* name : {kNoiseKeyFile, kRelayKeyFile}) {
    auto key = core::LoadOrCreatePrivateKey(dir->File(name));
    if (!key) return core::Forward(key);
  }
  storage::LmdbOptions options;
  options.path = dir->DatabasePath();
  auto store = storage::LmdbStore::Open(std::move(options));
  if (!store) return core::Forward(store);
  return {};
}

}  // namespace ringscale::serverd

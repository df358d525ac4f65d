#include "tools/serverd/server.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/crypto/key_file.h"
#include "core/obs/log.h"
#include "tools/serverd/check_config.h"
#include "tools/serverd/data_files.h"
#include "tools/serverd/run_on.h"
#include "tools/serverd/server_impl.h"
#include "tools/serverd/take_over.h"
#include "tools/serverd/urls.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::LogWarn;

constexpr int kControlNice = 10;
// How long a server that was told to stop may take.
constexpr core::Duration kPredecessorStop = core::Seconds(60);

}  // namespace

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

}  // namespace ringscale::serverd

#include "tools/relayd/relay_node.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/engine/loop_thread.h"
#include "core/net/trusted_proxies.h"
#include "core/obs/log.h"
#include "core/obs/metrics.h"
#include "relay/app/admission_set.h"
#include "relay/app/relay_service.h"
#include "relay/login/server_login.h"
#include "storage/data_dir.h"
#include "tools/relayd/bootstrap_dns.h"
#include "tools/relayd/client_check.h"
#include "tools/relayd/derp_metrics.h"
#include "tools/relayd/map_node.h"
#include "tools/relayd/mesh_dialer.h"
#include "tools/relayd/relay_status.h"
#include "tools/relayd/relay_web.h"
#include "tools/relayd/settings.h"
#include "tools/serverd/admin_socket.h"
#include "tools/serverd/certificate_keeper.h"
#include "tools/serverd/front_pool.h"
#include "tools/serverd/process_events.h"
#include "tools/serverd/run_on.h"
#include "tools/serverd/settings.h"
#include "tools/serverd/sockets.h"
#include "tools/serverd/take_over.h"

namespace ringscale::relayd {
namespace {

using core::LogInfo;
using core::LogWarn;
using serverd::Config;
using serverd::RunOn;

constexpr core::Duration kFrontDrain = core::Seconds(5);
// After the drain: what is queued may go out.
constexpr core::Duration kRelayStop = core::Seconds(1);
constexpr core::Duration kWatchInterval = core::Seconds(30);
constexpr core::Duration kLockInterval = core::Seconds(1);
constexpr std::size_t kTalkers = 10;
constexpr const char* kRelayKeyFile = "derp_private.key";

serverd::FrontLimits LimitsOf(const Config& config) {
  serverd::FrontLimits limits = serverd::FrontLimitsOf(config);
  limits.accepts_per_second = config.relay.accept_limit;
  limits.accept_burst = config.relay.accept_burst;
  return limits;
}

relay::ClientTcp ClientTcpOf(const Config& config) {
  relay::ClientTcp tcp;
  tcp.user_timeout = config.relay.tcp_user_timeout;
  tcp.keep_alive_idle = config.relay.tcp_keep_alive;
  return tcp;
}

}  // namespace

class RelayNode::Impl {
 public:
  Impl(Config config, std::string version)
      : config_(std::move(config)), version_(std::move(version)) {}
  ~Impl() { Stop(); }

  core::Result<> Start(serverd::Inheritance inheritance);
  void RunUntilSignal() {
    events_.Wait([this] { Reload(); });
    Stop();
  }
  [[nodiscard]] std::string MapNode() const {
    return MapNodeOf(config_, sockets_, certificate_->pin());
  }

 private:
  core::Result<> OpenData(bool successor);
  core::Result<> LoadKeys();
  core::Result<> StartRelay();
  core::Result<> StartAdmission();
  core::Result<> StartFronts();
  void AddSideDoors();
  core::Result<> StartLocal();
  void StartMesh();
  void Watch();
  void WaitForLock();
  void SetRateLimit(const relay::RateLimit& limit);
  void Reload();
  void Stop();
  [[nodiscard]] StatusParts Status() const;

  Config config_;  // fixed once the start has named the sockets
  const std::string version_;
  serverd::ProcessEvents events_;
  std::optional<storage::DataDir> data_dir_;
  std::optional<core::PrivateKey> key_;
  std::optional<relay::MeshKey> mesh_key_;
  std::optional<serverd::CertificateKeeper> certificate_;
  serverd::ServerSockets sockets_;
  core::net::TrustedProxies proxies_;

  core::MetricsRegistry metrics_;
  const relay::OpenAdmission everybody_;
  std::unique_ptr<MeshDialer> mesh_;
  std::unique_ptr<relay::RelayService> relay_;
  std::shared_ptr<DerpMetrics> derp_metrics_;
  std::unique_ptr<ClientCheck> check_;
  std::optional<relay::LoginContext> login_;
  std::unique_ptr<BootstrapDns> bootstrap_dns_;
  std::unique_ptr<RelayWeb> web_;
  serverd::FrontPool fronts_{LimitsOf(config_)};
  // The local socket's thread, and what lives on it.
  std::unique_ptr<core::engine::LoopThread> local_;
  struct OnLocal {
    std::unique_ptr<serverd::AdminSocket> socket;
    std::unique_ptr<serverd::HandOver> hand_over;
  } on_local_;
  bool started_ = false;
  bool stopped_ = false;
};

core::Result<> RelayNode::Impl::Start(serverd::Inheritance inheritance) {
  // Signals first: threads inherit the mask.
  if (auto started = events_.Start(); !started) return started;
  if (auto done = serverd::PrepareProcess("relay", config_.engine.core_dumps); !done) return done;

  std::vector<serverd::GivenSocket> given =
      serverd::FromActivation(std::move(inheritance.activated));
  std::vector<serverd::SocketLabel> activated;
  activated.reserve(given.size());
  for (const auto& socket : given) activated.push_back(socket.label);
  serverd::NameActivated(activated, config_);
  std::optional<serverd::TakeOver> old_relay;
  if (inheritance.take_over) {
    auto asked = serverd::TakeOver::Ask(config_.SocketPath());
    if (!asked) return core::Forward(asked);
    old_relay = std::move(*asked);
    if (!old_relay) {
      LogInfo("relay", "no relay to take over from", {{"socket", config_.SocketPath()}});
    } else {
      std::ranges::move(old_relay->TakeSockets(), std::back_inserter(given));
    }
  }
  if (auto opened = OpenData(old_relay.has_value()); !opened) return opened;
  auto sockets = serverd::OpenServerSockets(config_, std::move(given), serverd::ServerRole::kRelay);
  if (!sockets) return core::Forward(sockets);
  sockets_ = std::move(*sockets);
  auto trusted = serverd::TrustedProxiesOf(config_);
  if (!trusted) return core::Forward(trusted);
  proxies_ = std::move(*trusted);

  for (auto step :
       {&Impl::StartRelay, &Impl::StartAdmission, &Impl::StartLocal, &Impl::StartFronts}) {
    if (auto done = (this->*step)(); !done) return done;
  }
  StartMesh();
  // Whoever connects from now on is ours; the old relay only drains.
  if (old_relay) {
    if (auto told = old_relay->TellToStop(); !told) return told;
  }
  started_ = true;
  return {};
}

core::Result<> RelayNode::Impl::OpenData(bool successor) {
  auto dir = storage::DataDir::Lock(config_.data_dir);
  if (dir) {
    data_dir_.emplace(std::move(*dir));
  } else if (!successor) {
    // A successor gets the lock when the old relay has drained.
    return core::Forward(dir);
  }
  if (auto loaded = LoadKeys(); !loaded) return loaded;
  auto certificate = serverd::CertificateKeeper::Create(
      config_, serverd::OwnNames(config_), core::WallNow(),
      config_.derp.enabled ? std::optional(key_->PublicRaw()) : std::nullopt);
  if (!certificate) return core::Forward(certificate);
  certificate_.emplace(std::move(*certificate));
  if (!certificate_->warning().empty()) LogWarn("tls", certificate_->warning());
  fronts_.SetTlsContext(certificate_->context());
  return {};
}

core::Result<> RelayNode::Impl::LoadKeys() {
  auto key = LoadRelayKey(config_.relay.key_file.empty() ? config_.data_dir + "/" + kRelayKeyFile
                                                         : config_.relay.key_file);
  if (!key) return core::Forward(key);
  key_.emplace(std::move(*key));
  if (config_.relay.mesh_key_file.empty()) return {};
  auto mesh_key = LoadMeshKey(config_.relay.mesh_key_file);
  if (!mesh_key) return core::Forward(mesh_key);
  mesh_key_ = *mesh_key;
  return {};
}

core::Result<> RelayNode::Impl::StartRelay() {
  relay::RelayServiceOptions options = serverd::RelayOptionsOf(config_);
  options.server_key = key_->PublicAs<core::NodePublic>();
  options.times.write_timeout = config_.relay.tcp_write_timeout;
  options.tcp = ClientTcpOf(config_);
  if (mesh_key_ && !config_.relay.mesh_with.empty()) {
    if (config_.relay.mesh_with.size() > relay::kMaxMeshLinks) {
      return core::Fail(core::ErrorCode::kLimit, "relay.mesh_with: at most 64 relays");
    }
    MeshDialer::Options mesh;
    for (const auto& entry : config_.relay.mesh_with) mesh.peers.push_back(MeshPeerOf(entry));
    mesh.mesh_key = *mesh_key_;
    mesh.server_key = &*key_;
    mesh_ = std::make_unique<MeshDialer>(std::move(mesh));
    options.mesh = mesh_.get();
  }
  auto relay = relay::RelayService::Start(options, metrics_);
  if (!relay) return core::Forward(relay);
  relay_ = std::move(*relay);
  bootstrap_dns_ = std::make_unique<BootstrapDns>(config_.relay.bootstrap_dns_names);
  derp_metrics_ = std::make_shared<DerpMetrics>(
      DerpMetrics::Parts{.relay = RelayTotals(relay_->metrics()),
                         .fronts = fronts_.totals(),
                         .bootstrap_dns = bootstrap_dns_->stats(),
                         .version = version_,
                         .rates = !config_.relay.rate_config.empty()});
  DerpMetrics::Register(derp_metrics_, metrics_);
  if (!config_.relay.rate_config.empty()) {
    auto limit = LoadRateConfig(config_.relay.rate_config);
    if (!limit) return core::Forward(limit);
    SetRateLimit(*limit);
  }
  auto stun = serverd::CopiesOf(sockets_.stun);
  if (!stun) return core::Forward(stun);
  relay_->AttachStun(std::move(*stun));
  return {};
}

core::Result<> RelayNode::Impl::StartAdmission() {
  ClientCheck::Options options;
  if (config_.relay.verify_clients) options.tailscaled_socket = config_.relay.tailscaled_socket;
  options.url = config_.relay.verify_client_url;
  options.fail_open = config_.relay.verify_client_url_fail_open;
  const bool ask = !options.tailscaled_socket.empty() || !options.url.empty();
  if (ask) {
    auto check = ClientCheck::Start(std::move(options), metrics_);
    if (!check) return core::Forward(check);
    check_ = std::move(*check);
  } else {
    LogInfo("relay", "everybody may use this relay: nothing says who may not");
  }
  login_.emplace(relay::LoginContext{.server_key = *key_,
                                     .server_public = key_->PublicRaw(),
                                     .admission = everybody_,
                                     .mesh_key = mesh_key_,
                                     .ask = ask});
  return {};
}

core::Result<> RelayNode::Impl::StartFronts() {
  web_ = std::make_unique<RelayWeb>(
      RelayWeb::Parts{.config = &config_,
                      .bootstrap_dns = bootstrap_dns_.get(),
                      .metrics = &metrics_,
                      .derp = derp_metrics_,
                      .version = version_,
                      .mesh_key = mesh_key_.has_value(),
                      .traffic = [this](std::function<void(std::string)> done) {
                        // When the loop cannot take it, the responder answers 500 as it goes.
                        (void)local_->loop().Post([this, done = std::move(done)] {
                          GatherStatus(Status(), config_.limits.relay_connections, done);
                        });
                      }});
  serverd::FrontOptions options;
  options.trusted_proxies = proxies_;
  options.relay = config_.derp.enabled ? &*login_ : nullptr;
  options.derp_allow_plain = config_.derp.allow_plain;
  options.bridge.tcp = ClientTcpOf(config_);
  options.bridge.times.write_timeout = config_.relay.tcp_write_timeout;
  serverd::FrontHandlers handlers;
  handlers.handle = [this](const serverd::FrontRequest& request, serverd::HttpResponder responder) {
    web_->Handle(request, std::move(responder));
  };
  handlers.body_limit = &RelayWeb::BodyLimit;
  handlers.to_relay = [this](relay::LoggedInClient client) {
    relay_->Add(std::move(client));
    return true;
  };
  handlers.admit = [this](const core::NodePublic& key, const core::SocketAddress& remote,
                          serverd::FrontHandlers::AdmitAnswer answer) {
    check_->Ask(key, remote.ip, std::move(answer));
  };
  if (auto started = fronts_.Start(config_.engine.fronts, options, handlers, metrics_); !started) {
    return started;
  }
  std::vector<int> clients;
  clients.reserve(sockets_.clients.size());
  for (const auto& socket : sockets_.clients) clients.push_back(socket.fd.get());
  fronts_.Listen(std::move(clients));
  AddSideDoors();
  return {};
}

void RelayNode::Impl::AddSideDoors() {
  serverd::FrontOptions options;
  options.trusted_proxies = proxies_;
  options.derp_paths = false;
  serverd::FrontHandlers handlers;
  handlers.body_limit = &RelayWeb::BodyLimit;
  if (sockets_.http) {
    handlers.handle = [this](const serverd::FrontRequest& request,
                             serverd::HttpResponder responder) {
      web_->HandleHttp(request, std::move(responder));
    };
    fronts_.AddSideDoor(sockets_.http->fd.get(), serverd::FrontLimitsOf(config_), options,
                        handlers);
  }
  if (sockets_.metrics) {
    handlers.handle = [this](const serverd::FrontRequest& request,
                             serverd::HttpResponder responder) {
      web_->HandleMetrics(request, std::move(responder));
    };
    fronts_.AddSideDoor(sockets_.metrics->fd.get(), {.connections = 64}, options, handlers);
  }
}

core::Result<> RelayNode::Impl::StartLocal() {
  core::engine::LoopThreadOptions options;
  options.loop.name = "local";
  auto thread = core::engine::LoopThread::Start(std::move(options));
  if (!thread) return core::Forward(thread);
  local_ = std::move(*thread);
  auto& loop = local_->loop();
  RunOn(loop, [&] {
    on_local_.socket = std::make_unique<serverd::AdminSocket>(
        loop, [](const control::AdminRequest&, control::AdminRespond respond) {
          respond({.status = 404,
                   .content_type = "application/problem+json",
                   .body = R"({"title":"Not Found","status":404,)"
                           R"("detail":"this is a relay: it has no control plane"})"});
        });
    on_local_.hand_over = std::make_unique<serverd::HandOver>(
        loop,
        [this] {
          return serverd::HandOver::ListOf(sockets_, on_local_.socket->listening_fd(),
                                           config_.SocketPath());
        },
        [this] { events_.RequestStop(); });
    on_local_.socket->AddRoute(
        "GET", "/api/v1/relay/status",
        [this](const control::AdminRequest&, control::AdminRespond respond) {
          const auto waiting = std::make_shared<control::AdminRespond>(std::move(respond));
          GatherStatus(Status(), kTalkers,
                       [waiting](std::string json) { (*waiting)({.body = std::move(json)}); });
        });
    on_local_.socket->AddTakeOver("POST", serverd::kTakeOverPath,
                                  [this](core::Fd connection, const core::net::PeerCredentials&,
                                         const control::AdminRequest&) {
                                    on_local_.hand_over->Begin(std::move(connection));
                                  });
    on_local_.socket->Start(std::move(*sockets_.commands));
    Watch();
    if (!data_dir_) WaitForLock();
  });
  return {};
}

// Once in a while: the certificate's files.
void RelayNode::Impl::Watch() {
  if (certificate_->Refresh(local_->loop().Wall())) {
    LogInfo("tls", "certificate reloaded");
    fronts_.SetTlsContext(certificate_->context());
  }
  local_->loop().After(kWatchInterval, [this] { Watch(); });
}

void RelayNode::Impl::WaitForLock() {
  if (auto dir = storage::DataDir::Lock(config_.data_dir)) {
    data_dir_.emplace(std::move(*dir));
    return;
  }
  local_->loop().After(kLockInterval, [this] { WaitForLock(); });
}

void RelayNode::Impl::StartMesh() {
  if (mesh_ == nullptr) return;
  mesh_->Start([this](relay::LoggedInClient client) { relay_->Add(std::move(client)); });
}

StatusParts RelayNode::Impl::Status() const {
  return {.loop = &local_->loop(),
          .relay = relay_.get(),
          .mesh = mesh_.get(),
          .metrics = derp_metrics_,
          .key = key_->PublicAs<core::NodePublic>()};
}

void RelayNode::Impl::SetRateLimit(const relay::RateLimit& limit) {
  relay_->SetRateLimit(limit);
  derp_metrics_->SetRateLimit(limit);
}

void RelayNode::Impl::Reload() {
  RunOn(local_->loop(), [this] {
    if (certificate_->Refresh(core::WallNow())) fronts_.SetTlsContext(certificate_->context());
    if (!certificate_->warning().empty()) LogWarn("tls", certificate_->warning());
  });
  if (config_.relay.rate_config.empty()) return;
  const auto limit = LoadRateConfig(config_.relay.rate_config);
  if (!limit) {
    core::LogError("relay", "receive rates not reloaded: " + limit.error().message);
    return;
  }
  SetRateLimit(*limit);
  LogInfo("relay", "receive rates reloaded", {{"bytes_per_second", limit->bytes_per_second}});
}

void RelayNode::Impl::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (started_) LogInfo("relay", "stopping");
  fronts_.Drain(kFrontDrain);
  if (local_) {
    RunOn(local_->loop(), [this] {
      if (on_local_.socket != nullptr) on_local_.hand_over->EndCommands(*on_local_.socket);
    });
  }
  // Links are kept, and made anew, as long as there are clients.
  if (relay_) relay_->Drain(config_.relay.drain);
  if (mesh_) mesh_->Stop();
  if (relay_) relay_->Stop(kRelayStop);
  fronts_.Stop();
  check_.reset();  // nobody asks any more
  if (local_) {
    RunOn(local_->loop(), [this] {
      on_local_.hand_over.reset();
      on_local_.socket.reset();
    });
    local_->Stop();
  }
  fronts_.Join();
  if (local_) local_->Join();
  events_.End();
  if (started_) LogInfo("relay", "stopped");
  core::FlushLog();
}

RelayNode::RelayNode(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RelayNode::~RelayNode() = default;

core::Result<std::unique_ptr<RelayNode>> RelayNode::Start(Config config, std::string version,
                                                          serverd::Inheritance inheritance) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(version));
  if (auto started = impl->Start(std::move(inheritance)); !started) return core::Forward(started);
  return std::unique_ptr<RelayNode>(new RelayNode(std::move(impl)));
}

void RelayNode::RunUntilSignal() {
  impl_->RunUntilSignal();
}

std::string RelayNode::MapNode() const {
  return impl_->MapNode();
}

}  // namespace ringscale::relayd

// What lies behind Server. Private to server.cc (starting) and server_run.cc.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/crypto/keys.h"
#include "core/engine/loop_thread.h"
#include "core/net/trusted_proxies.h"
#include "core/obs/metrics.h"
#include "relay/app/admission_set.h"
#include "relay/app/relay_service.h"
#include "relay/login/server_login.h"
#include "storage/commit/lmdb_store.h"
#include "storage/data_dir.h"
#include "tools/serverd/control_plane.h"
#include "tools/serverd/front_pool.h"
#include "tools/serverd/health_board.h"
#include "tools/serverd/process_events.h"
#include "tools/serverd/relay_probe.h"
#include "tools/serverd/server.h"
#include "tools/serverd/settings.h"
#include "tools/serverd/sockets.h"
#include "tools/serverd/web_handlers.h"

namespace ringscale::serverd {

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

}  // namespace ringscale::serverd

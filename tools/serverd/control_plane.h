// Everything of the server that lives on the control thread: state, registration,
// map fan-out, client connections, the operators' socket, the certificate.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/api/admin_api.h"
#include "control/app/control_server.h"
#include "control/auth/registration.h"
#include "control/auth/ssh_checks.h"
#include "control/derp/derp_sources.h"
#include "control/map/map_service_impl.h"
#include "control/map/policy_relay.h"
#include "control/map/registry_source.h"
#include "control/map/route_prober.h"
#include "control/policy/policy_keeper.h"
#include "control/state/registry.h"
#include "core/engine/loop.h"
#include "core/net/unix_listener.h"
#include "core/obs/metrics.h"
#include "relay/app/admission_set.h"
#include "storage/store.h"
#include "tools/serverd/admin_socket.h"
#include "tools/serverd/certificate_keeper.h"
#include "tools/serverd/config.h"
#include "tools/serverd/front/front.h"
#include "tools/serverd/health_board.h"
#include "tools/serverd/machine_service.h"
#include "tools/serverd/pages/page.h"
#include "tools/serverd/relay_membership.h"
#include "tools/serverd/take_over.h"

namespace ringscale::serverd {

class ControlPlane {
 public:
  // What it works with; all of it outlives the control plane.
  struct Parts {
    storage::Store* store = nullptr;
    relay::AdmissionSet* admitted = nullptr;
    HealthBoard* health = nullptr;
    core::MetricsRegistry* metrics = nullptr;
    std::string version;
    // Any thread may be told these.
    std::function<void(const core::NodePublic&)> close_relay_key;
    std::function<void(std::shared_ptr<const core::tls::ServerContext>)> use_certificate;
    // The certificate of another configuration, for these names.
    std::function<core::Result<CertificateKeeper>(const Config&, std::set<std::string>)>
        make_certificate;
    // Names and content of the files that a backup holds beside the database.
    std::function<std::vector<std::pair<std::string, std::string>>()> backup_files;
    // What a successor takes over, and how it makes this server stop.
    std::function<std::vector<HandOver::Socket>()> sockets;
    std::function<void()> stop;
  };

  // On the control thread, as everything here.
  static core::Result<std::unique_ptr<ControlPlane>> Create(core::engine::Loop& loop, Config config,
                                                            CertificateKeeper certificate,
                                                            Parts parts);
  ~ControlPlane();

  // Commands are accepted from now on.
  void ServeCommands(core::net::UnixListener listener);
  [[nodiscard]] int command_socket() const { return socket_.listening_fd(); }
  void Accept(control::NoiseClient client) { clients_.Accept(std::move(client)); }
  // "/register/<id>" and "/auth/<id>".
  void ShowLogin(const FrontRequest& request, HttpResponder responder);
  void SetRelayPresence(const core::NodePublic& key, bool present);
  // Takes another configuration over, of which only keys that apply at a reload differ.
  // An error refuses all of it.
  core::Result<> Reload(Config config);
  // Ends all streams and commands; `done` runs when everything is with the store.
  void Shutdown(std::function<void()> done);

  [[nodiscard]] pages::Site SiteFor(std::string_view host, bool https) const;

 private:
  ControlPlane(core::engine::Loop& loop, Config config, CertificateKeeper certificate, Parts parts);
  core::Result<> Load();
  core::Result<> StartPolicy();
  control::RegistryOptions RegistryOptions();
  void AddCommands();
  void AddMetrics();
  [[nodiscard]] int MinutesLeft(core::Instant end) const;
  void ShowSshCheck(const FrontRequest& request, HttpResponder responder);
  void Backup(control::AdminRespond respond);
  void OnHostSeen(std::string_view host);
  // Clients hear of the pin before a handshake can show them the certificate.
  void UseCertificateSoon();
  void AwaitPinTold();
  void PublishDerp();
  // To all clients: the settings of the configuration and what the policy adds.
  void TellDns();
  void TellDerp();
  // Once in a while: the certificate's files, nodes without a relay.
  void Watch();
  void WatchCertificate();
  void WatchRelayUse();
  // What a client needs that does not know the pin of our certificate, or nothing; the
  // log hears it once of each.
  [[nodiscard]] std::string UnpinnedNote(const control::Node& node) const;
  void TellOfUnpinned();
  void ReportStoreHealth();

  core::engine::Loop& loop_;
  Config config_;
  Parts parts_;
  CertificateKeeper certificate_;
  control::Registry registry_;
  control::PolicyKeeper policy_;
  control::Registration registration_;
  control::SshChecks ssh_checks_;
  control::RegistrySource source_;
  control::MapServiceImpl maps_;
  control::PolicyRelay policy_relay_;
  control::RouteProber prober_;
  RelayMembership membership_;
  MachineService machines_;
  core::tls::AeadPool pool_;
  control::DerpSources derp_;
  control::ControlServer clients_;
  control::AdminApi api_;
  AdminSocket socket_;
  HandOver hand_over_;
  // Changes reach the policy before those who ask it.
  struct PolicyFirst final : control::ChangeListener {
    explicit PolicyFirst(ControlPlane& control_plane) : plane(control_plane) {}
    void OnChange(const control::Change& change) override;
    ControlPlane& plane;
  } policy_first_{*this};
  // Online nodes of our region without a relay connection: since when.
  std::unordered_map<control::NodeId, core::Instant> without_relay_;
  std::set<control::NodeId> unpinned_told_;
  bool derp_scores_told_ = false;
  core::engine::TimerId watch_timer_;
  core::engine::TimerId certificate_timer_;  // runs while a certificate waits
  core::Instant pin_deadline_;               // then it is used whoever has not heard of it
};

}  // namespace ringscale::serverd

#include "tools/serverd/control_plane.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "control/auth/client_version.h"
#include "core/obs/log.h"
#include "storage/backup/bundle.h"
#include "tools/serverd/pages/pages.h"
#include "tools/serverd/settings.h"
#include "tools/serverd/urls.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::LogWarn;

constexpr std::string_view kAuthPage = "/auth/";
constexpr core::Duration kWatchInterval = core::Seconds(10);
// How often it is looked whether all have heard of a pin, and how long a client that
// takes nothing keeps the certificate from the others.
constexpr core::Duration kPinInterval = core::Seconds(1);
constexpr core::Duration kPinPatience = core::Seconds(10);
// An online node without a relay connection for this long is worth a line.
constexpr core::Duration kRelayPatience = core::Seconds(30);

control::PendingLimits PendingLimitsOf(const Config& config) {
  return {.total = config.limits.pending_registrations,
          .per_source = config.limits.pending_registrations_per_source,
          .lifetime = config.limits.pending_registration_lifetime};
}

control::MapOptions MapOptionsOf(const Config& config) {
  control::MapOptions options;
  options.base_domain = config.dns.base_domain;
  options.domain = config.dns.base_domain;
  options.full_maps = config.limits.full_maps_in_transmission;
  return options;
}

control::ProbeOptions ProbeOptionsOf(const Config& config) {
  control::ProbeOptions options;
  options.interval = config.node.route_probe_interval;
  options.timeout = config.node.route_probe_timeout;
  options.misses = config.node.route_probe_misses;
  return options;
}

control::PolicyOptions PolicyOptionsOf(const Config& config) {
  return {.database = config.policy.database, .path = config.policy.path};
}

control::ControlLimits ControlLimitsOf(const Config& config) {
  control::ControlLimits limits;
  limits.connections = config.limits.control_connections;
  return limits;
}

control::DerpSourceOptions DerpSourcesOf(const Config& config) {
  control::DerpSourceOptions options;
  options.urls = config.derp.urls;
  options.paths = config.derp.paths;
  options.refresh = config.derp.update_interval;
  options.cache_dir = config.data_dir;
  return options;
}

core::Result<> WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return core::FailErrno("write the backup", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// A file without a name, in the data directory: /tmp may be too small or memory.
core::Result<core::Fd> TemporaryFile(const std::string& directory) {
  core::Fd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) return core::FailErrno("make a temporary file in " + directory, errno);
  return fd;
}

}  // namespace

ControlPlane::ControlPlane(core::engine::Loop& loop, Config config, CertificateKeeper certificate,
                           Parts parts)
    : loop_(loop),
      config_(std::move(config)),
      parts_(std::move(parts)),
      certificate_(std::move(certificate)),
      registry_(loop, *parts_.store, RegistryOptions()),
      policy_(loop, registry_, PolicyOptionsOf(config_)),
      registration_(loop, registry_, PendingLimitsOf(config_)),
      ssh_checks_(loop, registry_,
                  [this](control::NodeId source, control::NodeId destination,
                         std::string_view user) -> std::optional<control::policy::SshCheck> {
                    const auto* engine = policy_.index().engine();
                    if (engine == nullptr) return std::nullopt;
                    return engine->SshCheckFor(source, destination, user);
                  }),
      source_(registry_),
      maps_(loop, source_, policy_.index(), MapOptionsOf(config_)),
      policy_relay_(policy_.index(), source_, maps_),
      prober_(loop, registry_,
              {.ping = [this](control::NodeId id,
                              std::string_view path) { return maps_.Ping(id, path); },
               .storm_draining = [this] { return maps_.storm_draining(); }},
              ProbeOptionsOf(config_)),
      membership_(registry_, *parts_.admitted, parts_.close_relay_key),
      machines_(registry_, registration_, ssh_checks_, maps_,
                {.base_url = [this](std::string_view host,
                                    bool https) { return BaseUrl(config_, host, https); },
                 .host_seen = [this](std::string_view host) { OnHostSeen(host); },
                 .probe_answered =
                     [this](std::string_view probe, const core::MachinePublic& machine) {
                       return prober_.OnAnswer(probe, machine);
                     }}),
      derp_(loop, DerpSourcesOf(config_), [this](const control::DerpMap&) { TellDerp(); }),
      clients_(loop, pool_, machines_, ControlLimitsOf(config_)),
      api_(loop, registry_, registration_, *parts_.store,
           {.problems =
                [this] {
                  std::vector<std::string> texts;
                  for (const auto& problem : parts_.health->Problems()) {
                    texts.push_back(problem.subject + ": " + problem.text);
                  }
                  for (const auto& text : derp_.problems()) texts.push_back("derp: " + text);
                  return texts;
                },
            .failing =
                [this] {
                  return std::ranges::any_of(parts_.health->Problems(), [](const auto& problem) {
                    return problem.severity == HealthBoard::Severity::kFailure;
                  });
                },
            .node_notes =
                [this](const control::Node& node) {
                  std::vector<std::string> notes;
                  if (auto note = UnpinnedNote(node); !note.empty()) {
                    notes.push_back(std::move(note));
                  }
                  const auto since = without_relay_.find(node.row.id);
                  if (since != without_relay_.end() &&
                      loop_.Now() - since->second >= kRelayPatience) {
                    notes.emplace_back(
                        "online, but without a connection to the relay: can this machine reach "
                        "its port over TLS?");
                  }
                  if (node.unresponsive) {
                    notes.emplace_back(
                        "does not answer the server's probes: the subnets that other routers "
                        "offer too are carried by these");
                  }
                  return notes;
                },
            .region_name =
                [this](std::uint16_t region) {
                  return config_.derp.enabled && region == config_.derp.region_id
                             ? config_.derp.region_name
                             : std::string();
                },
            .policy = &policy_,
            .ssh_checks = &ssh_checks_}),
      socket_(loop,
              [this](control::AdminRequest request, control::AdminRespond respond) {
                api_.Handle(std::move(request), std::move(respond));
              }),
      hand_over_(loop, parts_.sockets, parts_.stop) {}

ControlPlane::~ControlPlane() {
  loop_.CancelTimer(watch_timer_);
  loop_.CancelTimer(certificate_timer_);
  socket_.CloseAll();
  clients_.CloseAll();
  registry_.RemoveListener(policy_first_);
  registry_.RemoveListener(membership_);
}

core::Result<std::unique_ptr<ControlPlane>> ControlPlane::Create(core::engine::Loop& loop,
                                                                 Config config,
                                                                 CertificateKeeper certificate,
                                                                 Parts parts) {
  std::unique_ptr<ControlPlane> plane(
      new ControlPlane(loop, std::move(config), std::move(certificate), std::move(parts)));
  if (auto loaded = plane->Load(); !loaded) return core::Forward(loaded);
  return plane;
}

core::Result<> ControlPlane::Load() {
  if (auto loaded = registry_.Load(); !loaded) return loaded;
  // The relay learns of a key before a client can hear of it, and use it.
  registry_.AddListener(membership_);
  registry_.AddListener(policy_first_);
  membership_.Load();
  TellDns();
  PublishDerp();
  derp_.Start();
  if (auto started = StartPolicy(); !started) return started;
  maps_.Load();
  registry_.SetStormCheck([this] { return maps_.storm_draining(); });
  parts_.use_certificate(certificate_.context());
  AddCommands();
  AddMetrics();
  LogInfo("control", "state loaded",
          {{"nodes", registry_.nodes().size()}, {"users", registry_.users().size()}});
  prober_.Start();
  Watch();
  return {};
}

control::RegistryOptions ControlPlane::RegistryOptions() {
  control::RegistryOptions options = RegistryOptionsOf(config_);
  options.may_own_tag = [this](control::UserId user, std::string_view tag) {
    return policy_.MayOwnTag(user, tag);
  };
  options.address_pools = [this](control::UserId user, std::span<const std::string> tags) {
    return policy_.AddressPools(user, tags);
  };
  options.tag_exists = [this](std::string_view tag) { return policy_.TagExists(tag); };
  return options;
}

core::Result<> ControlPlane::StartPolicy() {
  return config_.Blame({"policy.path", "policy.mode"},
                       policy_.Start({.changed =
                                          [this] {
                                            policy_relay_.PolicyChanged();
                                            TellDns();
                                            TellDerp();
                                          },
                                      .problem =
                                          [this](std::string problem) {
                                            parts_.health->Set("policy",
                                                               HealthBoard::Severity::kWarning,
                                                               std::move(problem));
                                          }}));
}

void ControlPlane::PolicyFirst::OnChange(const control::Change& change) {
  plane.policy_.OnChange(change);
  plane.policy_relay_.OnChange(change);
}

void ControlPlane::ServeCommands(core::net::UnixListener listener) {
  socket_.Start(std::move(listener));
}

void ControlPlane::AddCommands() {
  socket_.AddRoute("GET", "/local/backup",
                   [this](const control::AdminRequest&, control::AdminRespond respond) {
                     Backup(std::move(respond));
                   });
  socket_.AddTakeOver(
      "POST", kTakeOverPath,
      [this](core::Fd connection, const core::net::PeerCredentials&, const control::AdminRequest&) {
        hand_over_.Begin(std::move(connection));
      });
}

void ControlPlane::AddMetrics() {
  clients_.AddMetrics(*parts_.metrics);
  control::AddMapMetrics(*parts_.metrics, maps_.stats());
}

pages::Site ControlPlane::SiteFor(std::string_view host, bool https) const {
  return {.server_url = BaseUrl(config_, host, https), .version = parts_.version};
}

int ControlPlane::MinutesLeft(core::Instant end) const {
  return static_cast<int>(std::max<std::int64_t>(1, (end - loop_.Now()).millis() / 60'000));
}

void ControlPlane::ShowSshCheck(const FrontRequest& request, HttpResponder responder) {
  const std::string id = request.http.path.substr(kAuthPage.size());
  std::optional<pages::SshCheck> shown;
  const control::SshChecks::Pending* pending = ssh_checks_.Find(id);
  const control::Node* source = pending ? registry_.FindNode(pending->source) : nullptr;
  const control::Node* destination = pending ? registry_.FindNode(pending->destination) : nullptr;
  if (source != nullptr && destination != nullptr) {
    const auto* owner = source->tagged() ? nullptr : registry_.FindUser(source->row.user_id);
    shown = pages::SshCheck{.source = source->row.given_name,
                            .owner = owner != nullptr ? owner->name : "",
                            .destination = destination->row.given_name,
                            .local_user = pending->local_user,
                            .minutes_left = MinutesLeft(pending->created + ssh_checks_.lifetime())};
  }
  responder.Send(pages::Auth(SiteFor(request.host, request.https), id, shown));
}

void ControlPlane::ShowLogin(const FrontRequest& request, HttpResponder responder) {
  if (request.http.path.starts_with(kAuthPage)) {
    ShowSshCheck(request, std::move(responder));
    return;
  }
  const std::string id = request.http.path.substr(std::string_view("/register/").size());
  std::optional<pages::LoginRequest> shown;
  const control::PendingLogin* pending = registration_.FindPending(id);
  if (pending != nullptr && !pending->rejected) {
    shown = pages::LoginRequest{
        .hostname = pending->hostname,
        .os = "",
        .minutes_left =
            MinutesLeft(pending->created + config_.limits.pending_registration_lifetime)};
  }
  responder.Send(pages::Register(SiteFor(request.host, request.https), id, shown));
}

void ControlPlane::SetRelayPresence(const core::NodePublic& key, bool present) {
  registry_.SetRelayConnected(key, present);
}

void ControlPlane::OnHostSeen(std::string_view host) {
  if (!config_.server_url.empty() || !config_.derp.host.empty()) return;
  if (!certificate_.Cover(HostOf(host), loop_.Wall())) return;
  LogInfo("tls", "the generated certificate carries another name", {{"name", HostOf(host)}});
  UseCertificateSoon();
}

void ControlPlane::UseCertificateSoon() {
  PublishDerp();
  pin_deadline_ = loop_.Now() + kPinPatience;
  AwaitPinTold();
}

void ControlPlane::AwaitPinTold() {
  loop_.CancelTimer(certificate_timer_);
  certificate_timer_ = loop_.After(kPinInterval, [this] {
    if (!maps_.derp_told() && loop_.Now() < pin_deadline_) return AwaitPinTold();
    certificate_timer_ = {};
    parts_.use_certificate(certificate_.context());
  });
}

void ControlPlane::PublishDerp() {
  std::optional<control::EmbeddedRegion> embedded;
  if (config_.derp.enabled) embedded = EmbeddedRegionOf(config_, certificate_.pin());
  derp_.SetEmbedded(std::move(embedded));
}

void ControlPlane::TellDns() {
  control::DnsSettings dns = DnsSettingsOf(config_);
  policy_.ApplyTo(dns);
  maps_.SetDns(dns);
}

void ControlPlane::TellDerp() {
  control::DerpMap map = derp_.map();
  const bool applied = policy_.ApplyTo(map);
  // Clients keep scores until they are told others.
  derp_scores_told_ = derp_scores_told_ || map.region_scores;
  if (derp_scores_told_ && !map.region_scores) map.region_scores.emplace();
  const std::string_view problem =
      applied ? "" : "the policy's derpMap leaves no region: the server's own stay in use";
  if (parts_.health->Set("derpMap", HealthBoard::Severity::kWarning, std::string(problem)) &&
      !problem.empty()) {
    LogWarn("policy", problem);
  }
  maps_.SetDerp(std::move(map));
}

void ControlPlane::WatchCertificate() {
  if (certificate_.Refresh(loop_.Wall())) {
    LogInfo("tls", "certificate reloaded");
    // Where clients are being told that there is no pin any more, it waits for that.
    if (certificate_timer_ == core::engine::TimerId{}) {
      parts_.use_certificate(certificate_.context());
    }
  }
  if (parts_.health->Set("certificate", HealthBoard::Severity::kWarning, certificate_.warning()) &&
      !certificate_.warning().empty()) {
    LogWarn("tls", certificate_.warning());
  }
}

void ControlPlane::Watch() {
  WatchCertificate();
  ReportStoreHealth();
  policy_.Watch();
  if (config_.derp.enabled) WatchRelayUse();
  TellOfUnpinned();
  watch_timer_ = loop_.After(kWatchInterval, [this] { Watch(); });
}

void ControlPlane::ReportStoreHealth() {
  const auto health = parts_.store->Health();
  const std::string text = health ? "" : health.error().message;
  if (parts_.health->Set("store", HealthBoard::Severity::kFailure, text)) {
    if (health) {
      LogInfo("store", "works again");
    } else {
      core::LogError("store", text);
    }
  }
}

void ControlPlane::WatchRelayUse() {
  const core::Instant now = loop_.Now();
  for (const auto& [id, node] : registry_.nodes()) {
    const bool ours = node.home_derp == 0 || node.home_derp == config_.derp.region_id;
    if (!node.online || node.relay_connected || !ours) {
      without_relay_.erase(id);
      continue;
    }
    const auto [entry, fresh] = without_relay_.try_emplace(id, now);
    const core::Duration waited = now - entry->second;
    if (!fresh && waited >= kRelayPatience && waited < kRelayPatience + kWatchInterval) {
      LogWarn("relay", "node has no connection to the relay",
              {{"node", node.row.given_name}, {"id", id}, {"client", node.client_version}});
    }
  }
  std::erase_if(without_relay_,
                [&](const auto& entry) { return registry_.FindNode(entry.first) == nullptr; });
}

std::string ControlPlane::UnpinnedNote(const control::Node& node) const {
  const std::uint32_t capability = node.row.capability_version;
  const bool old =
      capability >= control::kMinCapabilityVersion && capability < control::kCapabilityDerpPin;
  if (!old || !config_.derp.enabled || certificate_.pin().empty()) return {};
  return control::UnpinnedClient(capability, config_.derp.insecure_for_old_clients);
}

void ControlPlane::TellOfUnpinned() {
  for (const auto& [id, node] : registry_.nodes()) {
    if (!node.online || unpinned_told_.contains(id)) continue;
    const std::string note = UnpinnedNote(node);
    if (note.empty()) continue;
    unpinned_told_.insert(id);
    LogWarn("relay", note, {{"node", node.row.given_name}, {"id", id}});
  }
  std::erase_if(unpinned_told_, [&](control::NodeId id) {
    const control::Node* const node = registry_.FindNode(id);
    return node == nullptr || UnpinnedNote(*node).empty();
  });
}

void ControlPlane::Backup(control::AdminRespond respond) {
  auto fail = [](control::AdminRespond& answer, const core::Error& error) {
    answer(control::Problem("making a backup", error));
  };
  auto file = TemporaryFile(config_.data_dir);
  if (!file) {
    fail(respond, file.error());
    return;
  }
  struct State {
    core::Fd file;
    storage::BackupWriter writer;
    control::AdminRespond respond;
  };
  const int fd = file->get();
  auto state = std::make_shared<State>(
      State{.file = std::move(*file),
            .writer = storage::BackupWriter(
                [fd](std::string_view chunk) { return WriteAll(fd, chunk); }, loop_.Wall()),
            .respond = std::move(respond)});
  auto begun = state->writer.Begin(parts_.version);
  for (const auto& [name, content] : parts_.backup_files()) {
    if (begun) begun = state->writer.AddFile(name, content);
  }
  if (!begun) {
    fail(state->respond, begun.error());
    return;
  }
  parts_.store->Backup(
      [state](std::string_view chunk) { return state->writer.AddDatabaseChunk(chunk); },
      [this, state, fail](core::Result<> done) {
        if (done) done = state->writer.Finish();
        const bool posted = loop_.Post([state, fail, outcome = std::move(done)]() mutable {
          if (!outcome) {
            fail(state->respond, outcome.error());
            return;
          }
          lseek(state->file.get(), 0, SEEK_SET);
          state->respond(FileResponse(std::move(state->file)));
        });
        if (!posted) LogWarn("backup", "the server is stopping: no backup was made");
      });
}

core::Result<> ControlPlane::Reload(Config config) {
  // What can fail first.
  const control::PolicyOptions policy_options = PolicyOptionsOf(config);
  std::optional<control::PolicyKeeper::Candidate> policy;
  if (config.policy != config_.policy) {
    auto read = config.Blame({"policy.path", "policy.mode"}, policy_.Read(policy_options));
    if (!read) return core::Forward(read);
    policy = std::move(*read);
  }
  std::optional<CertificateKeeper> certificate;
  if (config.tls != config_.tls || PinBelongsIntoMap(config) != PinBelongsIntoMap(config_) ||
      OwnNames(config) != OwnNames(config_)) {
    std::set<std::string> names = OwnNames(config);
    names.insert(certificate_.names().begin(), certificate_.names().end());
    auto made = parts_.make_certificate(config, std::move(names));
    if (!made) return core::Forward(made);
    certificate = std::move(*made);
  }

  config_ = std::move(config);
  if (certificate) {
    certificate_ = std::move(*certificate);
    UseCertificateSoon();
  } else {
    WatchCertificate();
  }
  registry_.SetLifetimes(config_.node.expiry, config_.node.ephemeral_inactivity_timeout);
  registration_.SetLimits(PendingLimitsOf(config_));
  clients_.SetConnectionLimit(config_.limits.control_connections);
  prober_.Reconfigure(config_.node.route_probe_interval, config_.node.route_probe_timeout,
                      config_.node.route_probe_misses);
  maps_.SetFullMaps(config_.limits.full_maps_in_transmission);
  TellDns();
  PublishDerp();
  derp_.Reconfigure(config_.derp.urls, config_.derp.paths, config_.derp.update_interval);
  if (policy) {
    policy_.Use(policy_options, std::move(*policy));
  } else {
    policy_.Reload();
  }
  return {};
}

void ControlPlane::Shutdown(std::function<void()> done) {
  hand_over_.EndCommands(socket_);
  prober_.Stop();
  clients_.CloseAll();
  registry_.Flush([done = std::move(done)](const core::Result<>& flushed) {
    if (!flushed) core::LogError("store", flushed.error().message);
    done();
  });
}

}  // namespace ringscale::serverd

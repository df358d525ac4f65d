// The machine API put together: registration, node state and map fan-out behind
// the requests of clients. Control thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control/app/machine_api.h"
#include "control/auth/registration.h"
#include "control/auth/ssh_checks.h"
#include "control/map/map_service.h"
#include "control/state/registry.h"

namespace ringscale::serverd {

class MachineService final : public control::MachineApi {
 public:
  struct Hooks {
    // Base URL for a client of this Host and scheme.
    std::function<std::string(std::string_view host, bool https)> base_url;
    // A node of ours polls by this Host.
    std::function<void(std::string_view host)> host_seen;
    // A machine answers a probe; false: nobody waits for it.
    std::function<bool(std::string_view probe, const core::MachinePublic& machine)> probe_answered;
  };

  // All must outlive the service and every answer it still owes.
  MachineService(control::Registry& registry, control::Registration& registration,
                 control::SshChecks& ssh_checks, control::MapService& maps, Hooks hooks)
      : registry_(registry),
        registration_(registration),
        ssh_checks_(ssh_checks),
        maps_(maps),
        hooks_(std::move(hooks)) {}

  [[nodiscard]] bool IsRegistered(const core::MachinePublic& machine) const override;
  void Register(control::MachineRequest request, control::Responder responder) override;
  void Map(control::MachineRequest request, control::Responder responder) override;
  void PingResponse(control::MachineRequest request, control::Responder responder) override;
  void Ssh(control::MachineRequest request, control::Responder responder) override;

 private:
  struct Poll;
  void AnswerUnknown(Poll& poll);
  void AnswerKnown(Poll& poll, control::NodeId id);

  control::Registry& registry_;
  control::Registration& registration_;
  control::SshChecks& ssh_checks_;
  control::MapService& maps_;
  Hooks hooks_;
};

}  // namespace ringscale::serverd

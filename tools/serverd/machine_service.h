// The machine API put together: registration, node state and map fan-out behind
// the requests of clients. Control thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control/app/machine_api.h"
#include "control/auth/registration.h"
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
  };

  // All must outlive the service and every answer it still owes.
  MachineService(control::Registry& registry, control::Registration& registration,
                 control::MapService& maps, Hooks hooks)
      : registry_(registry), registration_(registration), maps_(maps), hooks_(std::move(hooks)) {}

  [[nodiscard]] bool IsRegistered(const core::MachinePublic& machine) const override;
  void Register(control::MachineRequest request, control::Responder responder) override;
  void Map(control::MachineRequest request, control::Responder responder) override;

 private:
  struct Poll;
  void AnswerUnknown(Poll& poll);
  void AnswerKnown(Poll& poll, control::NodeId id);

  control::Registry& registry_;
  control::Registration& registration_;
  control::MapService& maps_;
  Hooks hooks_;
};

}  // namespace ringscale::serverd

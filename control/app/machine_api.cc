#include "control/app/machine_api.h"

#include <array>
#include <utility>

#include "control/auth/client_version.h"
#include "control/wire/register_response.h"

namespace ringscale::control {
namespace {

void NotServed(Responder responder) {
  responder.Text(501, "this server does not offer that");
}

constexpr std::string_view kRegisterPath = "/machine/register";

struct Route {
  std::string_view method;
  std::string_view path;
  bool prefix;
  void (MachineApi::*call)(MachineRequest, Responder);
};

constexpr std::array kRoutes{
    Route{"POST", kRegisterPath, false, &MachineApi::Register},
    Route{"POST", "/machine/map", false, &MachineApi::Map},
    Route{"HEAD", "/machine/ping-response", false, &MachineApi::PingResponse},
    Route{"POST", "/machine/ping-response", false, &MachineApi::PingResponse},
    Route{"POST", "/machine/update-health", false, &MachineApi::UpdateHealth},
    Route{"POST", "/machine/set-dns", false, &MachineApi::SetDns},
    Route{"POST", "/machine/id-token", false, &MachineApi::IdToken},
    Route{"POST", "/machine/feature/query", false, &MachineApi::QueryFeature},
    Route{"PATCH", "/machine/set-device-attr", false, &MachineApi::SetDeviceAttributes},
    Route{"POST", "/machine/audit-log", false, &MachineApi::AuditLog},
    Route{"GET", "/machine/whoami", false, &MachineApi::Whoami},
    Route{"POST", "/machine/webclient/", true, &MachineApi::WebClient},
    // Tailnet-lock calls are GET requests with a body.
    Route{"GET", "/machine/tka/", true, &MachineApi::TailnetLock},
    Route{"GET", "/machine/ssh/", true, &MachineApi::Ssh},
    Route{"POST", "/machine/ssh/", true, &MachineApi::Ssh},
};

}  // namespace

void MachineApi::PingResponse(MachineRequest /*request*/, Responder responder) {
  responder.Text(404, "unknown or expired ping");
}
void MachineApi::UpdateHealth(MachineRequest /*request*/, Responder responder) {
  responder.Empty(204);
}
void MachineApi::SetDns(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::IdToken(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::QueryFeature(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::SetDeviceAttributes(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::AuditLog(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::Whoami(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::WebClient(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::TailnetLock(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}
void MachineApi::Ssh(MachineRequest /*request*/, Responder responder) {
  NotServed(std::move(responder));
}

void DispatchMachineRequest(MachineApi& api, std::string_view method, MachineRequest request,
                            Responder responder) {
  const std::string_view path = request.path;
  bool known_path = false;
  for (const Route& route : kRoutes) {
    if (route.prefix ? !path.starts_with(route.path) : path != route.path) continue;
    known_path = true;
    if (method != route.method) continue;
    const std::uint16_t version = request.connection->protocol_version;
    if (version < kMinCapabilityVersion && path == kRegisterPath) {
      // Only an Error inside a 200 is shown to the person at the client.
      responder.Json(EncodeRegisterError(UnsupportedClient(version)));
    } else if (version < kMinCapabilityVersion) {
      responder.Text(400, UnsupportedClient(version));
    } else {
      (api.*route.call)(std::move(request), std::move(responder));
    }
    return;
  }
  if (known_path) {
    responder.Text(405, "this method is not allowed here");
  } else {
    responder.Text(404, "no such path");
  }
}

}  // namespace ringscale::control

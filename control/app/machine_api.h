// What the machine API means: the requests of clients inside Noise, one method
// per endpoint. The connection layer (control_server.h) has checked method,
// path, size and the client's version; bodies are not looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "control/app/responder.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"

namespace ringscale::control {

// Who asks. The machine key is proven by Noise; everything of the body is only
// claimed. A machine has several connections at a time: state belongs to (machine
// key, node key), never to a connection.
struct MachineConnection {
  std::uint64_t id = 0;  // of the connection, unique in this process
  core::MachinePublic machine_key;
  std::uint16_t protocol_version = 0;  // the client's capability version
  core::SocketAddress remote;          // after trusted proxies
  std::string host;                    // Host of its /ts2021 request
  bool https = false;                  // scheme of that request
};

struct MachineRequest {
  std::shared_ptr<const MachineConnection> connection;
  std::string authority;  // as this client writes it; PingRequest URLs repeat it
  std::string path;
  std::string query;
  std::string body;
};

// Control thread only. Methods answer through the Responder, at once or later;
// errors that a client's user should see are 200 with RegisterResponse.Error.
class MachineApi {
 public:
  virtual ~MachineApi() = default;

  // Decides which limits apply; asked at every request.
  [[nodiscard]] virtual bool IsRegistered(const core::MachinePublic& machine) const = 0;

  virtual void Register(MachineRequest request, Responder responder) = 0;
  virtual void Map(MachineRequest request, Responder responder) = 0;

  // The reply to a PingRequest: HEAD, or POST with PingResponse JSON or the raw
  // HTTP response of a c2n call. Query "id" names the ping. Default: 404.
  virtual void PingResponse(MachineRequest request, Responder responder);

  // Optional calls; the defaults answer what a server without them should: 204
  // for UpdateHealth, 501 for the rest.
  virtual void UpdateHealth(MachineRequest request, Responder responder);
  virtual void SetDns(MachineRequest request, Responder responder);
  virtual void IdToken(MachineRequest request, Responder responder);
  virtual void QueryFeature(MachineRequest request, Responder responder);
  virtual void SetDeviceAttributes(MachineRequest request, Responder responder);
  virtual void AuditLog(MachineRequest request, Responder responder);
  virtual void Whoami(MachineRequest request, Responder responder);
  virtual void WebClient(MachineRequest request, Responder responder);    // .../init, .../wait
  virtual void TailnetLock(MachineRequest request, Responder responder);  // /machine/tka/...
  virtual void Ssh(MachineRequest request, Responder responder);          // /machine/ssh/...
};

// Finds the method for (method, path) and calls it, or answers 404, 405, or what
// a client below kMinCapabilityVersion gets.
void DispatchMachineRequest(MachineApi& api, std::string_view method, MachineRequest request,
                            Responder responder);

}  // namespace ringscale::control

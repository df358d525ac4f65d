#include "control/api/admin_api.h"
#include "control/api/body_reader.h"
#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {

void AdminApi::FinishLogin(std::string_view id, std::string_view user, AdminRespond respond) {
  auto owner = registry_.ResolveUser(user);
  if (!owner) {
    owner.error().message += " (`ringscale users create NAME` makes one)";
    respond(Problem("looking up user", owner.error()));
    return;
  }
  registration_.Register(
      id, *owner, storage::RegisterMethod::kCli,
      [this, respond = std::move(respond)](core::Result<NodeId> registered) mutable {
        if (registered) {
          SendNode(*registered, "registering node", std::move(respond));
        } else {
          respond(Problem("registering node", registered.error()));
        }
      });
}

void AdminApi::RegisterNode(const AdminRequest& request, const Segments&, AdminRespond respond) {
  FinishLogin(core::http::QueryValue(request.query, "key"),
              core::http::QueryValue(request.query, "user"), std::move(respond));
}

void AdminApi::AuthRegister(const AdminRequest& request, const Segments&, AdminRespond respond) {
  BodyReader body(request.body);
  const std::string user = body.String("user");
  const std::string id = body.String("authId");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  FinishLogin(id, user, std::move(respond));
}

void AdminApi::Verdict(const AdminRequest& request, AdminRespond respond, bool approve) {
  BodyReader body(request.body);
  const std::string id = body.String("authId");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  SshChecks* const checks = options_.ssh_checks;
  core::Result<> done;
  if (checks != nullptr && checks->Find(id) != nullptr) {
    done = approve ? checks->Approve(id) : checks->Reject(id);
  } else {
    done = approve ? registration_.Approve(id) : registration_.Reject(id);
  }
  respond(
      done ? JsonAnswer("{}")
           : Problem(approve ? "approving auth request" : "rejecting auth request", done.error()));
}

void AdminApi::AuthApprove(const AdminRequest& request, const Segments&, AdminRespond respond) {
  Verdict(request, std::move(respond), true);
}

void AdminApi::AuthReject(const AdminRequest& request, const Segments&, AdminRespond respond) {
  Verdict(request, std::move(respond), false);
}

}  // namespace ringscale::control

#include "tools/serverd/machine_service.h"

#include <memory>
#include <utility>

#include "control/wire/map_request.h"
#include "control/wire/register_request.h"
#include "control/wire/register_response.h"
#include "control/wire/ssh_action_path.h"
#include "core/http/h1_request.h"
#include "core/obs/log.h"

namespace ringscale::serverd {
namespace {

using control::NodeId;
using control::Responder;

// A map stream that counts as its node's presence for as long as it lives.
class PresentStream final : public core::http::BodySource {
 public:
  PresentStream(control::Registry& registry, NodeId node) : registry_(registry), node_(node) {
    registry_.StreamOpened(node_);
  }
  ~PresentStream() override {
    stream_.reset();
    registry_.StreamClosed(node_);
  }
  PresentStream(const PresentStream&) = delete;
  PresentStream& operator=(const PresentStream&) = delete;

  void SetStream(std::unique_ptr<control::MapStream> stream, const std::string& authority) {
    stream_ = std::move(stream);
    stream_->SetAuthority(authority);
  }
  Status Pull(std::size_t limit, core::SliceList& out) override {
    return stream_->Pull(limit, out);
  }
  void OnAborted() override { stream_->OnAborted(); }

 private:
  control::Registry& registry_;
  const NodeId node_;
  std::unique_ptr<control::MapStream> stream_;
};

// One line a registration: who asked, and what became of it.
void LogAnswer(const control::MachineConnection& connection,
               const control::RegisterResponse& response) {
  std::string_view outcome = "registered";
  if (!response.error.empty()) {
    outcome = response.error;
  } else if (!response.auth_url.empty()) {
    outcome = "waits for approval";
  } else if (response.node_key_expired) {
    outcome = "key expired";
  }
  core::LogInfo("control", "machine asked to register",
                {{"outcome", outcome},
                 {"user", response.login_name},
                 {"machine", connection.machine_key.text()},
                 {"remote", connection.remote.text()}});
}

}  // namespace

// One map request on its way; shared by the steps that may happen later.
struct MachineService::Poll {
  std::shared_ptr<const control::MachineConnection> connection;
  control::MapRequest request;
  std::string authority;
  Responder responder;
};

bool MachineService::IsRegistered(const core::MachinePublic& machine) const {
  return !registry_.NodesOfMachine(machine).empty();
}

void MachineService::Register(control::MachineRequest request, Responder responder) {
  auto parsed = control::ParseRegisterRequest(request.body);
  if (!parsed) {
    responder.Text(400, "bad register request: " + parsed.error().message);
    return;
  }
  control::Registration::Client client;
  client.machine_key = request.connection->machine_key;
  client.source = request.connection->remote.ip;
  client.auth_url = [base = hooks_.base_url(request.connection->host, request.connection->https)](
                        std::string_view id) { return base + "/register/" + std::string(id); };
  auto ticket = std::make_shared<control::Registration::Ticket>(0);
  responder.OnGone([this, ticket] { registration_.Cancel(*ticket); });
  *ticket = registration_.Handle(*parsed, std::move(client),
                                 [answer = std::move(responder), connection = request.connection](
                                     const control::RegisterResponse& response) mutable {
                                   LogAnswer(*connection, response);
                                   answer.Json(control::EncodeRegisterResponse(response));
                                 });
}

void MachineService::Map(control::MachineRequest request, Responder responder) {
  auto parsed = control::ParseMapRequest(request.body);
  if (!parsed) {
    responder.Text(400, "bad map request: " + parsed.error().message);
    return;
  }
  auto poll = std::make_shared<Poll>(Poll{.connection = std::move(request.connection),
                                          .request = std::move(*parsed),
                                          .authority = std::move(request.authority),
                                          .responder = std::move(responder)});
  const control::Node* node = registry_.FindNodeByKey(poll->request.node_key);
  if (node == nullptr) {
    AnswerUnknown(*poll);
    return;
  }
  if (node->row.machine_key != poll->connection->machine_key) {
    poll->responder.Text(
        404, "node key in request does not match the one associated with this machine key");
    return;
  }
  const NodeId id = node->row.id;
  if (poll->request.stream) hooks_.host_seen(poll->connection->host);
  if (poll->request.read_only) {
    AnswerKnown(*poll, id);
    return;
  }
  control::NodeReport report;
  report.capability_version = poll->request.version;
  report.disco_key = poll->request.disco_key;
  report.hostinfo = poll->request.hostinfo;
  report.endpoints = poll->request.endpoints;
  report.streaming = poll->request.stream;
  registry_.ReportNode(id, std::move(report), [this, poll, id](core::Result<> done) {
    if (!done) {
      poll->responder.Text(500, done.error().message);
      return;
    }
    AnswerKnown(*poll, id);
  });
}

void MachineService::PingResponse(control::MachineRequest request, Responder responder) {
  if (hooks_.probe_answered(core::http::QueryValue(request.query, "id"),
                            request.connection->machine_key)) {
    responder.Empty(204);
  } else {
    control::MachineApi::PingResponse(std::move(request), std::move(responder));
  }
}

void MachineService::Ssh(control::MachineRequest request, Responder responder) {
  const auto ends = control::ParseSshActionPath(request.path);
  if (!ends) {
    responder.Text(404, "no such path");
    return;
  }
  const control::Node* destination = registry_.FindNode(ends->destination);
  if (destination == nullptr) {
    responder.Text(404, "dst node not found");
    return;
  }
  if (destination->row.machine_key != request.connection->machine_key) {
    responder.Text(401, "machine key does not match dst node");
    return;
  }
  control::SshChecks::Session session;
  session.source = ends->source;
  session.destination = ends->destination;
  session.local_user = core::http::QueryValue(request.query, "local_user");
  session.auth_id = core::http::QueryValue(request.query, "auth_id");
  // Who logs in reads the address, so it is that by which his machine knows us.
  auto host = maps_.HostOf(ends->source);
  if (!host) host.emplace(request.connection->host, request.connection->https);
  session.page_url = [base = hooks_.base_url(host->first, host->second)](std::string_view id) {
    return base + "/auth/" + std::string(id);
  };
  auto ticket = std::make_shared<control::SshChecks::Ticket>(0);
  responder.OnGone([this, ticket] { ssh_checks_.Cancel(*ticket); });
  *ticket = ssh_checks_.Handle(std::move(session),
                               [answer = std::move(responder)](std::string action) mutable {
                                 answer.Json(std::move(action));
                               });
}

void MachineService::AnswerUnknown(Poll& poll) {
  // Clients only log a 404 and ask again for ever; a map whose own key has expired
  // shows the person that the node is logged out.
  if (poll.request.omit_peers && !poll.request.stream) {
    poll.responder.Empty(200);
  } else if (!poll.request.stream) {
    core::http::H2Response response;
    response.body =
        maps_.OneShotExpired(poll.request, poll.connection->host, poll.connection->https);
    poll.responder.Send(std::move(response));
  } else {
    poll.responder.Stream(200, "", [&](core::http::BodyWaker& waker) {
      return std::unique_ptr<core::http::BodySource>(
          maps_.OpenExpired(poll.request, poll.connection->host, poll.connection->https, waker));
    });
  }
}

void MachineService::AnswerKnown(Poll& poll, NodeId id) {
  const control::Node* node = registry_.FindNode(id);
  if (node == nullptr) {
    AnswerUnknown(poll);
    return;
  }
  if (poll.request.omit_peers && !poll.request.stream && !poll.request.read_only) {
    poll.responder.Empty(200);
  } else if (!poll.request.stream) {
    core::http::H2Response response;
    response.body = maps_.OneShot(id, poll.request, poll.connection->host, poll.connection->https);
    poll.responder.Send(std::move(response));
  } else {
    poll.responder.Stream(200, "", [&](core::http::BodyWaker& waker) {
      // Online first, so that the node's first map says so.
      auto present = std::make_unique<PresentStream>(registry_, id);
      present->SetStream(
          maps_.Open(id, poll.request, poll.connection->host, poll.connection->https, waker),
          poll.authority);
      return std::unique_ptr<core::http::BodySource>(std::move(present));
    });
  }
}

}  // namespace ringscale::serverd

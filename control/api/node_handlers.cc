#include "control/api/admin_api.h"
#include "control/api/body_reader.h"
#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {
namespace {

AdminResponse NoNode(std::string_view doing) {
  return Problem(404, doing, {{"node not found", ""}});
}

}  // namespace

void AdminApi::SendNode(NodeId id, std::string_view doing, AdminRespond respond) const {
  const Node* node = registry_.FindNode(id);
  if (node == nullptr) {
    respond(NoNode(doing));
    return;
  }
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("node");
  WriteNode(json, registry_, *node);
  json.EndObject();
  respond(JsonAnswer(std::move(body)));
}

Completion<> AdminApi::AnswerWithNode(NodeId id, std::string doing, AdminRespond respond) {
  return [this, id, doing = std::move(doing),
          respond = std::move(respond)](core::Result<> done) mutable {
    if (done) {
      SendNode(id, doing, std::move(respond));
    } else {
      respond(Problem(doing, done.error()));
    }
  };
}

void AdminApi::ListNodes(const AdminRequest& request, const Segments&, AdminRespond respond) {
  const std::string user = core::http::QueryValue(request.query, "user");
  UserId only = 0;
  if (!user.empty()) {
    const auto found = registry_.ResolveUser(user);
    if (!found) {
      respond(Problem("looking up user", found.error()));
      return;
    }
    only = *found;
  }
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("nodes").BeginArray();
  for (const auto& [id, node] : registry_.nodes()) {
    if (only != 0 && (node.tagged() || node.row.user_id != only)) continue;
    WriteNode(json, registry_, node, TaggedOwner::kPseudo);
  }
  json.EndArray().EndObject();
  respond(JsonAnswer(std::move(body)));
}

void AdminApi::GetNode(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem("getting node", id.error()));
    return;
  }
  SendNode(*id, "getting node", std::move(respond));
}

void AdminApi::DeleteNode(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem("deleting node", id.error()));
    return;
  }
  registry_.DeleteNode(*id, AnswerEmpty("deleting node", std::move(respond)));
}

void AdminApi::ExpireNode(const AdminRequest& request, const Segments& segments,
                          AdminRespond respond) {
  static constexpr std::string_view kDoing = "expiring node";
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem(kDoing, id.error()));
    return;
  }
  BodyReader body(request.body);
  const auto expiry = body.Time("expiry");
  const bool disable = body.Bool("disableExpiry");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  if (disable && expiry) {
    respond(Problem(400, kDoing, {{"expiry and disableExpiry contradict each other", ""}}));
    return;
  }
  auto done = AnswerWithNode(*id, std::string(kDoing), std::move(respond));
  if (disable) {
    registry_.SetNodeExpiry(*id, std::nullopt, std::move(done));
  } else if (expiry) {
    registry_.SetNodeExpiry(*id, expiry, std::move(done));
  } else {
    registry_.ExpireNodeNow(*id, std::move(done));
  }
}

void AdminApi::RenameNode(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem("renaming node", id.error()));
    return;
  }
  registry_.RenameNode(*id, segments[1], AnswerWithNode(*id, "renaming node", std::move(respond)));
}

void AdminApi::SetTags(const AdminRequest& request, const Segments& segments,
                       AdminRespond respond) {
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem("setting tags", id.error()));
    return;
  }
  BodyReader body(request.body);
  std::vector<std::string> tags = body.Strings("tags");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  registry_.SetNodeTags(*id, std::move(tags),
                        AnswerWithNode(*id, "setting tags", std::move(respond)));
}

void AdminApi::ApproveRoutes(const AdminRequest& request, const Segments& segments,
                             AdminRespond respond) {
  static constexpr std::string_view kDoing = "approving routes";
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem(kDoing, id.error()));
    return;
  }
  BodyReader body(request.body);
  const std::vector<std::string> texts = body.Strings("routes");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  std::vector<core::IpPrefix> routes;
  for (const std::string& text : texts) {
    const auto route = core::IpPrefix::Parse(text);
    if (!route) {
      respond(Problem(
          400, kDoing,
          {{"parsing route: \"" + text.substr(0, 100) + "\" is not a prefix", "body.routes"}}));
      return;
    }
    routes.push_back(*route);
  }
  registry_.ApproveRoutes(*id, std::move(routes),
                          AnswerWithNode(*id, std::string(kDoing), std::move(respond)));
}

void AdminApi::BackfillIps(const AdminRequest& request, const Segments&, AdminRespond respond) {
  static constexpr std::string_view kDoing = "backfilling node IPs";
  if (core::http::QueryValue(request.query, "confirmed") != "true") {
    respond(Problem(400, kDoing, {{"not confirmed, aborting", "query.confirmed"}}));
    return;
  }
  registry_.BackfillAddresses(
      [respond = std::move(respond)](core::Result<std::vector<std::string>> changes) mutable {
        if (!changes) {
          respond(Problem(kDoing, changes.error()));
          return;
        }
        std::string body;
        core::json::Writer json(body);
        json.BeginObject().Key("changes").BeginArray();
        for (const std::string& change : *changes) json.Value(change);
        json.EndArray().EndObject();
        respond(JsonAnswer(std::move(body)));
      });
}

}  // namespace ringscale::control

#include "control/api/admin_api.h"
#include "control/api/body_reader.h"
#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {
namespace {

std::string UserBody(const storage::UserRow& user) {
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("user");
  WriteUser(json, user);
  json.EndObject();
  return body;
}

}  // namespace

void AdminApi::CreateUser(const AdminRequest& request, const Segments&, AdminRespond respond) {
  BodyReader body(request.body);
  NewUser user{.name = body.String("name"),
               .display_name = body.String("displayName"),
               .email = body.String("email"),
               .picture_url = body.String("pictureUrl")};
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  registry_.CreateUser(
      std::move(user), [this, respond = std::move(respond)](core::Result<UserId> created) mutable {
        const storage::UserRow* row = created ? registry_.FindUser(*created) : nullptr;
        if (!created) {
          respond(Problem("creating user", created.error()));
        } else if (row == nullptr) {
          respond(Problem(404, "creating user", {{"user not found", ""}}));
        } else {
          respond(JsonAnswer(UserBody(*row)));
        }
      });
}

void AdminApi::ListUsers(const AdminRequest& request, const Segments&, AdminRespond respond) {
  const std::string name = core::http::QueryValue(request.query, "name");
  const std::string email = core::http::QueryValue(request.query, "email");
  const std::string id_text = core::http::QueryValue(request.query, "id");
  std::uint64_t id = 0;
  if (!id_text.empty()) {
    const auto parsed = ParseId(id_text);
    if (!parsed) {
      respond(Problem("listing users", parsed.error()));
      return;
    }
    id = *parsed;
  }
  const auto wanted = [&](const storage::UserRow& user) {
    if (!name.empty()) return user.name == name;
    if (!email.empty()) return user.email == email;
    return id == 0 || user.id == id;
  };
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("users").BeginArray();
  for (const auto& [user_id, user] : registry_.users()) {
    if (wanted(user)) WriteUser(json, user);
  }
  json.EndArray().EndObject();
  respond(JsonAnswer(std::move(body)));
}

void AdminApi::RenameUser(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  static constexpr std::string_view kDoing = "renaming user";
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem(kDoing, id.error()));
    return;
  }
  registry_.RenameUser(
      *id, segments[1],
      [this, id = *id, respond = std::move(respond)](core::Result<> renamed) mutable {
        const storage::UserRow* row = registry_.FindUser(id);
        if (!renamed) {
          respond(Problem(kDoing, renamed.error()));
        } else if (row == nullptr) {
          respond(Problem(404, kDoing, {{"user not found", ""}}));
        } else {
          respond(JsonAnswer(UserBody(*row)));
        }
      });
}

void AdminApi::DeleteUser(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  const auto id = ParseId(segments[0]);
  if (!id) {
    respond(Problem("deleting user", id.error()));
    return;
  }
  registry_.DestroyUser(*id, AnswerEmpty("deleting user", std::move(respond)));
}

}  // namespace ringscale::control

#include "control/api/admin_api.h"
#include "control/api/body_reader.h"
#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {

void AdminApi::CreateKey(const AdminRequest& request, const Segments&, AdminRespond respond) {
  static constexpr std::string_view kDoing = "creating auth key";
  BodyReader body(request.body);
  const std::string user = body.String("user");
  NewPreAuthKey key{.reusable = body.Bool("reusable"),
                    .ephemeral = body.Bool("ephemeral"),
                    .expiry = body.Time("expiration"),
                    .tags = body.Strings("aclTags")};
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  if (!user.empty()) {
    const auto id = ParseId(user);
    if (!id) {
      respond(Problem(kDoing, id.error()));
      return;
    }
    key.user = *id;
  }
  // A key that lasts for ever is nothing to get by leaving a member out.
  if (!key.expiry) key.expiry = loop_.Wall() + options_.default_key_lifetime;
  registry_.CreatePreAuthKey(std::move(key), [this, respond = std::move(respond)](
                                                 core::Result<CreatedPreAuthKey> made) mutable {
    if (!made) {
      respond(Problem(kDoing, made.error()));
      return;
    }
    std::string text;
    core::json::Writer json(text);
    json.BeginObject().Key("preAuthKey");
    WritePreAuthKey(json, registry_, made->row, made->text);
    json.EndObject();
    respond(JsonAnswer(std::move(text)));
  });
}

void AdminApi::ListKeys(const AdminRequest&, const Segments&, AdminRespond respond) {
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Key("preAuthKeys").BeginArray();
  for (const auto& [id, key] : registry_.pre_auth_keys()) WritePreAuthKey(json, registry_, key);
  json.EndArray().EndObject();
  respond(JsonAnswer(std::move(body)));
}

void AdminApi::ExpireKey(const AdminRequest& request, const Segments&, AdminRespond respond) {
  BodyReader body(request.body);
  const std::string text = body.String("id");
  if (auto refusal = body.Refusal()) {
    respond(std::move(*refusal));
    return;
  }
  const auto id = ParseId(text);
  if (!id) {
    respond(Problem("expiring auth key", id.error()));
    return;
  }
  registry_.ExpirePreAuthKey(*id, AnswerEmpty("expiring auth key", std::move(respond)));
}

void AdminApi::DeleteKey(const AdminRequest& request, const Segments&, AdminRespond respond) {
  const auto id = ParseId(core::http::QueryValue(request.query, "id"));
  if (!id) {
    respond(Problem("deleting auth key", id.error()));
    return;
  }
  registry_.DeletePreAuthKey(*id, AnswerEmpty("deleting auth key", std::move(respond)));
}

}  // namespace ringscale::control

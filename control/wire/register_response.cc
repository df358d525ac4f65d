#include "control/wire/register_response.h"

#include <utility>

#include "core/json/writer.h"

namespace ringscale::control {

std::string EncodeRegisterResponse(const RegisterResponse& response) {
  std::string out;
  core::json::Writer json(out);
  json.BeginObject();
  if (response.user_id != 0) {
    json.Key("User").BeginObject();
    json.Field("ID", response.user_id).Field("DisplayName", response.display_name);
    if (!response.picture_url.empty()) json.Field("ProfilePicURL", response.picture_url);
    json.PlainField("Created", core::FormatRfc3339(response.user_created)).EndObject();
    json.Key("Login").BeginObject();
    json.Field("ID", response.user_id).Field("Provider", response.provider);
    json.Field("LoginName", response.login_name).Field("DisplayName", response.display_name);
    if (!response.picture_url.empty()) json.Field("ProfilePicURL", response.picture_url);
    json.EndObject();
  }
  json.Field("NodeKeyExpired", response.node_key_expired);
  json.Field("MachineAuthorized", response.machine_authorized);
  json.Field("AuthURL", response.auth_url);
  if (!response.error.empty()) json.Field("Error", response.error);
  json.EndObject();
  return out;
}

std::string EncodeRegisterError(std::string text) {
  return EncodeRegisterResponse({.error = std::move(text)});
}

}  // namespace ringscale::control

#include "control/wire/register_request.h"

#include "control/wire/field_reader.h"
#include "core/json/reader.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxAuthKey = 512;
constexpr std::size_t kMaxUrl = 2048;
constexpr std::size_t kMaxKeyText = 256;
constexpr std::size_t kMaxTailnet = 256;

}  // namespace

core::Result<RegisterRequest> ParseRegisterRequest(std::string_view body,
                                                   const RegisterLimits& limits) {
  thread_local core::json::Parser parser;
  auto root = parser.Parse(body, {.max_bytes = limits.body});
  if (!root) return core::Forward(root);
  if (!root->is_object()) {
    return core::Fail(core::ErrorCode::kInvalid, "register request must be a JSON object");
  }
  RegisterRequest request;
  FieldReader fields("register request");
  root->Members([&](std::string_view key, core::json::Value value) {
    if (key == "Version") {
      fields.Read(key, value, request.version);
    } else if (key == "NodeKey") {
      fields.Read(key, value, request.node_key);
    } else if (key == "OldNodeKey") {
      fields.Read(key, value, request.old_node_key);
    } else if (key == "NLKey") {
      fields.Read(key, value, request.nl_key, kMaxKeyText);
    } else if (key == "Auth") {
      if (value.is_object()) {
        fields.Read("Auth.AuthKey", value["AuthKey"], request.auth_key, kMaxAuthKey);
      } else if (!value.absent()) {
        fields.Refuse(key, "an object");
      }
    } else if (key == "Expiry") {
      fields.Read(key, value, request.expiry);
    } else if (key == "Followup") {
      fields.Read(key, value, request.followup, kMaxUrl);
    } else if (key == "Hostinfo") {
      fields.ReadObject(key, value, request.hostinfo, limits.hostinfo);
    } else if (key == "Ephemeral") {
      fields.Read(key, value, request.ephemeral);
    } else if (key == "Tailnet") {
      fields.Read(key, value, request.tailnet, kMaxTailnet);
    }
    return fields.ok();
  });
  if (!fields.ok()) return std::unexpected(fields.error());
  if (request.node_key.zero()) {
    return core::Fail(core::ErrorCode::kInvalid, "register request: NodeKey is missing");
  }
  return request;
}

}  // namespace ringscale::control

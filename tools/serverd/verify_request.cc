#include "tools/serverd/verify_request.h"

#include <string>

#include "core/json/reader.h"

namespace ringscale::serverd {

core::Result<VerifyRequest> ParseVerifyRequest(std::string_view body) {
  core::json::Parser parser;
  const auto root = parser.Parse(body, {.max_bytes = 4096, .max_depth = 4});
  if (!root || !root->is_object()) {
    return core::Fail(core::ErrorCode::kInvalid, "the body is not a JSON object");
  }
  VerifyRequest request;
  const auto node = (*root)["NodePublic"].AsString();
  const auto key = node ? core::NodePublic::Parse(*node) : std::nullopt;
  if (!key) return core::Fail(core::ErrorCode::kInvalid, "NodePublic is not a node key");
  request.node = *key;
  if (const auto source = (*root)["Source"].AsString(); source && !source->empty()) {
    const auto ip = core::IpAddress::Parse(*source);
    if (!ip) return core::Fail(core::ErrorCode::kInvalid, "Source is not an IP address");
    request.source = *ip;
  }
  return request;
}

}  // namespace ringscale::serverd

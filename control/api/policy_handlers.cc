// The policy: headscale's three calls, and what else our command line asks.
#include "control/api/admin_api.h"
#include "control/api/body_reader.h"
#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kGoZeroTime = "0001-01-01T00:00:00Z";

std::string PolicyBody(const PolicyKeeper& keeper, const Registry& registry) {
  const bool stored = keeper.writable() && !registry.policies().empty();
  std::string body;
  core::json::Writer json(body);
  json.BeginObject().Field("policy", keeper.text());
  json.Field("updatedAt", stored ? core::FormatRfc3339(registry.policies().rbegin()->second.created)
                                 : std::string(kGoZeroTime));
  json.EndObject();
  return body;
}

void WriteLines(core::json::Writer& json, std::string_view key,
                const std::vector<std::string>& lines) {
  json.Key(key).BeginArray();
  for (const auto& line : lines) json.Value(line);
  json.EndArray();
}

void WriteVersion(core::json::Writer& json, const storage::PolicyRow& row) {
  json.Field("version", std::to_string(row.id));
  json.Field("author", row.author);
  json.Field("createdAt", core::FormatRfc3339(row.created));
}

AdminResponse NoPolicies() {
  return Problem(404, "this server keeps no policies");
}

}  // namespace

void AdminApi::GetPolicy(const AdminRequest&, const Segments&, AdminRespond respond) {
  respond(options_.policy == nullptr ? NoPolicies()
                                     : JsonAnswer(PolicyBody(*options_.policy, registry_)));
}

void AdminApi::SetPolicy(const AdminRequest& request, const Segments&, AdminRespond respond) {
  if (options_.policy == nullptr) return respond(NoPolicies());
  BodyReader body(request.body);
  std::string text = body.String("policy");
  std::string author = body.String("author");
  if (auto refusal = body.Refusal()) return respond(std::move(*refusal));
  options_.policy->Set(
      std::move(text), std::move(author),
      [this, respond = std::move(respond)](const core::Result<std::uint64_t>& saved) mutable {
        respond(saved ? JsonAnswer(PolicyBody(*options_.policy, registry_))
                      : Problem("setting policy", saved.error()));
      });
}

void AdminApi::CheckPolicy(const AdminRequest& request, const Segments&, AdminRespond respond) {
  if (options_.policy == nullptr) return respond(NoPolicies());
  BodyReader body(request.body);
  std::string text = body.String("policy");
  if (auto refusal = body.Refusal()) return respond(std::move(*refusal));
  const auto candidate = options_.policy->Check(std::move(text));
  if (!candidate) {
    return respond(Problem("checking policy",
                           core::Error{core::ErrorCode::kInvalid, candidate.error().text()}));
  }
  std::string answer;
  core::json::Writer json(answer);
  json.BeginObject();
  WriteLines(json, "effects", options_.policy->Effects(*candidate));
  WriteLines(json, "remarks", PolicyKeeper::Remarks(*candidate));
  json.EndObject();
  respond(JsonAnswer(std::move(answer)));
}

void AdminApi::PolicyHistory(const AdminRequest&, const Segments&, AdminRespond respond) {
  std::string answer;
  core::json::Writer json(answer);
  json.BeginObject().Key("policies").BeginArray();
  for (const auto& [version, row] : registry_.policies()) {
    json.BeginObject();
    WriteVersion(json, row);
    json.EndObject();
  }
  json.EndArray().EndObject();
  respond(JsonAnswer(std::move(answer)));
}

void AdminApi::PolicyVersion(const AdminRequest&, const Segments& segments, AdminRespond respond) {
  const auto version = ParseId(segments[0]);
  if (!version) return respond(Problem("reading policy", version.error()));
  const auto row = registry_.policies().find(*version);
  if (row == registry_.policies().end()) {
    return respond(Problem(404, "reading policy", {{"there is no such version", ""}}));
  }
  std::string answer;
  core::json::Writer json(answer);
  json.BeginObject();
  WriteVersion(json, row->second);
  json.Field("policy", row->second.text);
  json.EndObject();
  respond(JsonAnswer(std::move(answer)));
}

void AdminApi::ExplainPolicy(const AdminRequest& request, const Segments&, AdminRespond respond) {
  if (options_.policy == nullptr) return respond(NoPolicies());
  const std::string port_text = core::http::QueryValue(request.query, "port");
  std::uint64_t port = 0;
  if (!port_text.empty()) {
    const auto parsed = ParseId(port_text);
    if (!parsed || *parsed > 65535) {
      return respond(Problem(400, "explaining policy", {{"a port is a number up to 65535", ""}}));
    }
    port = *parsed;
  }
  const auto lines = options_.policy->Explain(core::http::QueryValue(request.query, "src"),
                                              core::http::QueryValue(request.query, "dst"),
                                              static_cast<std::uint16_t>(port));
  if (!lines) return respond(Problem("explaining policy", lines.error()));
  std::string answer;
  core::json::Writer json(answer);
  json.BeginObject();
  WriteLines(json, "lines", *lines);
  json.EndObject();
  respond(JsonAnswer(std::move(answer)));
}

}  // namespace ringscale::control

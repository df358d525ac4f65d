#include "control/api/admin_api.h"

#include <charconv>

#include "control/api/objects.h"
#include "core/http/h1_request.h"

namespace ringscale::control {
namespace {

constexpr std::string_view kPrefix = "/api/v1/";
// A variable segment of a pattern.
constexpr std::string_view kVariable = "*";

std::vector<std::string_view> Split(std::string_view path) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t slash = path.find('/');
    out.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

struct AdminApi::Route {
  using Handler = void (AdminApi::*)(const AdminRequest&, const Segments&, AdminRespond);
  std::string_view method;
  std::vector<std::string_view> pattern;
  Handler handler;

  Route(std::string_view m, std::string_view path, Handler h)
      : method(m), pattern(Split(path)), handler(h) {}

  // The variable segments, if the path fits; they are never empty.
  [[nodiscard]] std::optional<Segments> Match(const std::vector<std::string_view>& path) const {
    if (path.size() != pattern.size()) return std::nullopt;
    Segments segments;
    for (std::size_t i = 0; i < path.size(); ++i) {
      if (pattern[i] != kVariable) {
        if (pattern[i] != path[i]) return std::nullopt;
        continue;
      }
      std::string decoded = core::http::PercentDecode(path[i], false);
      if (decoded.empty()) return std::nullopt;
      segments.push_back(std::move(decoded));
    }
    return segments;
  }
};

const std::vector<AdminApi::Route>& AdminApi::Routes() {
  // Fixed segments stand before variable ones of the same shape.
  static const std::vector<Route> routes = {
      {"GET", "health", &AdminApi::Health},
      {"POST", "user", &AdminApi::CreateUser},
      {"GET", "user", &AdminApi::ListUsers},
      {"POST", "user/*/rename/*", &AdminApi::RenameUser},
      {"DELETE", "user/*", &AdminApi::DeleteUser},
      {"POST", "preauthkey", &AdminApi::CreateKey},
      {"GET", "preauthkey", &AdminApi::ListKeys},
      {"POST", "preauthkey/expire", &AdminApi::ExpireKey},
      {"DELETE", "preauthkey", &AdminApi::DeleteKey},
      {"GET", "node", &AdminApi::ListNodes},
      {"POST", "node/register", &AdminApi::RegisterNode},
      {"POST", "node/backfillips", &AdminApi::BackfillIps},
      {"GET", "node/*", &AdminApi::GetNode},
      {"GET", "node/*/detail", &AdminApi::NodeDetail},
      {"DELETE", "node/*", &AdminApi::DeleteNode},
      {"POST", "node/*/expire", &AdminApi::ExpireNode},
      {"POST", "node/*/rename/*", &AdminApi::RenameNode},
      {"POST", "node/*/tags", &AdminApi::SetTags},
      {"POST", "node/*/approve_routes", &AdminApi::ApproveRoutes},
      {"GET", "policy", &AdminApi::GetPolicy},
      {"PUT", "policy", &AdminApi::SetPolicy},
      {"POST", "policy/check", &AdminApi::CheckPolicy},
      {"GET", "policy/history", &AdminApi::PolicyHistory},
      {"GET", "policy/history/*", &AdminApi::PolicyVersion},
      {"GET", "policy/explain", &AdminApi::ExplainPolicy},
      {"POST", "auth/register", &AdminApi::AuthRegister},
      {"POST", "auth/approve", &AdminApi::AuthApprove},
      {"POST", "auth/reject", &AdminApi::AuthReject},
  };
  return routes;
}

AdminApi::AdminApi(core::engine::Loop& loop, Registry& registry, Registration& registration,
                   storage::Store& store, AdminApiOptions options)
    : loop_(loop),
      registry_(registry),
      registration_(registration),
      store_(store),
      options_(std::move(options)) {}

bool AdminApi::Owns(std::string_view path) {
  return path.starts_with(kPrefix);
}

void AdminApi::Handle(AdminRequest request, AdminRespond respond) {
  if (!Owns(request.path)) {
    respond(Problem(404, "there is no such path"));
    return;
  }
  const auto path = Split(std::string_view(request.path).substr(kPrefix.size()));
  bool other_method = false;
  for (const Route& route : Routes()) {
    const auto segments = route.Match(path);
    if (!segments) continue;
    if (route.method != request.method) {
      other_method = true;
      continue;
    }
    (this->*route.handler)(request, *segments, std::move(respond));
    return;
  }
  if (other_method) {
    respond(Problem(405, "this path does not take that method"));
  } else {
    respond(Problem(404, "there is no such path"));
  }
}

void AdminApi::Health(const AdminRequest&, const Segments&, AdminRespond respond) {
  if (auto store = store_.Health(); !store) {
    respond(Problem(500, "database", {{store.error().message, ""}}));
    return;
  }
  const auto problems = options_.problems ? options_.problems() : std::vector<std::string>();
  const bool failing = options_.failing ? options_.failing() : !problems.empty();
  std::string body;
  core::json::Writer json(body);
  json.BeginObject()
      .Field("databaseConnectivity", true)
      .Field("status", failing ? "fail" : "pass")
      .Key("problems")
      .BeginArray();
  for (const std::string& problem : problems) json.Value(problem);
  json.EndArray().EndObject();
  respond(JsonAnswer(std::move(body)));
}

core::Result<std::uint64_t> ParseId(std::string_view text) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "\"" + std::string(text.substr(0, 100)) + "\" is not an id");
  }
  return id;
}

AdminResponse JsonAnswer(std::string body) {
  AdminResponse response;
  response.body = std::move(body);
  return response;
}

Completion<> AdminApi::AnswerEmpty(std::string doing, AdminRespond respond) {
  return [doing = std::move(doing), respond = std::move(respond)](core::Result<> done) mutable {
    respond(done ? JsonAnswer("{}") : Problem(doing, done.error()));
  };
}

}  // namespace ringscale::control

#include "tools/serverd/web_handlers.h"

#include <utility>

#include "core/base/time.h"
#include "core/json/writer.h"
#include "tools/serverd/pages/pages.h"
#include "tools/serverd/verify_request.h"

namespace ringscale::serverd {
namespace {

constexpr std::size_t kVerifyBody = 4096;

using core::http::HttpResponse;

bool IsRead(const FrontRequest& request) {
  return request.http.method == "GET" || request.http.method == "HEAD";
}

}  // namespace

std::size_t WebHandlers::BodyLimit(const core::http::HttpRequest& head) {
  return head.path == "/verify" ? kVerifyBody : 0;
}

void WebHandlers::Handle(FrontRequest request, HttpResponder responder) {
  const std::string& path = request.http.path;
  if (path == "/verify") {
    responder.Send(Verify(request));
    return;
  }
  const auto site = parts_.site(request.host, request.https);
  if (!IsRead(request)) {
    HttpResponse refused = pages::Error(site, 405);
    refused.headers.push_back({.name = "Allow", .value = "GET, HEAD"});
    responder.Send(std::move(refused));
  } else if (path == "/health") {
    responder.Send(Health());
  } else if (path == "/version") {
    responder.Send(core::http::JsonResponse(200, parts_.version_json));
  } else if (path == "/bootstrap-dns") {
    // A relay that was given no names to publish answers with an empty body.
    responder.Send({.status = 200, .content_type = "application/json", .body = "", .close = true});
  } else if (path.starts_with("/register/") || path.starts_with("/auth/")) {
    parts_.show_login(std::move(request), std::move(responder));
  } else if (auto page = pages::ForPath(site, path)) {
    responder.Send(std::move(*page));
  } else {
    responder.Send(pages::Error(site, 404));
  }
}

HttpResponse WebHandlers::Health() const {
  const auto store = parts_.store->Health();
  bool failed = !store;
  std::string body;
  core::json::Writer json(body);
  json.BeginObject();
  json.Key("problems").BeginArray();
  if (!store) json.Value("store: " + store.error().message);
  for (const auto& problem : parts_.health->Problems()) {
    if (problem.subject == "store") continue;
    failed = failed || problem.severity == HealthBoard::Severity::kFailure;
    json.Value(problem.subject + ": " + problem.text);
  }
  json.EndArray();
  json.Field("status", failed ? "fail" : "pass");
  json.EndObject();
  HttpResponse response = core::http::JsonResponse(failed ? 500 : 200, std::move(body));
  response.content_type = "application/health+json; charset=utf-8";
  return response;
}

HttpResponse WebHandlers::Verify(const FrontRequest& request) {
  if (request.http.method != "POST") {
    return core::http::TextResponse(405, "POST a DERP admission request here");
  }
  if (!request.local && !verify_rate_.Take(request.remote.ip, core::MonotonicNow())) {
    return core::http::TextResponse(429, "too many admission requests from this address");
  }
  const auto asked = ParseVerifyRequest(request.http.body);
  if (!asked) return core::http::TextResponse(400, asked.error().message);
  const bool allow = parts_.admission->Allows(asked->node, {.ip = asked->source, .port = 0});
  return core::http::JsonResponse(200, allow ? R"({"Allow":true})" : R"({"Allow":false})");
}

void WebHandlers::HandleMetrics(const FrontRequest& request, HttpResponder responder) const {
  if (request.http.path == "/metrics" && IsRead(request)) {
    responder.Send({.status = 200,
                    .content_type = "text/plain; version=0.0.4; charset=utf-8",
                    .body = parts_.metrics->Render()});
  } else if (request.http.path == "/health" && IsRead(request)) {
    responder.Send(Health());
  } else {
    responder.Send(core::http::TextResponse(404, "see /metrics"));
  }
}

}  // namespace ringscale::serverd

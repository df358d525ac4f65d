#include "tools/relayd/relay_web.h"

#include <utility>

#include "tools/serverd/pages/layout.h"
#include "tools/serverd/pages/pages.h"

namespace ringscale::relayd {
namespace {

using core::http::HttpResponse;
using serverd::FrontRequest;
using serverd::HttpResponder;

// A name that is valid for two years more every time it is visited.
constexpr const char* kStrictTransport = "max-age=63072000; includeSubDomains";

bool IsRead(const FrontRequest& request) {
  return request.http.method == "GET" || request.http.method == "HEAD";
}

HttpResponse Redirect(std::string to) {
  HttpResponse response = core::http::TextResponse(302, "see " + to);
  response.headers.push_back({.name = "Location", .value = std::move(to)});
  return response;
}

std::string Target(const FrontRequest& request) {
  return request.http.path + (request.http.query.empty() ? "" : "?" + request.http.query);
}

}  // namespace

bool MayDebug(const FrontRequest& request) {
  if (request.local) return true;
  static const core::IpPrefix kTailnets[] = {*core::IpPrefix::Parse("100.64.0.0/10"),
                                             *core::IpPrefix::Parse("fd7a:115c:a1e0::/48")};
  if (core::http::HasHeader(request.http.headers, "x-forwarded-for")) return false;
  return kTailnets[0].Contains(request.remote.ip) || kTailnets[1].Contains(request.remote.ip);
}

void RelayWeb::Handle(const FrontRequest& request, HttpResponder responder) const {
  const std::string& path = request.http.path;
  if (path == "/debug" || path.starts_with("/debug/")) {
    return HandleDebug(request, std::move(responder));
  }
  HttpResponse response;
  if (path == "/robots.txt") {
    response = serverd::pages::Robots();
  } else if (path == "/bootstrap-dns") {
    response = {
        .status = 200,
        .content_type = "application/json",
        .headers = {},
        .body = parts_.bootstrap_dns->Answer(core::http::QueryValue(request.http.query, "q")),
        .close = true};
  } else {
    response = Home(request);
  }
  if (request.https) {
    response.headers.push_back({.name = "Strict-Transport-Security", .value = kStrictTransport});
  }
  responder.Send(std::move(response));
}

// Any path: monitors of derper ask for all kinds.
HttpResponse RelayWeb::Home(const FrontRequest& request) const {
  const std::string& home = parts_.config->relay.home;
  if (home == "blank") return {.status = 200, .content_type = "text/html; charset=utf-8"};
  if (!home.empty()) return Redirect(home);
  const serverd::pages::Site site{.server_url = "", .version = parts_.version};
  std::string body =
      "<h1>This is a DERP relay</h1>\n<p>It carries encrypted packets between devices of a "
      "private network that cannot reach each other directly. It cannot read them.</p>\n";
  if (!parts_.config->derp.enabled) body += "<p>Status: <b>disabled</b></p>\n";
  if (MayDebug(request)) body += "<p><a href=\"/debug/\">Debug pages</a></p>\n";
  return serverd::pages::Html(site, 200, "DERP", body);
}

void RelayWeb::HandleHttp(const FrontRequest& request, HttpResponder responder) const {
  const std::string& path = request.http.path;
  if (path == "/debug" || path.starts_with("/debug/")) {
    return HandleDebug(request, std::move(responder));
  }
  if (!IsRead(request)) return responder.Send(core::http::TextResponse(400, "Use HTTPS"));
  if (request.host.empty()) {
    return responder.Send(core::http::TextResponse(400, "a Host header is needed"));
  }
  const std::string base = "https://" + request.host;
  responder.Send(
      Redirect(path == "/" && MayDebug(request) ? base + "/debug/" : base + Target(request)));
}

void RelayWeb::HandleMetrics(const FrontRequest& request, HttpResponder responder) const {
  if (request.http.path == "/metrics" && IsRead(request)) {
    responder.Send(Metrics());
  } else if (request.http.path == "/health" && IsRead(request)) {
    responder.Send(core::http::JsonResponse(200, R"({"status":"pass"})"));
  } else {
    responder.Send(core::http::TextResponse(404, "see /metrics"));
  }
}

HttpResponse RelayWeb::Metrics() const {
  return {.status = 200,
          .content_type = "text/plain; version=0.0.4; charset=utf-8",
          .headers = {},
          .body = parts_.metrics->Render()};
}

void RelayWeb::HandleDebug(const FrontRequest& request, HttpResponder responder) const {
  if (!MayDebug(request)) {
    return responder.Send(core::http::TextResponse(403, "debug access denied"));
  }
  if (request.http.path != "/debug/traffic") return responder.Send(Debug(request));
  const auto waiting = std::make_shared<HttpResponder>(std::move(responder));
  parts_.traffic([waiting](std::string json) {
    waiting->Send(core::http::JsonResponse(200, std::move(json)));
  });
}

HttpResponse RelayWeb::Debug(const FrontRequest& request) const {
  const std::string& path = request.http.path;
  if (path == "/debug/vars") return core::http::JsonResponse(200, parts_.derp->Vars());
  if (path == "/debug/varz") return Metrics();
  if (path == "/debug/check") {
    const auto& totals = parts_.derp->totals();
    const auto duplicates = totals.Sum(&relay::ShardMetrics::duplicate_keys);
    if (duplicates == 0) return core::http::TextResponse(200, "derp.Server ConsistencyCheck okay");
    return core::http::TextResponse(
        500, std::to_string(duplicates) + " keys have more than one connection");
  }
  if (path != "/debug" && path != "/debug/") {
    return core::http::TextResponse(404, "see /debug/ for what there is");
  }
  const auto seconds = parts_.derp->uptime().millis() / 1000;
  return core::http::TextResponse(
      200, "ringscale relay " + parts_.version + "\nUptime: " + std::to_string(seconds) +
               " s\nTLS hostname: " + parts_.config->derp.host +
               "\nMesh key: " + (parts_.mesh_key ? "true" : "false") +
               "\n\n/debug/vars     figures as JSON\n/debug/varz     figures for Prometheus\n"
               "/debug/traffic  the clients that send and receive\n"
               "/debug/check    200 when no key has two connections");
}

}  // namespace ringscale::relayd

#include "tools/serverd/front/builtin_routes.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace ringscale::serverd {
namespace {

namespace http = core::http;

// Captive-portal detection sends its own host name as the challenge.
constexpr std::size_t kMaxChallenge = 64;
// The first capability version that speaks Noise (Tailscale 1.24): older clients
// get an empty answer, as they expect from a server without the old transport.
constexpr int kFirstNoiseVersion = 39;

http::HttpResponse Probe(const http::HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    return http::TextResponse(405, "bogus probe method");
  }
  http::HttpResponse response;
  response.headers.push_back({"Access-Control-Allow-Origin", "*"});
  return response;
}

bool IsChallenge(std::string_view text) {
  return !text.empty() && text.size() <= kMaxChallenge && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':';
  });
}

http::HttpResponse Generate204(const http::HttpRequest& request) {
  http::HttpResponse response;
  response.status = 204;
  response.headers.push_back(
      {"Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0"});
  if (const std::string_view challenge = request.header("x-tailscale-challenge");
      IsChallenge(challenge)) {
    response.headers.push_back({"X-Tailscale-Response", "response " + std::string(challenge)});
  }
  return response;
}

http::HttpResponse Key(const http::HttpRequest& request, const core::MachinePublic& noise_key) {
  if (request.method != "GET" && request.method != "HEAD") {
    return http::TextResponse(405, "this method is not allowed here");
  }
  const std::string text = http::QueryValue(request.query, "v");
  if (text.empty()) return http::TextResponse(400, "capability version must be set");
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size()) {
    return http::TextResponse(400, "invalid capability version");
  }
  if (version < kFirstNoiseVersion) return {};
  return http::JsonResponse(200, "{\"legacyPublicKey\":\"" + core::MachinePublic{}.text() +
                                     "\",\"publicKey\":\"" + noise_key.text() + "\"}");
}

}  // namespace

std::optional<http::HttpResponse> AnswerBuiltin(
    const http::HttpRequest& request, const std::optional<core::MachinePublic>& noise_key) {
  if (request.path == "/derp/probe" || request.path == "/derp/latency-check") {
    return Probe(request);
  }
  if (request.path == "/generate_204") return Generate204(request);
  if (request.path == "/key" && noise_key) return Key(request, *noise_key);
  return std::nullopt;
}

}  // namespace ringscale::serverd

// HTTP/1.1 responses. Every response carries the security headers that its
// headers do not set themselves: X-Frame-Options, Content-Security-Policy,
// X-Content-Type-Options, Referrer-Policy.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/http/header.h"

namespace ringscale::core::http {

struct HttpResponse {
  int status = 200;
  std::string content_type;  // empty: no such header field
  std::vector<Header> headers;
  std::string body;
  bool close = false;  // close the connection afterwards
};

// "OK", "Not Found"; "Unknown" for statuses that have no name here.
std::string_view StatusText(int status);

// A sentence as text/plain, ending in a newline.
HttpResponse TextResponse(int status, std::string text);
HttpResponse JsonResponse(int status, std::string json);
HttpResponse ErrorResponse(const HttpError& error);  // closes the connection

struct ResponseContext {
  bool head_request = false;  // HEAD: the length is said, the body stays away
  bool keep_alive = true;
  bool http10 = false;
  WallTime now;  // for the Date field; zero: none
};
// The wire form. Header values with line ends are left out.
std::string Serialize(const HttpResponse& response, const ResponseContext& context);

// "HTTP/1.1 101 Switching Protocols" with these fields; no security headers, the
// connection is no longer HTTP afterwards.
std::string SwitchingProtocols(
    std::initializer_list<std::pair<std::string_view, std::string_view>> headers);

}  // namespace ringscale::core::http

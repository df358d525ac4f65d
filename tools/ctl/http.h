// HTTP/1.1 over the server's Unix socket, blocking, one connection per request.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::ctl {

struct HttpRequest {
  std::string method = "GET";
  std::string target;  // path and query, already encoded
  std::string body;    // JSON; sent when not empty
};

struct HttpResponse {
  int status = 0;
  std::string content_type;
  std::string body;
};

// Receives the body of a 2xx answer piece by piece.
using BodySink = std::function<core::Result<>(std::string_view piece)>;

struct HttpOptions {
  std::string socket_path;
  // Dialling is tried again this long while nobody listens yet.
  core::Duration dial_timeout = core::Seconds(5);
  // The longest silence while waiting for an answer.
  core::Duration silence_timeout = core::Seconds(60);
};

// Reads the whole body (64 MiB at most). Errors are about the connection; an
// answer of any status is a success here.
core::Result<HttpResponse> Exchange(const HttpOptions& options, const HttpRequest& request);
// With `sink`, a 2xx body of any length goes there and `body` stays empty.
// kCorrupt when the answer ended early.
core::Result<HttpResponse> Exchange(const HttpOptions& options, const HttpRequest& request,
                                    const BodySink& sink);
// The second half of that: the answer on a connected socket. `silence` is for the
// error text; the socket has its own limit.
core::Result<HttpResponse> ReadAnswer(int fd, core::Duration silence, const BodySink& sink);

// Percent-encodes everything but RFC 3986 unreserved characters.
[[nodiscard]] std::string UrlEncode(std::string_view text);

}  // namespace ringscale::ctl

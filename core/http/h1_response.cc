#include "core/http/h1_response.h"

#include <array>
#include <ctime>

namespace ringscale::core::http {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kSecurityHeaders{{
    {"X-Frame-Options", "DENY"},
    {"Content-Security-Policy", "frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
}};

void AppendField(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

// RFC 9110 section 5.6.7; strftime would follow the locale.
void AppendDate(std::string& out, WallTime now) {
  constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const std::time_t seconds = now.unix_ns / Seconds(1).ns;
  std::tm utc = {};
  if (gmtime_r(&seconds, &utc) == nullptr) return;
  const auto two = [](int n) {
    const std::string text = std::to_string(n);
    return n < 10 ? "0" + text : text;
  };
  std::string date(kDays.substr(static_cast<std::size_t>(utc.tm_wday) * 3, 3));
  date += ", " + two(utc.tm_mday) + " ";
  date += kMonths.substr(static_cast<std::size_t>(utc.tm_mon) * 3, 3);
  date += " " + std::to_string(utc.tm_year + 1900) + " " + two(utc.tm_hour) + ":" +
          two(utc.tm_min) + ":" + two(utc.tm_sec) + " GMT";
  AppendField(out, "Date", date);
}

bool HasLineEnd(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

std::string_view StatusText(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

HttpResponse TextResponse(int status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(text);
  response.body += '\n';
  return response;
}

HttpResponse JsonResponse(int status, std::string json) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(json);
  return response;
}

HttpResponse ErrorResponse(const HttpError& error) {
  HttpResponse response = TextResponse(error.status, error.text);
  response.close = true;
  return response;
}

std::string Serialize(const HttpResponse& response, const ResponseContext& context) {
  const bool bodiless = response.status == 204 || response.status == 304;
  std::string out;
  out.reserve(384 + (context.head_request ? 0 : response.body.size()));
  out += context.http10 ? "HTTP/1.0 " : "HTTP/1.1 ";
  out += std::to_string(response.status);
  out += ' ';
  out += StatusText(response.status);
  out += "\r\n";
  if (context.now.unix_ns != 0) AppendDate(out, context.now);
  if (!response.content_type.empty() && !HasLineEnd(response.content_type)) {
    AppendField(out, "Content-Type", response.content_type);
  }
  if (!bodiless) AppendField(out, "Content-Length", std::to_string(response.body.size()));
  for (const Header& header : response.headers) {
    if (!IsToken(header.name) || HasLineEnd(header.value)) continue;
    AppendField(out, header.name, header.value);
  }
  for (const auto& [name, value] : kSecurityHeaders) {
    bool given = false;
    for (const Header& header : response.headers) given |= EqualsIgnoreCase(header.name, name);
    if (!given) AppendField(out, name, value);
  }
  if (response.close || !context.keep_alive) {
    AppendField(out, "Connection", "close");
  } else if (context.http10) {
    AppendField(out, "Connection", "keep-alive");
  }
  out += "\r\n";
  if (!bodiless && !context.head_request) out += response.body;
  return out;
}

std::string SwitchingProtocols(
    std::initializer_list<std::pair<std::string_view, std::string_view>> headers) {
  std::string out = "HTTP/1.1 101 Switching Protocols\r\n";
  for (const auto& [name, value] : headers) AppendField(out, name, value);
  out += "\r\n";
  return out;
}

}  // namespace ringscale::core::http

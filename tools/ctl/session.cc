#include "tools/ctl/session.h"

#include <algorithm>
#include <istream>
#include <ostream>
#include <string>

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

ErrorCode CodeOf(int status) {
  switch (status) {
    case 400:
    case 422:
      return ErrorCode::kInvalid;
    case 403:
      return ErrorCode::kPermission;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kConflict;
    case 503:
      return ErrorCode::kUnavailable;
    default:
      return ErrorCode::kInternal;
  }
}

// "<detail>: <message>; <message>" of a problem document (RFC 9457).
core::Error Refusal(const HttpResponse& response) {
  std::string text;
  if (response.content_type.starts_with("application/problem+json")) {
    if (auto problem = Value::Parse(response.body)) {
      text = (*problem)["detail"].text();
      std::string_view separator = ": ";
      for (const Value& error : (*problem)["errors"].items()) {
        text += separator;
        text += error["message"].text();
        separator = "; ";
      }
    }
  }
  if (text.empty()) {
    text = std::to_string(response.status);
    const std::string_view body =
        std::string_view(response.body).substr(0, response.body.find('\n'));
    if (response.content_type.starts_with("text/plain") && !body.empty()) {
      text += " " + std::string(body.substr(0, 500));
    }
  }
  return {CodeOf(response.status), "unexpected response status: " + Printable(text)};
}

}  // namespace

Result<> Session::SetFormat() {
  const auto format = ParseFormat(globals_.output);
  if (!format) {
    return Fail(ErrorCode::kInvalid,
                "unknown output format \"" + globals_.output + "\": use json, json-line or yaml");
  }
  format_ = *format;
  return {};
}

Result<HttpOptions> Session::Server() {
  HttpOptions options;
  options.dial_timeout = terminal_.dial_timeout;
  if (!globals_.client.socket.empty()) {
    // Also where the configuration has a mistake.
    options.socket_path = globals_.client.socket;
    return options;
  }
  auto path = commands_.socket_path(globals_.client);
  if (!path) return core::Forward(path);
  options.socket_path = std::move(*path);
  return options;
}

Result<Value> Session::Call(const HttpRequest& request) {
  auto server = Server();
  if (!server) return core::Forward(server);
  auto response = Exchange(*server, request);
  if (!response) return core::Forward(response);
  if (response->status < 200 || response->status >= 300) {
    return std::unexpected(Refusal(*response));
  }
  if (response->body.empty()) return Value::Object();
  auto value = Value::Parse(response->body);
  if (!value)
    return Fail(ErrorCode::kInvalid, "the server's answer is not JSON: " + value.error().message);
  return value;
}

Result<Value> Session::Get(const std::string& target) {
  return Call({"GET", target, ""});
}

Result<Value> Session::Post(const std::string& target, const Value& body) {
  return Call({"POST", target, body.is_null() ? "" : CompactJson(body)});
}

Result<Value> Session::Put(const std::string& target, const Value& body) {
  return Call({"PUT", target, CompactJson(body)});
}

Result<Value> Session::Delete(const std::string& target) {
  return Call({"DELETE", target, ""});
}

Result<> Session::Download(const std::string& target, const BodySink& sink) {
  auto server = Server();
  if (!server) return core::Forward(server);
  // A backup may wait for the store's turn.
  server->silence_timeout = core::Seconds(300);
  auto response = Exchange(*server, {"GET", target, ""}, sink);
  if (!response) return core::Forward(response);
  if (response->status < 200 || response->status >= 300) {
    return std::unexpected(Refusal(*response));
  }
  return {};
}

void Session::Print(const Value& machine, std::string_view human_text) {
  if (human()) {
    *terminal_.out << human_text << '\n';
  } else {
    *terminal_.out << Render(machine, format_) << '\n';
  }
}

void Session::PrintTable(const Value& machine, const Table& table) {
  if (human()) {
    *terminal_.out << table.Render(terminal_.out_is_tty);
  } else {
    *terminal_.out << Render(machine, format_) << '\n';
  }
}

void Session::Note(std::string_view text) {
  *terminal_.err << text << '\n';
}

void Session::PrintError(const core::Error& error) {
  if (human()) {
    *terminal_.err << "Error: " << error.message << '\n';
  } else {
    const Value object = Value::Object({{"error", Value::String(error.message)}});
    *terminal_.err << Render(object, format_) << '\n';
  }
}

bool Session::Confirm(std::string_view question) {
  if (globals_.force) return true;
  *terminal_.err << question << " [y/n] " << std::flush;
  std::string line;
  std::getline(*terminal_.in, line);
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!line.empty() && space(line.back())) line.pop_back();
  line.erase(line.begin(), std::ranges::find_if_not(line, space));
  std::ranges::transform(line, line.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return line == "y" || line == "yes" || line == "sure";
}

std::string TableTime(const Value& time, std::string_view none) {
  const std::string& text = time.text();
  constexpr std::size_t kSize = 19;  // up to the seconds
  if (text.size() < kSize || core::IsGoZeroTime(text)) return std::string(none);
  std::string out = text.substr(0, kSize);
  out[10] = ' ';
  return out;
}

Cell ExpiryCell(const Value& time, core::WallTime now, std::string_view none) {
  std::string text = TableTime(time, none);
  const auto when = core::ParseRfc3339(time.text());
  if (!when) return {std::move(text)};
  return {std::move(text), *when > now ? Colour::kGreen : Colour::kRed};
}

std::vector<std::string> SplitList(const std::vector<std::string>& values) {
  std::vector<std::string> out;
  for (std::string_view value : values) {
    for (;;) {
      const std::size_t comma = value.find(',');
      std::string_view item = value.substr(0, comma);
      while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
      while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
      if (!item.empty()) out.emplace_back(item);
      if (comma == std::string_view::npos) break;
      value.remove_prefix(comma + 1);
    }
  }
  return out;
}

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Result<Value> FindUser(Session& session, const std::string& name_or_id) {
  const bool id = IsDigits(name_or_id);
  const auto missing = [&] {
    return Fail(ErrorCode::kNotFound, std::string("user not found: there is no user with the ") +
                                          (id ? "ID " : "name ") + name_or_id +
                                          (id ? " (`ringscale users list` shows them)"
                                              : " (`ringscale users create " + name_or_id +
                                                    "` makes one, `ringscale users list` shows "
                                                    "those there are)"));
  };
  // To the API an id of 0 means everybody.
  if (id && name_or_id.find_first_not_of('0') == std::string::npos) return missing();
  auto answer =
      session.Get(std::string("/api/v1/user?") + (id ? "id=" : "name=") + UrlEncode(name_or_id));
  if (!answer) return answer;
  const auto& users = (*answer)["users"].items();
  if (users.empty()) return missing();
  if (users.size() > 1) {
    return Fail(ErrorCode::kConflict, "multiple users match query, specify an ID");
  }
  return users.front();
}

}  // namespace ringscale::ctl

#include "control/api/problem.h"

#include "core/http/h1_response.h"
#include "core/json/writer.h"

namespace ringscale::control {

using core::ErrorCode;

int HttpStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return 400;
    case ErrorCode::kPermission:
      return 403;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kExists:
    case ErrorCode::kConflict:
      return 409;
    case ErrorCode::kLimit:
    case ErrorCode::kUnavailable:
      return 503;
    case ErrorCode::kUnsupported:
      return 501;
    case ErrorCode::kTimeout:
      return 504;
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
    case ErrorCode::kClosed:
    case ErrorCode::kInternal:
      break;
  }
  return 500;
}

AdminResponse Problem(int status, std::string_view detail,
                      const std::vector<ProblemError>& errors) {
  AdminResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  core::json::Writer json(response.body);
  json.BeginObject()
      .Field("title", core::http::StatusText(status))
      .Field("status", status)
      .Field("detail", detail);
  if (!errors.empty()) {
    json.Key("errors").BeginArray();
    for (const ProblemError& error : errors) {
      json.BeginObject().Field("message", error.message);
      if (!error.location.empty()) json.Field("location", error.location);
      json.EndObject();
    }
    json.EndArray();
  }
  json.EndObject();
  return response;
}

AdminResponse Problem(std::string_view doing, const core::Error& error) {
  return Problem(HttpStatusOf(error.code), doing, {{error.message, ""}});
}

}  // namespace ringscale::control

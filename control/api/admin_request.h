// A request of an operator and its answer, whoever carried it: the local socket
// now, HTTP with a bearer token later. Who may ask is the carrier's business.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/http/body_source.h"

namespace ringscale::control {

struct AdminRequest {
  std::string method;
  std::string path;   // "/api/v1/...", still percent-encoded
  std::string query;  // without '?', still encoded
  std::string body;
};

// A long body, produced while it is sent.
class AdminBody : public core::http::BodySource {
 public:
  // After kEnd: something went wrong and the body is not complete. The carrier
  // then breaks the connection, so that the receiver knows.
  [[nodiscard]] virtual bool failed() const { return false; }
};

struct AdminResponse {
  // Makes the body when the carrier is ready to send; `waker` outlives the body.
  using StreamFactory =
      std::move_only_function<std::unique_ptr<AdminBody>(core::http::BodyWaker& waker)>;

  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  StreamFactory stream;  // set: the body is streamed and `body` is ignored
};

// Called exactly once, on the control thread, at once or later.
using AdminRespond = std::move_only_function<void(AdminResponse)>;

}  // namespace ringscale::control

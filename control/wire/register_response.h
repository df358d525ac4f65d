// tailcfg.RegisterResponse. It is always sent with status 200: clients show the
// `error` text to their user and only log other statuses.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/time.h"

namespace ringscale::control {

struct RegisterResponse {
  // The owner (User and Login); id 0 leaves both out.
  std::uint64_t user_id = 0;
  std::string login_name;
  std::string display_name;
  std::string picture_url;
  std::string provider;
  core::WallTime user_created;

  bool node_key_expired = false;
  bool machine_authorized = false;
  std::string auth_url;
  std::string error;
};

[[nodiscard]] std::string EncodeRegisterResponse(const RegisterResponse& response);
[[nodiscard]] std::string EncodeRegisterError(std::string text);

}  // namespace ringscale::control

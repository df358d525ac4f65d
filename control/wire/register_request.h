// tailcfg.RegisterRequest: a machine asks to be a node, to stay one, or to stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"

namespace ringscale::control {

struct RegisterRequest {
  std::uint32_t version = 0;  // the client's capability version
  core::NodePublic node_key;
  core::NodePublic old_node_key;  // zero = none; stays set after a rotation
  std::string nl_key;             // tailnet-lock key as text ("nlpub:..."), or empty
  std::string auth_key;           // Auth.AuthKey, or empty. A secret: never logged
  // Requested end of the node key. In the past = log out (clients say Unix second
  // 123), which counts before everything else in the request.
  std::optional<core::WallTime> expiry;
  std::string followup;  // the AuthURL whose login is waited for, or empty
  std::string hostinfo;  // compact JSON object, or empty
  bool ephemeral = false;
  std::string tailnet;  // requested by system policy; "required:" prefix = no other

  [[nodiscard]] bool IsLogout(core::WallTime now) const { return expiry && *expiry <= now; }
};

struct RegisterLimits {
  std::size_t body = 64 * 1024;
  std::size_t hostinfo = 16 * 1024;
};

// kInvalid or kLimit with a message for the client's log.
[[nodiscard]] core::Result<RegisterRequest> ParseRegisterRequest(std::string_view body,
                                                                 const RegisterLimits& limits = {});

}  // namespace ringscale::control

// Errors as problem documents (RFC 9457), in the shape of headscale's API:
// {"title":"Not Found","status":404,"detail":"renaming user",
//  "errors":[{"message":"user not found"}]}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/api/admin_request.h"
#include "core/base/result.h"

namespace ringscale::control {

struct ProblemError {
  std::string message;
  std::string location;  // "body.expiration"; empty = left out
};

[[nodiscard]] int HttpStatusOf(core::ErrorCode code);

[[nodiscard]] AdminResponse Problem(int status, std::string_view detail,
                                    const std::vector<ProblemError>& errors = {});
// `doing` is what was tried: "renaming user".
[[nodiscard]] AdminResponse Problem(std::string_view doing, const core::Error& error);

}  // namespace ringscale::control

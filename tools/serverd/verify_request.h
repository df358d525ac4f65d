// What another relay asks of /verify (tailcfg.DERPAdmitClientRequest).
#pragma once

#include <string_view>

#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"

namespace ringscale::serverd {

struct VerifyRequest {
  core::NodePublic node;
  core::IpAddress source;  // may be unset
};

core::Result<VerifyRequest> ParseVerifyRequest(std::string_view body);

}  // namespace ringscale::serverd

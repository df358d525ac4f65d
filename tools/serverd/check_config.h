// Whether a configuration would do, tried without serving.
#pragma once

#include "core/base/result.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

// `ringscale configtest`: all of Server::Start that can fail.
core::Result<> CheckConfig(const Config& config);

// The certificate files, if there are any. Writes nothing, so that it may be done
// beside a running server.
core::Result<> CheckGivenCertificate(const Config& config);

}  // namespace ringscale::serverd

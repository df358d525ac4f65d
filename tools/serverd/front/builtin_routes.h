// Answers of the front door that need nothing but the request: relay probes, the
// captive-portal check, the server's public key.
#pragma once

#include <optional>

#include "core/crypto/keys.h"
#include "core/http/h1_request.h"
#include "core/http/h1_response.h"

namespace ringscale::serverd {

// /derp/probe, /derp/latency-check, /generate_204, /key. nullopt: not one of
// these paths.
std::optional<core::http::HttpResponse> AnswerBuiltin(
    const core::http::HttpRequest& request, const std::optional<core::MachinePublic>& noise_key);

}  // namespace ringscale::serverd

// tailcfg.MapRequest from anybody who can open a Noise connection.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/wire/map_request.h"
#include "tests/fuzz/accepted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const ringscale::control::MapRequestLimits limits;
  const auto request = ringscale::control::ParseMapRequest(body, limits);
  if (!request) {
    if (request.error().message.empty()) std::abort();
    return 0;
  }
  if (request->endpoints.size() > limits.endpoints || request->node_key.zero()) std::abort();
  for (const auto& endpoint : request->endpoints) {
    if (!endpoint.address.ip.valid()) std::abort();
  }
  ringscale::fuzz::Accepted();
  return 0;
}

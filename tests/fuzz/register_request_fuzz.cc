// tailcfg.RegisterRequest from anybody who can open a Noise connection.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/wire/register_request.h"
#include "tests/fuzz/accepted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const ringscale::control::RegisterLimits limits;
  const auto request = ringscale::control::ParseRegisterRequest(body, limits);
  if (!request) {
    if (request.error().message.empty()) std::abort();
    return 0;
  }
  if (request->node_key.zero() || request->hostinfo.size() > limits.hostinfo) std::abort();
  if (!request->hostinfo.empty() && request->hostinfo.front() != '{') std::abort();
  ringscale::fuzz::Accepted();
  return 0;
}

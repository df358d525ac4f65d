// A client's Hostinfo: whatever comes in, what is stored reads back as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/auth/registration.h"
#include "control/state/hostinfo.h"
#include "control/state/names.h"
#include "control/state/secrets.h"
#include "tests/fuzz/accepted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ringscale::control;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)ParseFollowup(text);
  (void)ParseSecret(kPreAuthKeyIntro, text);
  if (!CheckGivenName(SanitizeHostname(text), {})) std::abort();
  auto info = ParseHostinfo(text);
  if (!info) return 0;
  const std::string merged = info->Merged();
  auto stored = ParseStoredHostinfo(merged);
  if (!stored || stored->Merged() != merged || stored->peer != info->peer ||
      stored->hostname != info->hostname || stored->routable_ips != info->routable_ips) {
    std::abort();
  }
  auto peer = ParseStoredHostinfo(info->peer);
  if (!peer || peer->peer != info->peer) std::abort();
  ringscale::fuzz::Accepted();
  return 0;
}

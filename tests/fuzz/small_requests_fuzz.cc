// The small things that clients and other relays send: an admission request, the
// path of an SSH check, the URL of a pending login. The first byte says which.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/auth/registration.h"
#include "control/wire/ssh_action_path.h"
#include "core/base/bytes.h"
#include "tests/fuzz/accepted.h"
#include "tools/serverd/verify_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ringscale;
  if (size == 0) return 0;
  const std::string_view text = core::AsText({data + 1, size - 1});
  switch (data[0] % 3) {
    case 0:
      if (const auto request = serverd::ParseVerifyRequest(text)) {
        ringscale::fuzz::Accepted();
      } else if (request.error().message.empty()) {
        std::abort();
      }
      break;
    case 1:
      if (control::ParseSshActionPath(text)) ringscale::fuzz::Accepted();
      break;
    default:
      if (const auto id = control::ParseFollowup(text)) {
        if (text.find(*id) == std::string_view::npos) std::abort();
        ringscale::fuzz::Accepted();
      } else if (id.error().message.empty()) {
        std::abort();
      }
  }
  return 0;
}

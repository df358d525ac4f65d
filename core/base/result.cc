#include "core/base/result.h"

#include <cstring>

namespace ringscale::core {

std::unexpected<Error> FailErrno(std::string what, int errno_value) {
  char text[128] = {};
  what += ": ";
  what += strerror_r(errno_value, text, sizeof text);
  return Fail(ErrorCode::kIo, std::move(what));
}

}  // namespace ringscale::core

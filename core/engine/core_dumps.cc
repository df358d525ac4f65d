#include "core/engine/core_dumps.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>

namespace ringscale::core::engine {

Result<> ForbidCoreDumps() {
  // A piped core_pattern ignores the limit, and the limit outlives an exec.
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return FailErrno("RLIMIT_CORE", errno);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FailErrno("PR_SET_DUMPABLE", errno);
  return {};
}

}  // namespace ringscale::core::engine

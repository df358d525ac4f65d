// Whether the memory of this process may end in a file.
#pragma once

#include "core/base/result.h"

namespace ringscale::core::engine {

// No core dump is written, by the kernel or by a handler it pipes them to, and
// nobody without privileges reads the process's memory (PR_SET_DUMPABLE 0): keys
// and secrets stay in it. Debuggers and profilers of the same user are shut out
// with them. Before secrets are read; children inherit it.
Result<> ForbidCoreDumps();

}  // namespace ringscale::core::engine

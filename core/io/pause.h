// A short sleep that nothing ends early, for rings that let completions gather.
#pragma once

#include "core/base/time.h"

namespace ringscale::core::io {

// Blocks the thread for `time` (below one second) and what the kernel's timers add.
void Pause(Duration time);

}  // namespace ringscale::core::io

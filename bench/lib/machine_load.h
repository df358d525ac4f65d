// What the rest of the machine does while something is measured, from /proc/stat.
#pragma once

#include <optional>

#include "core/base/time.h"

namespace ringscale::bench {

// CPU seconds of all processes and of the kernel since the start of the machine,
// time stolen by the hypervisor included. nullopt where /proc cannot be read.
std::optional<double> MachineCpuSeconds();

// CPU seconds of the calling thread.
double OwnThreadCpuSeconds();

// Blocks the calling thread.
void SleepFor(core::Duration duration);

// Waits until all processes together use less than a tenth of a core, at most
// `limit`. False when the machine stayed busy.
bool WaitForQuietMachine(core::Duration limit);

}  // namespace ringscale::bench

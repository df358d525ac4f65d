// The command line of ringscale-bench relay.
#pragma once

#include <functional>

#include "core/base/result.h"

namespace CLI {
class App;
}

namespace ringscale::bench {

// Adds `relay` and what belongs to it; the function runs what was asked for, to be
// called after parsing when the sub-command was given.
std::function<core::Result<>()> AddRelayCommand(CLI::App& app);

}  // namespace ringscale::bench

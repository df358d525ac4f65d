// The command line of ringscale-bench relay.
#pragma once

#include <functional>
#include <string>

#include "core/base/result.h"

namespace CLI {
class App;
}

namespace ringscale::bench {

// Adds `relay` and what belongs to it; the function runs what was asked for, to be
// called after parsing when the sub-command was given. `command_line` is quoted in
// reports.
std::function<core::Result<>()> AddRelayCommand(CLI::App& app, std::string command_line);

}  // namespace ringscale::bench

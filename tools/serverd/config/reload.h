// What a changed configuration means for a server that runs.
#pragma once

#include <string_view>
#include <vector>

#include "tools/serverd/config.h"

namespace ringscale::serverd {

struct ConfigChange {
  std::vector<std::string_view> at_reload;  // keys that a running server takes over
  std::vector<std::string_view> restart;    // keys that need a restart
  // What the server runs with from now on: the new configuration, but with the old
  // values of the keys that need a restart.
  Config config;
};

// Keys of "relay" are left out: they belong to another program.
ConfigChange CompareConfig(const Config& running, Config fresh);

}  // namespace ringscale::serverd

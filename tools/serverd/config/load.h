// Loading with everything outside passed in, for tests.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

struct ConfigSurroundings {
  std::map<std::string, std::string> environment;
  bool is_root = false;
  // Files looked for when none is named; the first that exists is read.
  std::vector<std::string> search_paths;
};

core::Result<Config> LoadConfigIn(const ConfigOverrides& overrides,
                                  const ConfigSurroundings& surroundings);

}  // namespace ringscale::serverd

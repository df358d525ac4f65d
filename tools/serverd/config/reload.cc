#include "tools/serverd/config/reload.h"

#include <utility>

#include "tools/serverd/config/keys.h"
#include "tools/serverd/config/toml_file.h"

namespace ringscale::serverd {

ConfigChange CompareConfig(const Config& running, Config fresh) {
  ConfigChange change;
  Config old = running;
  for (const Key& key : Keys()) {
    if (key.path.starts_with("relay.")) continue;
    const std::string before = key.show(old);
    if (before == key.show(fresh)) continue;
    if (key.at_reload) {
      change.at_reload.push_back(key.path);
      continue;
    }
    change.restart.push_back(key.path);
    // What a key shows is what it reads.
    if (const auto value = ReadTomlValue(before)) (void)key.set(fresh, *value);
  }
  change.config = std::move(fresh);
  return change;
}

}  // namespace ringscale::serverd

// What operators put into a DERP map for a relay of theirs.
#pragma once

#include <string>

#include "tools/serverd/config.h"
#include "tools/serverd/sockets.h"

namespace ringscale::relayd {

// The relay as a node of tailcfg.DERPMap, in JSON. `pin`: of its certificate; empty
// when clients verify it as any other.
std::string MapNodeOf(const serverd::Config& config, const serverd::ServerSockets& sockets,
                      const std::string& pin);

}  // namespace ringscale::relayd

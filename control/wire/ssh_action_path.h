// The path by which the destination of an SSH session asks what to do with it.
#pragma once

#include <optional>
#include <string_view>

#include "control/state/types.h"

namespace ringscale::control {

struct SshEnds {
  NodeId source = 0;
  NodeId destination = 0;
};

// "/machine/ssh/action/<source>/to/<destination>", node ids in decimal; nullopt for
// everything else.
std::optional<SshEnds> ParseSshActionPath(std::string_view path);

}  // namespace ringscale::control

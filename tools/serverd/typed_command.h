// How a person at this machine types a command of this program.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ringscale::serverd {

// "ringscale", when the shell finds this very `program` (an absolute path) in a folder of
// `search_path` ($PATH); else its path. Then `flags`, as the server got them, so that
// the command reaches the same server. Ready for a shell.
std::string TypedCommand(const std::string& program, std::string_view search_path,
                         std::span<const std::string> flags);

}  // namespace ringscale::serverd

#include "tools/serverd/typed_command.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "tools/serverd/pages/page.h"

namespace ringscale::serverd {

std::string TypedCommand(const std::string& program, std::string_view search_path,
                         std::span<const std::string> flags) {
  const std::filesystem::path path(program);
  std::string command = program;
  while (!search_path.empty()) {
    const std::string_view folder = search_path.substr(0, search_path.find(':'));
    search_path.remove_prefix(std::min(folder.size() + 1, search_path.size()));
    std::error_code error;
    const auto candidate = std::filesystem::path(folder) / path.filename();
    if (!std::filesystem::exists(candidate, error)) continue;
    // The first one that there is is the one that the shell takes.
    if (std::filesystem::equivalent(candidate, path, error)) command = path.filename();
    break;
  }
  command = pages::ShellWord(command);
  for (const std::string& flag : flags) command += " " + pages::ShellWord(flag);
  return command;
}

}  // namespace ringscale::serverd

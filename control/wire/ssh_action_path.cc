#include "control/wire/ssh_action_path.h"

#include <charconv>

namespace ringscale::control {

std::optional<SshEnds> ParseSshActionPath(std::string_view path) {
  const auto take = [&path](std::string_view text) {
    const bool there = path.starts_with(text);
    if (there) path.remove_prefix(text.size());
    return there;
  };
  const auto number = [&path](NodeId& id) {
    const auto [rest, error] = std::from_chars(path.data(), path.data() + path.size(), id);
    path.remove_prefix(static_cast<std::size_t>(rest - path.data()));
    return error == std::errc{};
  };
  SshEnds ends;
  const bool whole = take("/machine/ssh/action/") && number(ends.source) && take("/to/") &&
                     number(ends.destination) && path.empty();
  return whole ? std::optional(ends) : std::nullopt;
}

}  // namespace ringscale::control

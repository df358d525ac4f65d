// The option that names a user.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ringscale::ctl {

// Given before or after the sub-command, as -u or, long ago, -n.
using UserFlag = std::shared_ptr<std::string>;

CLI::Option* AddUserFlag(CLI::App& command, const UserFlag& user, const std::string& description);

}  // namespace ringscale::ctl

#include "tools/ctl/user_flag.h"

#include <CLI/CLI.hpp>

namespace ringscale::ctl {

CLI::Option* AddUserFlag(CLI::App& command, const UserFlag& user, const std::string& description) {
  command.add_option("-n,--namespace", *user, "Old name of --user.")->type_name("USER")->group("");
  return command.add_option("-u,--user", *user, description)->type_name("USER");
}

}  // namespace ringscale::ctl

// What the command line looks like before the parser sees it.
#pragma once

#include <string>
#include <vector>

namespace ringscale::ctl {

// Spellings that people know from other programs, in the parser's: "-o=json"
// becomes "-o" "json", "--routes=" becomes "--routes" "", "help users list" becomes
// "users list --help", and "--version" alone becomes "version".
[[nodiscard]] std::vector<std::string> NormalizeArguments(
    const std::vector<std::string>& arguments);

}  // namespace ringscale::ctl

#include "tools/ctl/arguments.h"

#include <cstddef>

namespace ringscale::ctl {
namespace {

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

std::vector<std::string> NormalizeArguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  bool literal = false;  // after "--" everything is a plain argument
  const bool help = !arguments.empty() && arguments.front() == "help";
  for (std::size_t i = help ? 1 : 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    literal = literal || argument == "--";
    if (!literal && argument.size() >= 3 && argument[0] == '-' && IsLetter(argument[1]) &&
        argument[2] == '=') {
      out.push_back(argument.substr(0, 2));
      out.push_back(argument.substr(3));
    } else if (!literal && argument.starts_with("--") && argument.size() > 3 &&
               argument.find('=') == argument.size() - 1) {
      out.push_back(argument.substr(0, argument.size() - 1));
      out.emplace_back();
    } else {
      out.push_back(argument);
    }
  }
  if (help) out.emplace_back("--help");
  if (out.size() == 1 && out.front() == "--version") out.front() = "version";
  return out;
}

}  // namespace ringscale::ctl

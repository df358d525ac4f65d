// The flags of derper, as `ringscale relay` takes them: with two dashes, and with
// Go's one dash when the program is started under the name derper.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace ringscale::ctl {

struct DerperFlag {
  std::string_view name;
  std::string_view type;  // "ADDR", ... of its value; empty: a switch
  std::string_view doc;
  // Why it cannot be served; such a flag is accepted only where it asks for nothing
  // (a switch that is false, an empty value).
  std::string_view missing = {};
};
std::span<const DerperFlag> DerperFlags();

// A flag that was given. A switch has "true" or "false".
struct GivenFlag {
  std::string name;
  std::string value;
};

// Arguments as Go's flag package reads them: -x, --x, -x=value, -x value; a switch
// takes a value only behind '='. kInvalid names what is wrong.
core::Result<std::vector<GivenFlag>> ParseGoFlags(const std::vector<std::string>& arguments);

}  // namespace ringscale::ctl

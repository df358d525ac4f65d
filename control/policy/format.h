// The usual layout of a policy: one indentation, one blank after a colon, a comma
// after the last line of a list. Comments and the order of lines stay.
#pragma once

#include <string>
#include <string_view>

#include "control/policy/error.h"

namespace ringscale::control::policy {

// An error where the text is no HuJSON.
Checked<std::string> FormatHuJson(std::string_view text);

}  // namespace ringscale::control::policy

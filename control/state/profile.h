// How users appear to clients (tailcfg.UserProfile).
#pragma once

#include <string>

#include "control/state/types.h"

namespace ringscale::control {

inline constexpr std::string_view kTaggedDevicesLogin = "tagged-devices";
inline constexpr std::string_view kTaggedDevicesName = "Tagged Devices";

// The e-mail address where there is one, else the name.
[[nodiscard]] inline const std::string& LoginName(const storage::UserRow& user) {
  return user.email.empty() ? user.name : user.email;
}
[[nodiscard]] inline const std::string& DisplayName(const storage::UserRow& user) {
  return user.display_name.empty() ? LoginName(user) : user.display_name;
}

}  // namespace ringscale::control

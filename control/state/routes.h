// Route sets of a node. Announced: what the client offers. Approved: what an
// operator lets it offer; survives un-announcing.
#pragma once

#include <vector>

#include "control/state/types.h"

namespace ringscale::control {

// 0.0.0.0/0 and ::/0.
[[nodiscard]] inline bool IsExitRoute(const core::IpPrefix& prefix) {
  return prefix.IsDefaultRoute();
}
// Announced and approved, without exit routes. Sorted.
std::vector<core::IpPrefix> SubnetRoutes(const Node& node);
// Announced and approved exit routes.
std::vector<core::IpPrefix> ExitRoutes(const Node& node);
// As approval stores a list: host bits cleared, sorted, unique, and both exit
// routes where there is one.
std::vector<core::IpPrefix> NormalizeApproval(std::vector<core::IpPrefix> routes);

}  // namespace ringscale::control

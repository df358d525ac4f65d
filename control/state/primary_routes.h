// Who serves a subnet route that several online nodes offer. The chosen one stays
// as long as it offers the route (no fail-back), then the lowest id follows. Exit
// routes are not chosen: all of them are offered side by side.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "control/state/types.h"

namespace ringscale::control {

class PrimaryRouteTable {
 public:
  // The subnet routes this node offers now: none while it is offline or gone.
  // Returns the nodes whose set of served prefixes changed.
  std::set<NodeId> Update(NodeId node, const std::vector<core::IpPrefix>& routes);

  [[nodiscard]] NodeId ServerOf(const core::IpPrefix& prefix) const;
  [[nodiscard]] std::vector<core::IpPrefix> Of(NodeId node) const;

 private:
  struct Route {
    std::set<NodeId> offered_by;
    NodeId server = 0;
  };
  std::map<core::IpPrefix, Route> routes_;
  std::map<NodeId, std::set<core::IpPrefix>> offered_;
};

}  // namespace ringscale::control

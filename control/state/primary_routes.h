// Who serves a subnet route that several online nodes offer. The chosen one stays
// as long as it offers the route and is healthy (no fail-back), then the lowest
// healthy id follows. Where none is healthy the chosen one stays: a guess is better
// than no route. Exit routes are not chosen: all of them are offered side by side.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "control/state/types.h"

namespace ringscale::control {

class PrimaryRouteTable {
 public:
  // The subnet routes this node offers now: none while it is offline or gone.
  // Returns the nodes whose set of served prefixes changed.
  std::set<NodeId> Update(NodeId node, const std::vector<core::IpPrefix>& routes,
                          bool healthy = true);

  [[nodiscard]] NodeId ServerOf(const core::IpPrefix& prefix) const;
  [[nodiscard]] std::vector<core::IpPrefix> Of(NodeId node) const;
  // The nodes that offer a prefix which another one offers too. Valid until the
  // next Update.
  [[nodiscard]] const std::set<NodeId>& Sharing() const;

 private:
  struct Route {
    std::set<NodeId> offered_by;
    NodeId server = 0;
  };
  [[nodiscard]] NodeId Elect(const Route& route) const;
  void ElectAgain(Route& route, std::set<NodeId>& changed) const;

  std::map<core::IpPrefix, Route> routes_;
  std::map<NodeId, std::set<core::IpPrefix>> offered_;
  std::set<NodeId> unhealthy_;                       // of those that offer something
  mutable std::optional<std::set<NodeId>> sharing_;  // nullopt: to be found out
};

}  // namespace ringscale::control

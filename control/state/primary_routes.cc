#include "control/state/primary_routes.h"

namespace ringscale::control {

std::set<NodeId> PrimaryRouteTable::Update(NodeId node, const std::vector<core::IpPrefix>& routes) {
  std::set<NodeId> changed;
  const auto known = offered_.find(node);
  if (known == offered_.end() && routes.empty()) return changed;
  const std::set<core::IpPrefix> before =
      known == offered_.end() ? std::set<core::IpPrefix>{} : known->second;
  const std::set<core::IpPrefix> now(routes.begin(), routes.end());

  for (const auto& prefix : before) {
    if (now.contains(prefix)) continue;
    const auto it = routes_.find(prefix);
    Route& route = it->second;
    route.offered_by.erase(node);
    if (route.server == node) {
      changed.insert(node);
      route.server = route.offered_by.empty() ? 0 : *route.offered_by.begin();
      if (route.server != 0) changed.insert(route.server);
    }
    if (route.offered_by.empty()) routes_.erase(it);
  }
  for (const auto& prefix : now) {
    if (before.contains(prefix)) continue;
    Route& route = routes_[prefix];
    route.offered_by.insert(node);
    if (route.server == 0) {
      route.server = node;
      changed.insert(node);
    }
  }
  if (now.empty()) {
    offered_.erase(node);
  } else {
    offered_.insert_or_assign(node, now);
  }
  return changed;
}

NodeId PrimaryRouteTable::ServerOf(const core::IpPrefix& prefix) const {
  const auto it = routes_.find(prefix);
  return it == routes_.end() ? 0 : it->second.server;
}

std::vector<core::IpPrefix> PrimaryRouteTable::Of(NodeId node) const {
  std::vector<core::IpPrefix> served;
  const auto offered = offered_.find(node);
  if (offered == offered_.end()) return served;
  for (const auto& prefix : offered->second) {
    if (ServerOf(prefix) == node) served.push_back(prefix);
  }
  return served;
}

}  // namespace ringscale::control

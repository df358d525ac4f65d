#include "control/state/primary_routes.h"

#include <algorithm>

namespace ringscale::control {

NodeId PrimaryRouteTable::Elect(const Route& route) const {
  const auto healthy = [this](NodeId id) { return !unhealthy_.contains(id); };
  const bool still = route.offered_by.contains(route.server);
  if (still && healthy(route.server)) return route.server;
  const auto next = std::ranges::find_if(route.offered_by, healthy);
  if (next != route.offered_by.end()) return *next;
  if (still) return route.server;
  return route.offered_by.empty() ? 0 : *route.offered_by.begin();
}

void PrimaryRouteTable::ElectAgain(Route& route, std::set<NodeId>& changed) const {
  const NodeId elected = Elect(route);
  if (elected == route.server) return;
  for (const NodeId id : {route.server, elected}) {
    if (id != 0) changed.insert(id);
  }
  route.server = elected;
}

std::set<NodeId> PrimaryRouteTable::Update(NodeId node, const std::vector<core::IpPrefix>& routes,
                                           bool healthy) {
  std::set<NodeId> changed;
  const auto known = offered_.find(node);
  if (known == offered_.end() && routes.empty()) return changed;
  const std::set<core::IpPrefix> before =
      known == offered_.end() ? std::set<core::IpPrefix>{} : known->second;
  const std::set<core::IpPrefix> now(routes.begin(), routes.end());
  const bool other_health = healthy == unhealthy_.contains(node);
  if (before == now && !other_health) return changed;

  if (healthy || now.empty()) {
    unhealthy_.erase(node);
  } else {
    unhealthy_.insert(node);
  }
  for (const auto& prefix : before) {
    if (now.contains(prefix)) continue;
    const auto it = routes_.find(prefix);
    it->second.offered_by.erase(node);
    ElectAgain(it->second, changed);
    if (it->second.offered_by.empty()) routes_.erase(it);
  }
  for (const auto& prefix : now) {
    Route& route = routes_[prefix];
    route.offered_by.insert(node);
    ElectAgain(route, changed);
  }
  if (before != now) sharing_.reset();
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

const std::set<NodeId>& PrimaryRouteTable::Sharing() const {
  if (!sharing_) {
    sharing_.emplace();
    for (const auto& [prefix, route] : routes_) {
      if (route.offered_by.size() > 1) {
        sharing_->insert(route.offered_by.begin(), route.offered_by.end());
      }
    }
  }
  return *sharing_;
}

}  // namespace ringscale::control

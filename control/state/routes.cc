#include "control/state/routes.h"

#include <algorithm>

#include "core/base/sort_unique.h"

namespace ringscale::control {
namespace {

std::vector<core::IpPrefix> Granted(const Node& node, bool exit) {
  std::vector<core::IpPrefix> routes;
  std::ranges::set_intersection(node.announced_routes, node.row.approved_routes,
                                std::back_inserter(routes));
  std::erase_if(routes, [exit](const core::IpPrefix& p) { return IsExitRoute(p) != exit; });
  return routes;
}

}  // namespace

std::vector<core::IpPrefix> SubnetRoutes(const Node& node) {
  return Granted(node, false);
}

std::vector<core::IpPrefix> ExitRoutes(const Node& node) {
  return Granted(node, true);
}

std::vector<core::IpPrefix> NormalizeApproval(std::vector<core::IpPrefix> routes) {
  for (auto& route : routes) route = route.Masked();
  if (std::ranges::any_of(routes, IsExitRoute)) {
    for (const char* text : {"0.0.0.0/0", "::/0"}) routes.push_back(*core::IpPrefix::Parse(text));
  }
  core::SortUnique(routes);
  return routes;
}

}  // namespace ringscale::control

// Which routes of a peer a node may use: AllowedIPs and PrimaryRoutes.
#include <algorithm>

#include "control/policy/engine.h"

namespace ringscale::control::policy {

void Engine::SetPrimary(const core::IpPrefix& subnet, NodeId id) {
  if (id == 0) {
    primaries_.erase(subnet);
  } else {
    primaries_[subnet] = id;
  }
}

bool Engine::DestinationCovers(const Rule& rule, const core::IpPrefix& route) const {
  static const AddressSet kInternet(InternetRanges());
  const AddressRange range = AddressRange::Of(route);
  for (const auto& dst : rule.dst) {
    if (dst.kind == RuleDestination::Kind::kAll) return true;
    if (dst.kind == RuleDestination::Kind::kSelf) continue;
    for (const auto& named : program_->terms()[dst.term].ranges) {
      // An exit node is for what lies on the internet, not for every prefix
      // that the default route contains.
      if (route.IsDefaultRoute() ? named == range || kInternet.Contains(named)
                                 : named.Overlaps(range)) {
        return true;
      }
    }
  }
  return false;
}

bool Engine::SourceCovers(const Rule& rule, const core::IpPrefix& route) const {
  if (route.IsDefaultRoute()) return false;
  const Side& side = program_->sides()[rule.src];
  if (!side.postures.empty()) return false;
  return side.all || side.danger_all || side.literals.Overlaps(AddressRange::Of(route));
}

// Of the nodes with a `via` tag that offer the route, one carries it: the one
// that carries it for everybody, else the first.
bool Engine::CarriesVia(const Rule& rule, const core::IpPrefix& route, NodeId peer) const {
  if (!ViaNames(rule, classes_[ClassOf(peer)])) return false;
  if (route.IsDefaultRoute()) return true;
  const auto servers = subnets_.find(route);
  if (servers == subnets_.end()) return false;
  const auto may = [&](NodeId id) {
    return !unreachable_.contains(id) && ViaNames(rule, classes_[ClassOf(id)]);
  };
  const auto primary = primaries_.find(route);
  if (primary != primaries_.end() && servers->second.contains(primary->second) &&
      may(primary->second)) {
    return primary->second == peer;
  }
  const auto first = std::ranges::find_if(servers->second, may);
  return first != servers->second.end() && *first == peer;
}

const Engine::RouteRules& Engine::RulesFor(const core::IpPrefix& route) const {
  // Prefixes that nobody serves any more.
  if (route_rules_.size() > 2 * subnets_.size() + 64) route_rules_.clear();
  const auto [at, fresh] = route_rules_.try_emplace(route);
  if (!fresh) return at->second;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (DestinationCovers(program_->rules()[i], route)) at->second.to.push_back(i);
    if (SourceCovers(program_->rules()[i], route)) at->second.from.push_back(i);
  }
  return at->second;
}

Engine::PeerRoutes Engine::RoutesOf(NodeId viewer, NodeId peer) const {
  PeerRoutes out;
  const ClassId viewer_class = ClassOf(viewer);
  for (const auto& route : nodes_.at(peer).routes) {
    const RouteRules& concerned = RulesFor(route);
    bool granted = std::ranges::any_of(
        concerned.from, [&](std::size_t rule) { return rules_[rule].dst.Has(viewer_class); });
    bool carried = false;
    for (const std::size_t number : concerned.to) {
      if (granted) break;
      const Rule& rule = program_->rules()[number];
      if (!AnySource(rule.src, viewer_class)) continue;
      granted = rule.via.empty();
      carried = carried || (!rule.via.empty() && CarriesVia(rule, route, peer));
    }
    bool allowed = granted || carried;
    if (!route.IsDefaultRoute()) {
      const auto primary = primaries_.find(route);
      const bool is_primary = primary != primaries_.end() && primary->second == peer;
      const auto& own = classes_[viewer_class].subnets;
      // Who serves the subnet itself always learns who carries it.
      const bool co_router = std::ranges::binary_search(own, route);
      allowed = granted || co_router ? is_primary : carried;
      if (allowed) out.primary.push_back(route);
    }
    if (allowed) out.allowed.push_back(route);
  }
  std::ranges::sort(out.allowed);
  std::ranges::sort(out.primary);
  return out;
}

}  // namespace ringscale::control::policy

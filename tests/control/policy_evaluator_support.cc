#include "tests/control/policy_evaluator.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace ringscale::control::policy::plain {

using core::IpAddress;
using core::IpPrefix;

bool Serves(const PolicyNode& node, const IpAddress& ip) {
  return std::ranges::any_of(node.routes, [&](const IpPrefix& route) {
    return !route.IsDefaultRoute() && route.Contains(ip);
  });
}

namespace {

bool Is(const World& world, const PolicyNode& node, const std::string& name) {
  if (name == "*") return true;
  if (name.starts_with("tag:")) {
    return std::ranges::find(node.tags, name) != node.tags.end();
  }
  if (name == "autogroup:tagged") return !node.tags.empty();
  if (!node.tags.empty()) return false;
  if (name == "autogroup:member") return true;
  const PolicyUser& user = *std::ranges::find(world.users, node.user, &PolicyUser::id);
  if (name == "autogroup:owner") return user.role == Role::kOwner;
  if (name.starts_with("user:*@")) return user.email.ends_with(name.substr(6));
  if (name.starts_with("group:")) {
    return std::ranges::any_of(world.groups.at(name),
                               [&](const std::string& member) { return Is(world, node, member); });
  }
  return name == user.email || name == user.name + "@";
}

std::optional<IpPrefix> Literal(const World& world, const std::string& name) {
  if (world.hosts.contains(name)) return IpPrefix::Parse(world.hosts.at(name));
  if (const auto ip = IpAddress::Parse(name)) return IpPrefix::Host(*ip);
  return name.contains('/') ? IpPrefix::Parse(name) : std::nullopt;
}

bool Own(const PolicyNode& node, const IpAddress& ip) {
  return node.v4 == ip || node.v6 == ip;
}

bool Intersect(const IpPrefix& a, const IpPrefix& b) {
  return a.Contains(b.address) || b.Contains(a.address);
}

bool ServesPartOf(const PolicyNode& node, const IpPrefix& prefix) {
  return std::ranges::any_of(node.routes, [&](const IpPrefix& route) {
    return !route.IsDefaultRoute() && Intersect(route, prefix);
  });
}

// Whether the alias stands for the source `ip` at (or behind) the node.
bool SourceIs(const World& world, const std::string& name, const PolicyNode& node,
              const IpAddress& ip) {
  if (const auto literal = Literal(world, name)) return literal->Contains(ip);
  if (name == "*") return Own(node, ip) || Serves(node, ip);
  return Own(node, ip) && Is(world, node, name);
}

bool PortIn(const std::string& ports, int port) {
  if (ports == "*") return true;
  std::size_t at = 0;
  while (at <= ports.size()) {
    const auto end = std::min(ports.find(',', at), ports.size());
    const std::string part = ports.substr(at, end - at);
    const auto dash = part.find('-');
    const int first = std::stoi(part);
    const int last = dash == std::string::npos ? first : std::stoi(part.substr(dash + 1));
    if (first <= port && port <= last) return true;
    at = end + 1;
  }
  return false;
}

// Protocol and port of a rule's destination. GRE has no ports.
bool TrafficIs(const std::string& proto, const std::string& ports, int protocol, int port) {
  const int wanted = proto == "tcp" ? 6 : proto == "udp" ? 17 : proto == "gre" ? 47 : 0;
  if (protocol == 47) return wanted == 47 && ports == "*";
  return (wanted == 0 || wanted == protocol) && PortIn(ports, port);
}

bool RuleTraffic(const PlainRule& rule, std::size_t dst, int protocol, int port) {
  if (rule.acl) return TrafficIs(rule.proto, rule.dst_ports[dst], protocol, port);
  return std::ranges::any_of(rule.ip, [&](const std::string& spec) {
    const auto colon = spec.find(':');
    return colon == std::string::npos
               ? TrafficIs("", spec, protocol, port)
               : TrafficIs(spec.substr(0, colon), spec.substr(colon + 1), protocol, port);
  });
}

bool SameUser(const PolicyNode& a, const PolicyNode& b) {
  return a.tags.empty() && b.tags.empty() && a.user == b.user;
}

bool IsPublic(const IpAddress& ip) {
  return ip == *IpAddress::Parse("8.8.8.8") || ip == *IpAddress::Parse("1.1.1.1");
}

bool DestinationIs(const World& world, const PlainRule& rule, const std::string& name,
                   const Flow& flow) {
  if (!rule.via.empty()) {
    // Only what lies behind a node with one of the tags.
    if (std::ranges::none_of(rule.via, [&](const auto& tag) { return Is(world, flow.to, tag); }) ||
        Own(flow.to, flow.dst)) {
      return false;
    }
    if (name == "*") return true;
  }
  if (name == "*") return true;
  if (name == "autogroup:self") return SameUser(flow.from, flow.to) && Own(flow.to, flow.dst);
  if (name == "autogroup:internet") return IsPublic(flow.dst);
  if (const auto literal = Literal(world, name)) return literal->Contains(flow.dst);
  return Own(flow.to, flow.dst) && rule.via.empty() && Is(world, flow.to, name);
}

}  // namespace

bool Allowed(const World& world, const Flow& flow, int protocol, int port) {
  for (const auto& rule : world.rules) {
    for (std::size_t i = 0; i < rule.dst.size(); ++i) {
      if (!DestinationIs(world, rule, rule.dst[i], flow) || !RuleTraffic(rule, i, protocol, port)) {
        continue;
      }
      for (const auto& name : rule.src) {
        if (rule.dst[i] == "autogroup:self" ? Is(world, flow.from, name) && Own(flow.from, flow.src)
                                            : SourceIs(world, name, flow.from, flow.src)) {
          return true;
        }
      }
    }
  }
  return false;
}

bool MaySpeak(const World& world, const PolicyNode& from, const PolicyNode& to) {
  for (const auto& rule : world.rules) {
    const auto source = [&](bool self) {
      return std::ranges::any_of(rule.src, [&](const std::string& name) {
        const auto literal = Literal(world, name);
        if (self) return !literal && Is(world, from, name);
        if (!literal) return Is(world, from, name);
        return literal->Contains(from.v4) || literal->Contains(from.v6) ||
               ServesPartOf(from, *literal);
      });
    };
    const bool via = !rule.via.empty();
    if (via &&
        std::ranges::none_of(rule.via, [&](const auto& tag) { return Is(world, to, tag); })) {
      continue;
    }
    const bool router = std::ranges::any_of(
        to.routes, [](const IpPrefix& route) { return !route.IsDefaultRoute(); });
    for (const auto& name : rule.dst) {
      bool destination = false;
      if (name == "autogroup:self") {
        if (SameUser(from, to) && source(true)) return true;
        continue;
      }
      if (name == "*") {
        destination = !via || router || to.IsExitNode();
      } else if (name == "autogroup:internet") {
        destination = to.IsExitNode();
      } else if (const auto literal = Literal(world, name)) {
        destination = (!via && (literal->Contains(to.v4) || literal->Contains(to.v6))) ||
                      ServesPartOf(to, *literal) || (to.IsExitNode() && name == "8.8.8.0/24");
      } else {
        destination = !via && Is(world, to, name);
      }
      if (destination && source(false)) return true;
    }
  }
  return false;
}

std::string MayLogIn(const World& world, const PolicyNode& from, const PolicyNode& to,
                     const std::string& user) {
  std::string answer = "no";
  for (const auto& rule : world.ssh) {
    const bool src = std::ranges::any_of(
        rule.src, [&](const std::string& name) { return Is(world, from, name); });
    const bool dst = std::ranges::any_of(rule.dst, [&](const std::string& name) {
      return name == "autogroup:self" ? SameUser(from, to) : Is(world, to, name);
    });
    // With localpart forms, sources may log in on their own devices as well.
    const bool own =
        (from.id == to.id || SameUser(from, to)) &&
        std::ranges::find(rule.users, "localpart:*@x.org") != rule.users.end() &&
        std::ranges::any_of(rule.src, [&](const std::string& name) { return Is(world, to, name); });
    if (!src || (!dst && !own)) continue;
    const bool login = std::ranges::any_of(rule.users, [&](const std::string& name) {
      if (name == "autogroup:nonroot") return user != "root";
      if (name != "localpart:*@x.org") return name == user;
      if (!from.tags.empty()) return false;
      const auto& person = *std::ranges::find(world.users, from.user, &PolicyUser::id);
      return person.email == user + "@x.org";
    });
    if (!login) continue;
    if (rule.check) return "check";
    answer = "accept";
  }
  return answer;
}

}  // namespace ringscale::control::policy::plain

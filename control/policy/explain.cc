// Why somebody may or may not reach somebody: for people.
#include <algorithm>

#include "control/policy/policy_keeper.h"
#include "control/policy/text_forms.h"

namespace ringscale::control {
namespace {

using policy::Rule;
using policy::RuleDestination;

std::string Place(const Rule& rule) {
  const policy::Grant& grant = *rule.grant;
  std::string out = (grant.acl ? "acls[" : "grants[") + std::to_string(grant.index) + "]";
  if (grant.at.line > 0) out += " (line " + std::to_string(grant.at.line) + ")";
  return out;
}

std::string PortsText(const std::vector<policy::PortRange>& ports) {
  std::string out;
  for (const auto& range : ports) {
    if (!out.empty()) out += ',';
    if (range.all()) {
      out += '*';
    } else {
      out += std::to_string(range.first);
      if (range.last != range.first) out += "-" + std::to_string(range.last);
    }
  }
  return out;
}

bool HasPort(const std::vector<policy::PortRange>& ports, std::uint16_t port) {
  return port == 0 || std::ranges::any_of(ports, [&](const auto& range) {
           return range.first <= port && port <= range.last;
         });
}

std::string List(const std::vector<policy::Alias>& aliases) {
  std::string out;
  for (const auto& alias : aliases) out += (out.empty() ? "" : ", ") + alias.text();
  return out;
}

}  // namespace

core::Result<std::vector<std::string>> PolicyKeeper::Explain(std::string_view src,
                                                             std::string_view dst,
                                                             std::uint16_t port) const {
  const policy::Engine* const engine = index_.engine();
  if (engine == nullptr) {
    return std::vector<std::string>{"allowed: there is no policy, everybody reaches everybody"};
  }
  const auto addresses = [&](std::string_view name) -> core::Result<policy::AddressSet> {
    if (const Node* node = NodeNamed(name)) {
      std::vector<policy::AddressRange> own;
      if (node->row.ipv4.valid()) own.push_back(policy::AddressRange::Of(node->row.ipv4));
      if (node->row.ipv6.valid()) own.push_back(policy::AddressRange::Of(node->row.ipv6));
      return policy::AddressSet(std::move(own));
    }
    auto alias = policy::ReadAlias(name);
    if (!alias) return core::Fail(core::ErrorCode::kInvalid, alias.error());
    auto set = engine->Resolve(*alias);
    if (set.empty()) {
      return core::Fail(core::ErrorCode::kNotFound,
                        policy::Quoted(name) + " is no node, and no node belongs to it");
    }
    return set;
  };
  auto from = addresses(src);
  if (!from) return core::Forward(from);
  auto to = addresses(dst);
  if (!to) return core::Forward(to);
  const auto overlap = [](const policy::AddressSet& a, const policy::AddressSet& b) {
    return std::ranges::any_of(a.ranges(), [&](const auto& range) { return b.Overlaps(range); });
  };
  const Node* const src_node = NodeNamed(src);
  const Node* const dst_node = NodeNamed(dst);
  const bool same_user = src_node != nullptr && dst_node != nullptr && !src_node->tagged() &&
                         !dst_node->tagged() && src_node->row.user_id == dst_node->row.user_id;

  std::vector<std::string> allowed;
  std::vector<std::string> near;
  const policy::Program& program = engine->program();
  for (const Rule& rule : program.rules()) {
    const bool source =
        program.sides()[rule.src].danger_all || overlap(*from, engine->SideAddresses(rule.src));
    bool destination = false;
    std::string ports;
    bool port_matches = false;
    for (const auto& entry : rule.dst) {
      const bool matches = entry.kind == RuleDestination::Kind::kAll ||
                           (entry.kind == RuleDestination::Kind::kSelf
                                ? same_user
                                : overlap(*to, engine->Resolve(program.terms()[entry.term].alias)));
      if (!matches) continue;
      destination = true;
      for (const auto& spec : rule.grant->ip) {
        const auto& list = rule.grant->acl ? entry.ports : spec.ports;
        const std::string text =
            (spec.protocol ? "protocol " + std::to_string(*spec.protocol) + ":" : "") +
            PortsText(list);
        ports += (ports.empty() ? "" : "; ") + text;
        port_matches = port_matches || HasPort(list, port);
      }
    }
    std::string apps;
    for (const auto& app : rule.grant->app) apps += (apps.empty() ? "" : ", ") + app.name;
    if (source && destination && port_matches) {
      std::string line = Place(rule) + ": ports " + ports;
      if (!apps.empty()) line += ", capabilities " + apps;
      if (!rule.via.empty()) line += ", via " + List(rule.grant->via);
      allowed.push_back(std::move(line));
    } else if (source && destination && ports.empty()) {
      allowed.push_back(Place(rule) + ": capabilities " + apps + " only, no connections");
    } else if (source && destination) {
      near.push_back(Place(rule) + ": only for ports " + ports);
    } else if (source) {
      std::string names;
      for (const auto& entry : rule.grant->dst) {
        names += (names.empty() ? "" : ", ") + entry.alias.text();
      }
      near.push_back(Place(rule) + ": the destination is not among " + names);
    } else if (destination) {
      near.push_back(Place(rule) + ": the source is not among " + List(rule.grant->src));
    }
  }
  std::vector<std::string> out;
  const bool connects = std::ranges::any_of(
      allowed, [](const std::string& line) { return !line.contains(" only, no connections"); });
  out.emplace_back(connects ? "allowed" : "denied");
  for (auto& line : allowed) out.push_back("  allows: " + line);
  constexpr std::size_t kNear = 20;
  for (std::size_t i = 0; !connects && i < near.size() && i < kNear; ++i) {
    out.push_back("  not:    " + near[i]);
  }
  if (src_node != nullptr && dst_node != nullptr) {
    for (const std::string_view user : {"root", "another user"}) {
      const auto answer = engine->SshAllows(src_node->row.id, dst_node->row.id, user);
      out.push_back("  ssh as " + std::string(user) + ": " +
                    (answer == policy::Engine::SshAnswer::kNo      ? "refused"
                     : answer == policy::Engine::SshAnswer::kCheck ? "held until it is approved"
                                                                   : "accepted"));
    }
  }
  return out;
}

}  // namespace ringscale::control

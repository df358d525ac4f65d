// Why somebody may or may not reach somebody: for people.
#include <algorithm>

#include "control/policy/policy_keeper.h"
#include "control/policy/text_forms.h"

namespace ringscale::control {
namespace {

using policy::Rule;
using policy::RuleDestination;

std::string Place(std::string_view section, std::size_t index, policy::Position at) {
  std::string out = std::string(section) + "[" + std::to_string(index) + "]";
  if (at.line > 0) out += " (line " + std::to_string(at.line) + ")";
  return out;
}

std::string Place(const Rule& rule) {
  const policy::Grant& grant = *rule.grant;
  return Place(grant.acl ? "acls" : "grants", grant.index, grant.at);
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) out += (out.empty() ? "" : ", ") + text;
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

// Why the sources of a rule are not the one asked about.
std::string NotAmong(const std::vector<policy::Alias>& src,
                     const std::vector<std::string>& postures, const policy::Engine& engine,
                     const Node* node) {
  const policy::PolicyNode* const known = node == nullptr ? nullptr : engine.Find(node->row.id);
  if (known != nullptr && !postures.empty() &&
      std::ranges::any_of(src, [&](const policy::Alias& alias) {
        return engine.program().AliasMatches(alias, *known);
      })) {
    return "the source does not meet " + Joined(postures);
  }
  return "the source is not among " + List(src);
}

// Which rules let one log in at the other, or come near.
void ExplainSsh(const policy::Engine& engine, const Node& src, const Node& dst,
                std::vector<std::string>& out) {
  std::vector<std::string> near;
  bool any = false;
  for (const auto& compiled : engine.program().ssh()) {
    const policy::SshRule& rule = *compiled.rule;
    const auto named = engine.SshNamed(compiled, src.row.id, dst.row.id);
    const std::string place = Place("ssh", rule.index, rule.at);
    if (named.source && named.destination) {
      any = true;
      std::string how = "accepted";
      if (rule.check && rule.check_period.ns == 0) how = "held until it is approved, every time";
      if (rule.check && rule.check_period.ns > 0) {
        how = "held until it is approved, which counts for " +
              policy::GoDurationText(rule.check_period);
      }
      out.push_back("  ssh:    " + place + ": " + how + ", as " + Joined(rule.users));
    } else if (named.source) {
      near.push_back(place + ": the destination is not among " + List(rule.dst));
    } else if (named.destination) {
      near.push_back(
          place + ": " +
          NotAmong(rule.src, engine.program().PosturesOf(rule.src_posture), engine, &src));
    }
  }
  if (any) return;
  out.emplace_back("  ssh:    refused");
  for (const auto& line : near) out.push_back("  not:    " + line);
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
  std::vector<std::string> granted;
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
    for (const auto& app : rule.grant->app) {
      apps += (apps.empty() ? "" : ", ") + app.name + " " + app.values;
    }
    if (source && destination && port_matches) {
      std::string line = Place(rule) + ": ports " + ports;
      if (!apps.empty()) line += ", capabilities " + apps;
      if (!rule.via.empty()) line += ", via " + List(rule.grant->via);
      allowed.push_back(std::move(line));
    } else if (source && destination && ports.empty()) {
      granted.push_back(Place(rule) + ": capabilities " + apps);
    } else if (source && destination) {
      near.push_back(Place(rule) + ": only for ports " + ports);
    } else if (source) {
      std::string names;
      for (const auto& entry : rule.grant->dst) {
        names += (names.empty() ? "" : ", ") + entry.alias.text();
      }
      near.push_back(Place(rule) + ": the destination is not among " + names);
    } else if (destination) {
      near.push_back(Place(rule) + ": " +
                     NotAmong(rule.grant->src, program.PosturesOf(rule.grant->src_posture), *engine,
                              src_node));
    }
  }
  std::vector<std::string> out;
  const bool connects = !allowed.empty();
  out.emplace_back(connects ? "allowed" : "denied");
  for (const auto& line : allowed) out.push_back("  allows: " + line);
  for (const auto& line : granted) out.push_back("  grants: " + line);
  constexpr std::size_t kNear = 20;
  for (std::size_t i = 0; !connects && i < near.size() && i < kNear; ++i) {
    out.push_back("  not:    " + near[i]);
  }
  if (src_node != nullptr && dst_node != nullptr) ExplainSsh(*engine, *src_node, *dst_node, out);
  return out;
}

}  // namespace ringscale::control

// Packet filters: which rules reach a node, and how clients are told.
#include <algorithm>

#include "control/policy/engine.h"
#include "core/base/sort_unique.h"
#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

using core::json::Writer;

void WriteRanges(Writer& json, const std::vector<AddressRange>& ranges) {
  for (const auto& range : ranges) json.Plain(range.text());
}

FilterSourcePtr MakeSource(std::string text) {
  const std::uint64_t digest = std::hash<std::string>()(text);
  return std::make_shared<const FilterSource>(std::move(text), digest);
}

// A rule for autogroup:self is one of the user's own nodes.
std::uint64_t SelfName(std::uint64_t name) {
  return name ^ 0x5e1f;
}

}  // namespace

std::string FilterRule::Rest() const {
  std::string out;
  if (protocol) out += ",\"IPProto\":[" + std::to_string(*protocol) + "]";
  if (!dst_ports.empty()) {
    out += ",\"DstPorts\":";
    Writer json(out);
    json.BeginArray();
    for (const auto& dst : dst_ports) {
      json.BeginObject();
      json.PlainField("IP", dst.range ? dst.range->text() : "*");
      json.Key("Ports").BeginObject();
      json.Field("First", dst.ports.first).Field("Last", dst.ports.last);
      json.EndObject().EndObject();
    }
    json.EndArray();
  }
  if (!cap_grants.empty()) {
    out += ",\"CapGrant\":";
    Writer json(out);
    json.BeginArray();
    for (const auto& grant : cap_grants) {
      json.BeginObject();
      json.Key("Dsts").BeginArray();
      for (const auto& dst : grant.dsts) json.Plain(dst.text());
      json.EndArray();
      json.Key("CapMap").BeginObject();
      for (const auto& cap : grant.caps) json.ForeignKey(cap.name).Raw(cap.values);
      json.EndObject().EndObject();
    }
    json.EndArray();
  }
  return out + "}";
}

std::string FilterRule::Json() const {
  return "{\"SrcIPs\":" + src->text + Rest();
}

FilterSourcePtr Engine::SourceText(SideId id) const {
  const SideIndex& index = sides_[id];
  if (index.text) return index.text;
  const Side& side = program_->sides()[id];
  std::string out;
  Writer json(out);
  json.BeginArray();
  if (side.danger_all && side.postures.empty()) {
    json.Plain("*");
  } else if (side.all && side.postures.empty()) {
    WriteRanges(json, TailnetRanges());
    for (const auto& [subnet, servers] : subnets_) json.Plain(subnet.text());
    // What else is named counts where it is no address of the tailnet.
    AddressSet rest = side.literals;
    rest.Remove(AddressSet(TailnetRanges()));
    WriteRanges(json, rest.ranges());
  } else {
    WriteRanges(json, SideAddresses(id).ranges());
  }
  json.EndArray();
  index.text = MakeSource(std::move(out));
  return index.text;
}

const Engine::OwnSources& Engine::SourcesOfUser(SideId side, UserId user) const {
  const auto [at, fresh] = own_sources_.try_emplace({user, side});
  if (!fresh) return at->second;
  ClassesOfUser(user).Each([&](ClassId id) {
    if (sides_[side].address.Has(id)) at->second.classes.Set(id);
  });
  at->second.text = MakeSource(AddressesOf(at->second.classes));
  return at->second;
}

std::string Engine::AddressesOf(const ClassSet& classes) const {
  std::vector<AddressRange> ranges;
  classes.Each([&](ClassId id) {
    for (const NodeId member : classes_[id].members) {
      const PolicyNode& node = nodes_.at(member);
      if (node.v4.valid()) ranges.push_back(AddressRange::Of(node.v4));
      if (node.v6.valid()) ranges.push_back(AddressRange::Of(node.v6));
    }
  });
  std::string out;
  Writer json(out);
  json.BeginArray();
  WriteRanges(json, AddressSet(std::move(ranges)).ranges());
  json.EndArray();
  return out;
}

// Rules of one source and protocol become one, at the place of the first.
struct Engine::Merged {
  // What the sources are: two lists that mean the same are merged.
  struct Source {
    bool all = false;
    bool danger_all = false;
    bool postures = false;
    const std::vector<TermId>* beside_all = nullptr;
    const ClassSet* identity = nullptr;
    const AddressSet* literals = nullptr;

    template <class T>
    static bool Same(const T* a, const T* b) {
      return a == b || (a != nullptr && b != nullptr && *a == *b);
    }
    bool operator==(const Source& other) const {
      return all == other.all && danger_all == other.danger_all && postures == other.postures &&
             Same(beside_all, other.beside_all) && Same(identity, other.identity) &&
             Same(literals, other.literals);
    }
  };
  struct Entry {
    Source source;
    bool ports = false;
  };

  FilterRule& Ports(const Source& source, std::optional<std::uint8_t> protocol) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].ports && rules[i].protocol == protocol && entries[i].source == source) {
        return rules[i];
      }
    }
    return Add(source, true, protocol);
  }
  FilterRule& Add(const Source& source, bool ports, std::optional<std::uint8_t> protocol) {
    entries.push_back({source, ports});
    FilterRule& rule = rules.emplace_back();
    rule.protocol = protocol;
    return rule;
  }

  std::vector<Entry> entries;
  std::vector<FilterRule> rules;
};

void Engine::AddPorts(const Rule& rule, std::optional<std::uint8_t> protocol,
                      std::vector<DstPort> ports, bool beside_all, Merged& merged) const {
  const Side& side = program_->sides()[rule.src];
  Merged::Source source{.all = side.all,
                        .danger_all = side.danger_all,
                        .postures = !side.postures.empty(),
                        .identity = side.all ? nullptr : &sides_[rule.src].identity,
                        .literals = &side.literals};
  if (beside_all && side.all && !side.terms.empty()) source.beside_all = &side.terms;
  FilterRule& out = merged.Ports(source, protocol);
  if (!out.src) {
    out.src = SourceText(rule.src);
    out.source = side.name;
  }
  if (out.dst_ports.empty()) {
    out.dst_ports = std::move(ports);
  } else {
    out.dst_ports.insert(out.dst_ports.end(), ports.begin(), ports.end());
  }
}

void Engine::AppendDestination(const RuleDestination& dst, std::span<const PortRange> ports,
                               const PolicyNode& node, const NodeClass& node_class,
                               std::vector<DstPort>& out) const {
  const auto add = [&](const std::optional<AddressRange>& range) {
    for (const auto& port : ports) out.push_back({range, port});
  };
  if (dst.kind == RuleDestination::Kind::kAll) {
    add(std::nullopt);
    return;
  }
  const Term& term = program_->terms()[dst.term];
  if (!term.ranges.empty()) {
    for (const auto& range : term.ranges) {
      const bool own = range.Contains(node.v4) || range.Contains(node.v6);
      if (ConcernsRange(range, node_class, own)) add(range);
    }
  } else if (std::ranges::binary_search(node_class.terms, dst.term)) {
    if (node.v4.valid()) add(AddressRange::Of(node.v4));
    if (node.v6.valid()) add(AddressRange::Of(node.v6));
  }
}

void Engine::AddPortRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                          Merged& merged) const {
  const Side& side = program_->sides()[rule.src];
  const SideIndex& src = sides_[rule.src];
  // Sources that are nobody: no rule.
  if (!side.all && !side.danger_all && src.identity.empty() && side.literals.empty()) return;
  if (!side.postures.empty() && src.identity.empty()) return;
  for (const auto& spec : rule.grant->ip) {
    std::vector<DstPort> ports;
    for (const auto& dst : rule.dst) {
      if (dst.kind == RuleDestination::Kind::kSelf) continue;
      AppendDestination(dst, rule.grant->acl ? dst.ports : spec.ports, node, node_class, ports);
    }
    // A wildcard with more beside it is another list than a wildcard alone.
    if (!ports.empty()) AddPorts(rule, spec.protocol, std::move(ports), true, merged);
  }
}

void Engine::AddAppRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                         Merged& merged) const {
  // The prefixes of a list of addresses that are the node's or lie behind it.
  const auto prefixes = [&](const std::vector<AddressRange>& ranges, bool member) {
    std::vector<core::IpPrefix> out;
    const auto own = [&](const core::IpAddress& ip) {
      if (ip.valid()) out.push_back(core::IpPrefix::Host(ip));
    };
    if (member) {
      own(node.v4);
      own(node.v6);
    }
    for (const auto& range : ranges) {
      if (range.Contains(node.v4)) own(node.v4);
      if (range.Contains(node.v6)) own(node.v6);
      const bool behind = std::ranges::any_of(node_class.subnets, [&](const auto& subnet) {
        return AddressRange::Of(subnet).Overlaps(range);
      });
      if (!behind) continue;
      for (const auto& prefix : range.Cover()) {
        const AddressRange part = AddressRange::Of(prefix);
        for (const auto& subnet : node_class.subnets) {
          if (AddressRange::Of(subnet).Overlaps(part)) out.push_back(prefix);
        }
      }
    }
    core::SortUnique(out);
    return out;
  };
  const Side& side = program_->sides()[rule.src];
  std::vector<CapGrant> grants;
  for (const auto& dst : rule.dst) {
    if (dst.kind == RuleDestination::Kind::kSelf) continue;
    const bool all = dst.kind == RuleDestination::Kind::kAll;
    const auto& ranges = all ? std::vector<AddressRange>() : program_->terms()[dst.term].ranges;
    const bool member =
        all || (ranges.empty() && std::ranges::binary_search(node_class.terms, dst.term));
    auto dsts = prefixes(ranges, member);
    if (!dsts.empty()) grants.push_back({std::move(dsts), rule.grant->app});
  }
  if (!grants.empty()) {
    FilterRule& out = merged.Add({}, false, std::nullopt);
    out.src = SourceText(rule.src);
    out.source = side.name;
    out.cap_grants = std::move(grants);
  }
  if (rule.companions.empty() || !AnySource(rule.src, class_of_node_.at(node.id))) return;
  const bool source =
      side.all || side.danger_all || sides_[rule.src].identity.Has(class_of_node_.at(node.id));
  auto dsts = prefixes(side.literals.ranges(), source);
  if (dsts.empty()) return;
  for (const auto& companion : rule.companions) {
    FilterRule& out = merged.Add({}, false, std::nullopt);
    out.src = SourceText(rule.dst_side);
    out.source = program_->sides()[rule.dst_side].name;
    out.cap_grants.push_back({dsts, {&companion, 1}});
  }
}

void Engine::AddSelfRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                          Merged& merged) const {
  if (!SelfApplies(rule, node_class)) return;
  const OwnSources& sources = SourcesOfUser(rule.src, node_class.user);
  const std::uint64_t name = SelfName(program_->sides()[rule.src].name);
  static const AddressSet kNone;
  // Every device of the user, so that all of them share the rule.
  std::vector<core::IpAddress> own;
  if (node.v4.valid()) own.push_back(node.v4);
  if (node.v6.valid()) own.push_back(node.v6);
  for (const auto& spec : rule.grant->ip) {
    for (const auto& dst : rule.dst) {
      if (dst.kind != RuleDestination::Kind::kSelf) continue;
      FilterRule& out =
          merged.Ports({.identity = &sources.classes, .literals = &kNone}, spec.protocol);
      if (!out.src) {
        out.src = sources.text;
        out.source = name;
      }
      for (const auto& ip : own) {
        for (const auto& ports : rule.grant->acl ? dst.ports : spec.ports) {
          out.dst_ports.push_back({AddressRange::Of(ip), ports});
        }
      }
    }
  }
  if (rule.grant->app.empty()) return;
  std::vector<core::IpPrefix> dsts;
  dsts.reserve(own.size());
  for (const auto& ip : own) dsts.push_back(core::IpPrefix::Host(ip));
  const auto add = [&](std::span<const AppCapability> caps) {
    FilterRule& out = merged.Add({}, false, std::nullopt);
    out.src = sources.text;
    out.source = name;
    out.cap_grants.push_back({dsts, caps});
  };
  add(rule.grant->app);
  for (const auto& companion : rule.companions) add({&companion, 1});
}

void Engine::AddViaRules(const Rule& rule, const NodeClass& node_class, Merged& merged) const {
  for (const auto& spec : rule.grant->ip) {
    std::vector<DstPort> ports;
    const auto add = [&](const AddressRange& range) {
      for (const auto& port : spec.ports) ports.push_back({range, port});
    };
    for (const auto& dst : rule.dst) {
      if (dst.kind == RuleDestination::Kind::kSelf) continue;
      if (dst.kind == RuleDestination::Kind::kAll) {
        for (const auto& subnet : node_class.subnets) add(AddressRange::Of(subnet));
        if (node_class.exit_node) {
          for (const auto& range : InternetRanges()) add(range);
        }
        continue;
      }
      for (const auto& range : program_->terms()[dst.term].ranges) {
        if (ConcernsRange(range, node_class, false)) add(range);
      }
    }
    if (!ports.empty()) AddPorts(rule, spec.protocol, std::move(ports), false, merged);
  }
}

std::vector<FilterRule> Engine::PacketFilter(NodeId id) const {
  Merged merged;
  const PolicyNode& node = nodes_.at(id);
  const ClassId class_id = class_of_node_.at(id);
  const NodeClass& node_class = classes_[class_id];
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = program_->rules()[i];
    if (!rule.via.empty()) {
      // Capabilities are not steered.
      if (rules_[i].dst.Has(class_id)) AddViaRules(rule, node_class, merged);
      continue;
    }
    if (rules_[i].dst.Has(class_id)) AddPortRules(rule, node, node_class, merged);
    if (rule.other && !rule.grant->app.empty()) AddAppRules(rule, node, node_class, merged);
    if (rule.self) AddSelfRules(rule, node, node_class, merged);
  }
  return std::move(merged.rules);
}

}  // namespace ringscale::control::policy

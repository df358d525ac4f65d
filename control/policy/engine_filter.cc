// Packet filters: which rules reach a node, and how clients are told.
#include <algorithm>

#include "control/policy/engine.h"
#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

using core::json::Writer;

void WriteRanges(Writer& json, const std::vector<AddressRange>& ranges) {
  for (const auto& range : ranges) json.Plain(range.text());
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
  return "{\"SrcIPs\":" + *src + Rest();
}

TextPtr Engine::SourceText(SideId id) const {
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
    for (const auto& range : TailnetRanges()) rest.Remove(range);
    WriteRanges(json, rest.ranges());
  } else {
    WriteRanges(json, SideAddresses(id).ranges());
  }
  json.EndArray();
  index.text = std::make_shared<const std::string>(std::move(out));
  return index.text;
}

std::string Engine::AddressesOf(const ClassSet& classes, UserId only_user) const {
  std::vector<AddressRange> ranges;
  classes.Each([&](ClassId id) {
    for (const NodeId member : classes_[id].members) {
      const PolicyNode& node = nodes_.at(member);
      if (only_user != 0 && (node.tagged() || node.user != only_user)) continue;
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
  struct Source {
    // What the sources are: two lists that mean the same are merged.
    bool all = false;
    bool danger_all = false;
    bool postures = false;
    ClassSet identity;
    AddressSet literals;
    bool operator==(const Source&) const = default;
  };
  struct Entry {
    Source source;
    bool ports = false;
  };

  FilterRule& Ports(Source source, std::optional<std::uint8_t> protocol) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].ports && rules[i].protocol == protocol && entries[i].source == source) {
        return rules[i];
      }
    }
    return Add(std::move(source), true, protocol);
  }
  FilterRule& Add(Source source, bool ports, std::optional<std::uint8_t> protocol) {
    entries.push_back({std::move(source), ports});
    FilterRule& rule = rules.emplace_back();
    rule.protocol = protocol;
    return rule;
  }

  std::vector<Entry> entries;
  std::vector<FilterRule> rules;
};

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
    if (ports.empty()) continue;
    Merged::Source source{side.all, side.danger_all, !side.postures.empty(),
                          side.all ? ClassSet() : src.identity, side.literals};
    // A wildcard with more beside it is another list than a wildcard alone.
    if (side.all && !side.terms.empty()) {
      for (const TermId term : side.terms) source.identity.Set(term);
    }
    FilterRule& out = merged.Ports(std::move(source), spec.protocol);
    if (!out.src) out.src = SourceText(rule.src);
    out.dst_ports.insert(out.dst_ports.end(), ports.begin(), ports.end());
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
      const auto prefix = range.prefix();
      if (!prefix) continue;
      for (const auto& subnet : node_class.subnets) {
        if (AddressRange::Of(subnet).Overlaps(range)) out.push_back(*prefix);
      }
    }
    std::ranges::sort(out);
    const auto [first, last] = std::ranges::unique(out);
    out.erase(first, last);
    return out;
  };
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
    out.cap_grants = std::move(grants);
  }
  const Side& side = program_->sides()[rule.src];
  if (rule.companions.empty() || !AnySource(rule.src, class_of_node_.at(node.id))) return;
  const bool source =
      side.all || side.danger_all || sides_[rule.src].identity.Has(class_of_node_.at(node.id));
  auto dsts = prefixes(side.literals.ranges(), source);
  if (dsts.empty()) return;
  for (const auto& companion : rule.companions) {
    FilterRule& out = merged.Add({}, false, std::nullopt);
    out.src = SourceText(rule.dst_side);
    out.cap_grants.push_back({dsts, {&companion, 1}});
  }
}

void Engine::AddSelfRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                          Merged& merged) const {
  if (!SelfApplies(rule, node_class)) return;
  ClassSet sources;
  ClassesOfUser(node_class.user).Each([&](ClassId id) {
    if (sides_[rule.src].address.Has(id)) sources.Set(id);
  });
  const auto text = std::make_shared<const std::string>(AddressesOf(sources));
  // Every device of the user, so that all of them share the rule.
  std::vector<core::IpAddress> own;
  if (node.v4.valid()) own.push_back(node.v4);
  if (node.v6.valid()) own.push_back(node.v6);
  for (const auto& spec : rule.grant->ip) {
    for (const auto& dst : rule.dst) {
      if (dst.kind != RuleDestination::Kind::kSelf) continue;
      Merged::Source source;
      source.identity = sources;
      FilterRule& out = merged.Ports(std::move(source), spec.protocol);
      if (!out.src) out.src = text;
      for (const auto& ip : own) {
        for (const auto& ports : rule.grant->acl ? dst.ports : spec.ports) {
          out.dst_ports.push_back({AddressRange::Of(ip), ports});
        }
      }
    }
  }
  if (rule.grant->app.empty()) return;
  std::vector<core::IpPrefix> dsts;
  for (const auto& ip : own) dsts.push_back(core::IpPrefix::Host(ip));
  const auto add = [&](std::span<const AppCapability> caps) {
    FilterRule& out = merged.Add({}, false, std::nullopt);
    out.src = text;
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
    if (ports.empty()) continue;
    const Side& side = program_->sides()[rule.src];
    Merged::Source source{side.all, side.danger_all, !side.postures.empty(),
                          side.all ? ClassSet() : sides_[rule.src].identity, side.literals};
    FilterRule& out = merged.Ports(std::move(source), spec.protocol);
    if (!out.src) out.src = SourceText(rule.src);
    out.dst_ports.insert(out.dst_ports.end(), ports.begin(), ports.end());
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

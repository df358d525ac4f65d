// What a policy would change for the nodes of now: for people who are about to set it.
#include <algorithm>
#include <map>

#include "control/policy/policy_keeper.h"

namespace ringscale::control {
namespace {

using policy::ClassId;
using policy::Engine;

constexpr std::size_t kNames = 8;       // of nodes in one line
constexpr std::size_t kChanges = 6;     // lines below a node
constexpr std::size_t kExamined = 512;  // groups whose rules are compared

// Nodes that both policies treat alike.
struct Group {
  std::vector<const Node*> nodes;
  std::vector<std::string> lines;
};
// Class before, class after; 0 where there is no policy.
using GroupKey = std::pair<ClassId, ClassId>;
using Groups = std::map<GroupKey, Group>;

bool Sees(const Engine* engine, ClassId viewer, ClassId peer) {
  return engine == nullptr || engine->Visible(viewer).Has(peer);
}

std::string Names(const std::vector<const Node*>& nodes) {
  std::string out;
  for (std::size_t i = 0; i < nodes.size() && i < kNames; ++i) {
    out += (i > 0 ? ", " : "") + nodes[i]->row.given_name;
  }
  if (nodes.size() > kNames) out += " and " + std::to_string(nodes.size() - kNames) + " more";
  return out;
}

void AddPeers(std::string_view what, const std::vector<const Node*>& peers, Group& group) {
  if (peers.empty()) return;
  group.lines.push_back(std::string(what) + " " + std::to_string(peers.size()) +
                        (peers.size() == 1 ? " peer: " : " peers: ") + Names(peers));
}

// What may come in, a line for each rule.
std::vector<std::string> Incoming(const Engine* engine, NodeId id) {
  std::vector<std::string> out;
  if (engine == nullptr) return {"everything from everybody"};
  for (const auto& rule : engine->PacketFilter(id)) {
    std::string sources = rule.src->text;
    std::erase_if(sources, [](char c) { return c == '"' || c == '[' || c == ']'; });
    constexpr std::size_t kLongest = 60;
    if (sources.size() > kLongest) {
      // Whole addresses only.
      const auto comma = sources.rfind(',', kLongest);
      if (comma != std::string::npos) sources.replace(comma, std::string::npos, ",...");
    }
    std::string what;
    for (const auto& dst : rule.dst_ports) {
      std::string ports = dst.ports.all() ? "all ports" : std::to_string(dst.ports.first);
      if (!dst.ports.all() && dst.ports.last != dst.ports.first) {
        ports += "-" + std::to_string(dst.ports.last);
      }
      if (!what.contains(ports)) what += (what.empty() ? "" : ",") + ports;
    }
    if (rule.protocol) what += " (protocol " + std::to_string(*rule.protocol) + ")";
    for (const auto& grant : rule.cap_grants) {
      for (const auto& cap : grant.caps) what += (what.empty() ? "" : ",") + cap.name;
    }
    out.push_back(what + " from " + sources);
  }
  return out;
}

void AddDifference(const std::vector<std::string>& before, const std::vector<std::string>& after,
                   std::string_view what, Group& group) {
  std::size_t count = 0;
  const auto add = [&](std::string_view word, const std::vector<std::string>& from,
                       const std::vector<std::string>& other) {
    for (const auto& line : from) {
      if (std::ranges::find(other, line) != other.end()) continue;
      if (++count <= kChanges) {
        group.lines.push_back(std::string(word) + " " + std::string(what) + " " + line);
      }
    }
  };
  add("no longer", before, after);
  add("now", after, before);
  if (count > kChanges) {
    group.lines.push_back("and " + std::to_string(count - kChanges) + " more");
  }
}

std::vector<std::string> Attributes(const Engine* engine, NodeId id) {
  std::vector<std::string> out;
  if (engine == nullptr) return out;
  for (const auto& [name, value] : engine->Capabilities(id)) {
    out.push_back(value == "null" ? name : name + " " + value);
  }
  return out;
}

std::string SshRules(const Engine* engine, NodeId id) {
  return engine == nullptr ? R"({"rules":[]})" : engine->SshPolicy(id);
}

}  // namespace

std::vector<std::string> PolicyKeeper::Effects(const Candidate& candidate,
                                               std::size_t limit) const {
  const Engine* const before = index_.engine();
  const Engine* const after = candidate.engine.get();
  Groups groups;
  for (const auto& [id, node] : registry_.nodes()) {
    if (before != nullptr && before->Find(id) == nullptr) continue;
    const ClassId old_class = before == nullptr ? 0 : before->ClassOf(id);
    const ClassId new_class = after == nullptr ? 0 : after->ClassOf(id);
    groups[{old_class, new_class}].nodes.push_back(&node);
  }
  for (auto& [key, group] : groups) {
    std::vector<const Node*> gained;
    std::vector<const Node*> lost;
    for (const auto& [other_key, other] : groups) {
      const bool was = Sees(before, key.first, other_key.first);
      const bool is = Sees(after, key.second, other_key.second);
      if (was == is) continue;
      // A node alone in its group is no peer of itself.
      if (&other == &group && group.nodes.size() == 1) continue;
      auto& list = is ? gained : lost;
      list.insert(list.end(), other.nodes.begin(), other.nodes.end());
    }
    AddPeers("gains", gained, group);
    AddPeers("loses", lost, group);
  }
  std::size_t examined = 0;
  for (auto& [key, group] : groups) {
    if (++examined > kExamined) break;
    // All nodes of a group get the same rules.
    const NodeId id = group.nodes.front()->row.id;
    AddDifference(Incoming(before, id), Incoming(after, id), "lets in", group);
    AddDifference(Attributes(before, id), Attributes(after, id), "has", group);
    if (SshRules(before, id) != SshRules(after, id)) group.lines.emplace_back("other SSH rules");
  }

  std::vector<std::string> lines;
  std::size_t more = 0;
  for (const auto& [key, group] : groups) {
    if (group.lines.empty()) continue;
    if (lines.size() >= limit) {
      more += group.nodes.size();
      continue;
    }
    lines.push_back(Names(group.nodes) + ":");
    for (const auto& line : group.lines) lines.push_back("  " + line);
  }
  if (more > 0) lines.push_back("and " + std::to_string(more) + " more nodes");
  if (groups.size() > kExamined) {
    lines.emplace_back("the rules of some nodes were not compared: there are too many kinds");
  }
  const auto* const old_document = program_ ? &program_->document() : nullptr;
  const auto* const new_document = candidate.program ? &candidate.program->document() : nullptr;
  static const policy::Document kNone;
  const policy::Document& was = old_document == nullptr ? kNone : *old_document;
  const policy::Document& is = new_document == nullptr ? kNone : *new_document;
  if (was.derp_map != is.derp_map) lines.emplace_back("all nodes: other relays (derpMap)");
  if (was.extra_dns_records != is.extra_dns_records) {
    lines.emplace_back("all nodes: other DNS records (extraDNSRecords)");
  }
  return lines;
}

}  // namespace ringscale::control

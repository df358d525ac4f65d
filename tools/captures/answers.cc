#include "tools/captures/answers.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "control/policy/engine.h"
#include "control/policy/policy_tests.h"
#include "tools/captures/left_out.h"

namespace ringscale::captures {
namespace {

using control::NodeId;
using control::policy::AddressRange;
using control::policy::AddressSet;
using core::IpPrefix;
using core::json::Kind;
using core::json::Value;
namespace policy = control::policy;

std::string Text(const Value& value) {
  return std::string(value.AsString().value_or(""));
}

std::vector<std::string> Texts(const Value& array) {
  std::vector<std::string> out;
  array.Elements([&](const Value& item) {
    out.push_back(Text(item));
    return true;
  });
  return out;
}

std::vector<IpPrefix> Prefixes(const Value& array) {
  std::vector<IpPrefix> out;
  for (const auto& text : Texts(array)) {
    if (const auto prefix = IpPrefix::Parse(text)) out.push_back(*prefix);
  }
  std::ranges::sort(out);
  return out;
}

std::string Join(const std::string& name, std::vector<std::string> parts) {
  std::ranges::sort(parts);
  std::string out = name + "=";
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i > 0 ? "," : "") + parts[i];
  return out;
}

// JSON with the members of objects in order.
std::string Canonical(const Value& value) {
  std::string out;
  if (value.kind() == Kind::kArray) {
    value.Elements([&](const Value& item) {
      out += (out.empty() ? "" : ",") + Canonical(item);
      return true;
    });
    return "[" + out + "]";
  }
  if (value.kind() == Kind::kObject) {
    std::map<std::string, std::string> members;
    value.Members([&](std::string_view name, const Value& member) {
      members[std::string(name)] = Canonical(member);
      return true;
    });
    for (const auto& [name, text] : members) out += (out.empty() ? "" : ",") + name + ":" + text;
    return "{" + out + "}";
  }
  return value.Compact();
}

std::string CanonicalRange(const std::string& text) {
  if (text == "*") return text;
  if (const auto prefix = IpPrefix::Parse(text)) return AddressRange::Of(*prefix).text();
  const auto dash = text.find('-');
  const auto first = core::IpAddress::Parse(text.substr(0, dash));
  const auto last = core::IpAddress::Parse(dash == text.npos ? text : text.substr(dash + 1));
  if (!first || !last) return "not an address: " + text;
  return AddressRange{*first, *last}.text();
}

std::string Sources(const Value& array) {
  std::vector<AddressRange> ranges;
  std::vector<std::string> other;
  for (const auto& text : Texts(array)) {
    const std::string canonical = CanonicalRange(text);
    const auto dash = canonical.find('-');
    const auto prefix = IpPrefix::Parse(canonical);
    const auto first = core::IpAddress::Parse(canonical.substr(0, dash));
    const auto last =
        core::IpAddress::Parse(dash == canonical.npos ? canonical : canonical.substr(dash + 1));
    if (prefix) {
      ranges.push_back(AddressRange::Of(*prefix));
    } else if (first && last) {
      ranges.push_back({*first, *last});
    } else {
      other.push_back(canonical);
    }
  }
  const AddressSet set(std::move(ranges));
  for (const auto& range : set.ranges()) other.push_back(range.text());
  return Join("src", std::move(other));
}

std::string FilterLine(const Value& rule) {
  std::string line = "filter " + Sources(rule["SrcIPs"]);
  if (!rule["IPProto"].absent()) line += " proto=" + Canonical(rule["IPProto"]);
  std::vector<std::string> dsts;
  rule["DstPorts"].Elements([&](const Value& dst) {
    dsts.push_back(CanonicalRange(Text(dst["IP"])) + ":" +
                   std::to_string(dst["Ports"]["First"].AsInt().value_or(-1)) + "-" +
                   std::to_string(dst["Ports"]["Last"].AsInt().value_or(-1)));
    return true;
  });
  if (!dsts.empty()) line += " " + Join("dst", std::move(dsts));
  std::vector<std::string> caps;
  rule["CapGrant"].Elements([&](const Value& grant) {
    caps.push_back(Join("dsts", Texts(grant["Dsts"])) + Canonical(grant["CapMap"]));
    return true;
  });
  if (!caps.empty()) line += " " + Join("caps", std::move(caps));
  return line;
}

std::string SshLine(const Value& rule, std::size_t index) {
  std::set<std::string> principals;
  rule["principals"].Elements([&](const Value& principal) {
    principals.insert(Canonical(principal));
    return true;
  });
  std::string line = "ssh ";
  // Rules are tried in order.
  line += std::to_string(index) + " " + Join("from", {principals.begin(), principals.end()});
  line += " users=" + Canonical(rule["sshUsers"]) + " action=" + Canonical(rule["action"]);
  if (!rule["acceptEnv"].absent()) line += " env=" + Canonical(rule["acceptEnv"]);
  return line;
}

// Lines of a list of filter rules and of an SSH policy.
void AddRules(const Value& filter, const Value& ssh, std::vector<std::string>& lines) {
  filter.Elements([&](const Value& rule) {
    lines.push_back(FilterLine(rule));
    return true;
  });
  std::size_t index = 0;
  ssh["rules"].Elements([&](const Value& rule) {
    lines.push_back(SshLine(rule, index++));
    return true;
  });
}

struct NodeFacts {
  std::string head;  // "self", "peer name"
  std::vector<std::string> addresses;
  std::vector<IpPrefix> allowed;  // without the addresses
  std::vector<IpPrefix> primary;
  std::vector<std::string> tags;
  std::vector<std::string> capabilities;
};

class Case {
 public:
  explicit Case(const Value& recording) : recording_(recording) {}

  core::Result<Comparison> Run() {
    if (!recording_["policy"].is_object() && recording_["policy"].kind() != Kind::kString) {
      return core::Fail(core::ErrorCode::kInvalid, "not a recording: no policy");
    }
    out_.id = Text(recording_["id"]);
    out_.policy = recording_["policy"].is_object() ? recording_["policy"].Compact()
                                                   : Text(recording_["policy"]);
    ReadTopology();
    Expected();
    Got();
    for (auto* answers : {&out_.expected, &out_.got}) {
      for (auto& [name, lines] : answers->nodes) std::ranges::sort(lines);
    }
    return std::move(out_);
  }

 private:
  void ReadTopology() {
    recording_["topology"]["users"].Elements([&](const Value& user) {
      policy::PolicyUser& made = users_.emplace_back();
      made.id = user["id"].AsUint().value_or(0);
      made.name = Text(user["name"]);
      made.email = Text(user["email"]);
      return true;
    });
    recording_["topology"]["nodes"].Members([&](std::string_view name, const Value& node) {
      policy::PolicyNode& made = nodes_.emplace_back();
      made.id = nodes_.size();
      made.name = name;
      made.tags = Texts(node["tags"]);
      made.v4 = core::IpAddress::Parse(Text(node["ipv4"])).value_or(core::IpAddress{});
      made.v6 = core::IpAddress::Parse(Text(node["ipv6"])).value_or(core::IpAddress{});
      HideV6(made);
      announced_[made.id] = Prefixes(node["routable_ips"]);
      for (const auto& route : Prefixes(node["approved_routes"])) {
        if (std::ranges::binary_search(announced_[made.id], route)) made.routes.push_back(route);
      }
      const std::string owner = Text(node["user"]);
      for (auto& user : users_) {
        if (made.tagged() || user.name != owner) continue;
        made.user = user.id;
        // Roles are not in the topology; the service tells nodes.
        const Value caps = recording_["nodes"][name]["self"]["CapMap"];
        if (!caps["https://tailscale.com/cap/is-owner"].missing()) {
          user.role = policy::Role::kOwner;
        } else if (!caps["https://tailscale.com/cap/is-admin"].missing()) {
          user.role = policy::Role::kAdmin;
        }
      }
      return true;
    });
  }

  // The setting of the tailnet, which the service tells every node.
  [[nodiscard]] bool HttpsCertificates() const {
    bool all = true;
    bool any = false;
    recording_["nodes"].Members([&](std::string_view, const Value& node) {
      any = true;
      all = all && !node["self"]["CapMap"]["https"].missing();
      return true;
    });
    return any && all;
  }

  // Another address for the node while policies are tried.
  void HideV6(policy::PolicyNode& node) {
    if (!node.v6.valid()) return;
    const core::IpAddress recorded = node.v6;
    node.v6.bytes[8] ^= 0xff;
    node.v6.bytes[9] ^= 0xff;
    recorded_v6_[node.v6] = recorded;
  }
  core::IpAddress Recorded(const core::IpAddress& ip) const {
    const auto at = recorded_v6_.find(ip);
    return at == recorded_v6_.end() ? ip : at->second;
  }
  // The same for all addresses in a text.
  std::string Recorded(const std::string& text) const {
    static constexpr std::string_view kAddress = "0123456789abcdef:";
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const auto start = std::min(text.find_first_of(kAddress, at), text.size());
      const auto end = std::min(text.find_first_not_of(kAddress, start), text.size());
      const std::string word = text.substr(start, end - start);
      const auto ip = core::IpAddress::Parse(word);
      out += text.substr(at, start - at) + (ip && ip->is_v6() ? Recorded(*ip).text() : word);
      at = end;
    }
    return out;
  }

  void Expected() {
    Answers& out = out_.expected;
    out.status = static_cast<int>(recording_["status"].AsInt().value_or(200));
    out.message = Text(recording_["response"]["message"]);
  }

  // After the policy was accepted: the lines of the recording, without the
  // routes that were in the middle of being approved.
  void ExpectedNodes() {
    recording_["nodes"].Members([&](std::string_view name, const Value& node) {
      auto& lines = out_.expected.nodes[std::string(name)];
      AddRules(node["packet_filter_rules"], node["ssh_policy"], lines);
      lines.push_back(Line(RecordedFacts("self", node["self"])));
      node["peers"].Elements([&](const Value& peer) {
        lines.push_back(Line(RecordedFacts("peer " + Text(peer["ComputedName"]), peer)));
        return true;
      });
      return true;
    });
  }

  NodeFacts RecordedFacts(std::string head, const Value& node) {
    NodeFacts facts;
    facts.head = std::move(head);
    facts.addresses = Texts(node["Addresses"]);
    for (const auto& prefix : Prefixes(node["AllowedIPs"])) {
      if (std::ranges::find(facts.addresses, prefix.text()) == facts.addresses.end()) {
        facts.allowed.push_back(prefix);
      }
    }
    facts.primary = Prefixes(node["PrimaryRoutes"]);
    facts.tags = Texts(node["Tags"]);
    node["CapMap"].Members([&](std::string_view name, const Value& value) {
      if (!IsServiceCapability(name)) {
        facts.capabilities.push_back(std::string(name) + ":" + Canonical(value));
      }
      return true;
    });
    return facts;
  }

  std::string Line(NodeFacts facts) {
    const auto routes = [&](const std::vector<IpPrefix>& prefixes) {
      std::vector<std::string> out;
      for (const auto& prefix : prefixes) {
        if (!half_approved_.contains(prefix)) out.push_back(prefix.text());
      }
      return out;
    };
    std::string line = facts.head + " " + Join("addresses", std::move(facts.addresses));
    line += " " + Join("routes", routes(facts.allowed));
    line += " " + Join("primary", routes(facts.primary));
    line += " " + Join("tags", std::move(facts.tags));
    return line + " " + Join("caps", std::move(facts.capabilities));
  }

  void Refused(const policy::PolicyError& error) {
    out_.got.status = 400;
    out_.got.message = error.message;
    details_ = error.text();
  }

  void Got() {
    auto document = policy::ParseDocument(out_.policy);
    if (!document) return Refused(document.error());
    auto program = policy::Program::Compile(
        std::make_shared<const policy::Document>(std::move(*document)), users_);
    if (!program) return Refused(program.error());
    policy::Engine engine(*program, {.server_url = std::string(policy::kNoiseBaseUrl),
                                     .https_certificates = HttpsCertificates()});
    for (auto& node : nodes_) Approve(engine, node);
    for (const auto& node : nodes_) engine.Put(node);
    Elect(engine);
    if (auto failed = policy::RunPolicyTests(engine)) return Refused(*failed);
    if (out_.expected.status != 200) return;
    ExpectedNodes();
    for (const auto& node : nodes_) {
      if (out_.expected.nodes.contains(node.name)) GotNode(engine, node);
    }
  }

  void Approve(const policy::Engine& engine, policy::PolicyNode& node) {
    for (const auto& route : engine.program().AutoApproved(node, announced_[node.id])) {
      if (std::ranges::find(node.routes, route) != node.routes.end()) continue;
      node.routes.push_back(route);
      half_approved_.insert(route);
    }
  }

  void Elect(policy::Engine& engine) {
    std::map<IpPrefix, NodeId> primaries;
    for (const auto& node : nodes_) {
      for (const auto& route : node.routes) {
        if (route.IsDefaultRoute()) continue;
        const auto recorded = Prefixes(recording_["nodes"][node.name]["self"]["PrimaryRoutes"]);
        NodeId& holder = primaries[route];
        if (holder == 0 || std::ranges::binary_search(recorded, route)) holder = node.id;
      }
    }
    for (const auto& [route, id] : primaries) {
      engine.SetPrimary(route, id);
      held_[id].push_back(route);
    }
  }

  std::vector<std::string> Hosts(const std::vector<core::IpAddress>& ips) const {
    std::vector<std::string> out;
    out.reserve(ips.size());
    for (const auto& ip : ips) out.push_back(IpPrefix::Host(Recorded(ip)).text());
    return out;
  }

  void GotNode(const policy::Engine& engine, const policy::PolicyNode& node) {
    auto& lines = out_.got.nodes[node.name];
    std::string rules = "[";
    for (const auto& rule : engine.PacketFilter(node.id)) {
      rules += (rules.size() > 1 ? "," : "") + rule.Json();
    }
    rules += "]";
    core::json::Parser filter_parser;
    core::json::Parser ssh_parser;
    const auto filter = filter_parser.Parse(Recorded(rules), {std::size_t{1} << 26, 64});
    const auto ssh =
        ssh_parser.Parse(Recorded(engine.SshPolicy(node.id)), {std::size_t{1} << 26, 64});
    if (!filter || !ssh) {
      lines.emplace_back("our answer is not JSON");
      return;
    }
    AddRules(*filter, *ssh, lines);

    NodeFacts self;
    self.head = "self";
    self.addresses = Hosts(engine.AddressesShown(node.id, node.id));
    self.allowed = node.routes;
    self.primary = held_[node.id];
    self.tags = node.tags;
    for (const auto& [name, value] : engine.Capabilities(node.id)) {
      if (!IsServiceCapability(name)) self.capabilities.push_back(name + ":" + value);
    }
    lines.push_back(Line(std::move(self)));
    for (const auto& peer : nodes_) {
      if (!engine.Sees(node.id, peer.id)) continue;
      NodeFacts facts;
      facts.head = "peer " + peer.name;
      facts.addresses = Hosts(engine.AddressesShown(node.id, peer.id));
      auto routes = engine.RoutesOf(node.id, peer.id);
      facts.allowed = std::move(routes.allowed);
      facts.primary = std::move(routes.primary);
      facts.tags = peer.tags;
      if (std::ranges::any_of(facts.allowed, &IpPrefix::IsDefaultRoute)) {
        facts.capabilities.emplace_back("suggest-exit-node:null");
      }
      lines.push_back(Line(std::move(facts)));
    }
  }

  const Value& recording_;
  Comparison out_;
  std::string details_;
  std::vector<policy::PolicyUser> users_;
  std::vector<policy::PolicyNode> nodes_;
  std::map<NodeId, std::vector<IpPrefix>> announced_;
  std::map<NodeId, std::vector<IpPrefix>> held_;
  std::set<IpPrefix> half_approved_;
  std::map<core::IpAddress, core::IpAddress> recorded_v6_;
};

}  // namespace

bool Comparison::same() const {
  if (expected.status == 200 || got.status == 200) {
    return expected.status == got.status && expected.nodes == got.nodes;
  }
  return SameRefusal(expected.status, expected.message, got.message, policy);
}

core::Result<Comparison> Compare(const core::json::Value& recording) {
  return Case(recording).Run();
}

}  // namespace ringscale::captures

#include "control/policy/policy_tests.h"

#include <algorithm>
#include <limits>
#include <set>

#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

using Kind = Alias::Kind;

// Names that a test uses without the policy defining them.
std::optional<std::string> Undefined(const Document& document, const Alias& alias) {
  const bool missing = (alias.is(Kind::kTag) && !document.tag_owners.contains(alias.name)) ||
                       (alias.is(Kind::kGroup) && !document.groups.contains(alias.name)) ||
                       (alias.is(Kind::kHost) && !document.hosts.contains(alias.name)) ||
                       (alias.is(Kind::kIpSet) && !document.ip_sets.contains(alias.name));
  if (!missing) return std::nullopt;
  return Quoted(alias.name) + " is not defined in the policy";
}

bool ProtocolMatches(std::optional<std::uint8_t> rule, std::optional<std::uint8_t> wanted) {
  const auto either = [](std::uint8_t number) { return number == 6 || number == 17; };
  // A rule without a protocol is for TCP, UDP and ICMP, which tests do not name.
  if (!rule) return !wanted || either(*wanted);
  return wanted ? *rule == *wanted : either(*rule);
}

bool Overlap(const AddressSet& a, const AddressSet& b) {
  return std::ranges::any_of(a.ranges(),
                             [&](const AddressRange& range) { return b.Overlaps(range); });
}

class Tests {
 public:
  explicit Tests(Engine& engine) : engine_(engine), document_(engine.program().document()) {}

  std::optional<PolicyError> Run() {
    for (const auto& test : document_.tests) {
      RunTest(test);
      Dismiss();
    }
    for (const auto& test : document_.ssh_tests) {
      RunSshTest(test);
      Dismiss();
    }
    if (failed_.empty()) return std::nullopt;
    return PolicyError{at_, "test(s) failed", std::move(failed_)};
  }

 private:
  void Fail(Position at, std::string line) {
    if (failed_.empty()) at_ = at;
    failed_.push_back(std::move(line));
  }

  Read<Alias> Source(const std::string& text) {
    if (Trim(text).empty()) return std::unexpected(std::string("src must be specified"));
    auto alias = ReadAlias(text);
    if (!alias) return alias;
    if (auto missing = Undefined(document_, *alias)) return std::unexpected(std::move(*missing));
    return alias;
  }

  // A node for an alias that names people or a tag of which there are none.
  void StandIn(const Alias& alias) {
    PolicyNode node;
    if (alias.is(Kind::kTag)) {
      node.tags = {alias.name};
    } else {
      const auto& users = engine_.program().users();
      const auto user = std::ranges::find_if(users, [&](const PolicyUser& candidate) {
        return engine_.program().UserMatches(alias, candidate);
      });
      if (user == users.end()) return;
      node.user = user->id;
    }
    if (!NodesOf(alias).empty()) return;
    const auto number = static_cast<std::uint8_t>(stand_ins_.size() + 1);
    if (number == 0) return;
    node.id = std::numeric_limits<NodeId>::max() - number;
    node.name = alias.text();
    // Of the tailnet's range, where no address is given out.
    node.v6 = *core::IpAddress::Parse("fd7a:115c:a1e0:ffff::");
    node.v6.bytes[15] = number;
    engine_.Put(node);
    stand_ins_.push_back(node.id);
  }
  void Dismiss() {
    for (const NodeId id : stand_ins_) engine_.Remove(id);
    stand_ins_.clear();
  }

  // What a test's destination names: one host and one port.
  struct Target {
    AddressSet addresses;
    std::uint16_t port = 0;
  };
  Read<Target> ReadTarget(const std::string& text) {
    auto split = SplitHostPort(Trim(text));
    if (!split) return std::unexpected(std::move(split.error()));
    auto ports = ReadPorts(split->second);
    if (!ports) return std::unexpected(std::move(ports.error()));
    if (ports->size() != 1 || ports->front().first != ports->front().last) {
      return std::unexpected(std::string("test destination port must be a single port"));
    }
    auto alias = ReadAlias(split->first);
    if (!alias) return std::unexpected(std::move(alias.error()));
    if (auto missing = Undefined(document_, *alias)) return std::unexpected(std::move(*missing));
    if (alias->is(Kind::kAll) || alias->is(Kind::kIpSet) || alias->is(Kind::kService)) {
      return std::unexpected(std::string("test destination must be a single host"));
    }
    if (alias->is(Autogroup::kInternet) || alias->is(Autogroup::kSelf)) {
      return std::unexpected(alias->name + " not valid as a test destination");
    }
    StandIn(*alias);
    Target target{engine_.Resolve(*alias), ports->front().first};
    const bool named = alias->is(Kind::kAddress) || alias->is(Kind::kHost);
    if (split->first.contains('/') || (named && !(target.addresses.ranges().size() == 1 &&
                                                  target.addresses.ranges().front().single()))) {
      return std::unexpected(
          std::string("test destination must be a single host, not a CIDR range"));
    }
    if (target.addresses.empty()) {
      return std::unexpected("destination " + Quoted(alias->name) + " resolved to no IP addresses");
    }
    return target;
  }

  void RunTest(const PolicyTest& test) {
    const std::string name = "test " + std::to_string(test.index);
    if (test.accept.empty() && test.deny.empty()) {
      return Fail(test.at, name + ": test entry must have at least one of \"accept\" or \"deny\"");
    }
    auto source = Source(test.src);
    if (!source) return Fail(test.at, name + ": " + source.error());
    StandIn(*source);
    const auto src = engine_.Addresses(*source);
    if (src.empty()) {
      return Fail(test.at, name + ": source " + Quoted(test.src) + " resolved to no IP addresses");
    }
    auto protocol = ReadProtocol(test.proto);
    if (!protocol || !HasPorts(*protocol)) {
      return Fail(test.at,
                  name + ": test protocol must be tcp, udp, sctp, or empty: " + Quoted(test.proto));
    }
    for (const bool allow : {true, false}) {
      for (const auto& wanted : allow ? test.accept : test.deny) {
        auto target = ReadTarget(wanted.text);
        if (!target) {
          Fail(wanted.at, name + (allow ? ", accept " : ", deny ") + Quoted(wanted.text) + ": " +
                              target.error());
          continue;
        }
        // What must be possible must be so from everywhere; what must not be,
        // from nowhere.
        const Reach reach{src, target->addresses, target->port, *protocol, test.posture};
        if (Reaches(engine_, reach, !allow) == allow) continue;
        Fail(wanted.at,
             test.src + " -> " + wanted.text + (test.proto.empty() ? "" : " (" + test.proto + ")") +
                 (allow ? ": expected ALLOWED, got DENIED" : ": expected DENIED, got ALLOWED"));
      }
    }
  }

  // One of each class: what holds for it holds for all of them.
  std::vector<NodeId> NodesOf(const Alias& alias) {
    std::vector<NodeId> out;
    std::set<ClassId> seen;
    for (const auto& [id, node] : engine_.nodes()) {
      if (engine_.program().AliasMatches(alias, node) && seen.insert(engine_.ClassOf(id)).second) {
        out.push_back(id);
      }
    }
    return out;
  }

  std::vector<NodeId> SshTargets(const Alias& alias, NodeId src) {
    if (alias.is(Autogroup::kSelf)) {
      std::vector<NodeId> out;
      const PolicyNode& from = *engine_.Find(src);
      for (const auto& [id, node] : engine_.nodes()) {
        if (!from.tagged() && !node.tagged() && node.user == from.user) out.push_back(id);
      }
      return out;
    }
    return NodesOf(alias);
  }

  void RunSshTest(const SshTest& test) {
    const std::string name = "sshTest " + std::to_string(test.index);
    auto source = Source(test.src);
    if (!source) return Fail(test.at, name + ": " + source.error());
    if (test.accept.empty() && test.deny.empty() && test.check.empty()) {
      return Fail(test.at, name + ": no accept, deny, or check assertions specified");
    }
    StandIn(*source);
    for (const auto& dst : test.dst) StandIn(dst);
    const auto sources = NodesOf(*source);
    if (sources.empty()) {
      return Fail(test.at, name + ": source " + Quoted(test.src) + " resolved to no nodes");
    }
    for (const auto& dst : test.dst) {
      for (const NodeId src : sources) {
        const auto targets = SshTargets(dst, src);
        if (targets.empty()) {
          Fail(dst.at, name + ": dst alias " + Quoted(dst.name) + " resolved to no nodes");
          break;
        }
        for (const NodeId target : targets) SshAssertions(test, src, target);
      }
    }
  }

  void SshAssertions(const SshTest& test, NodeId src, NodeId dst) {
    using Answer = Engine::SshAnswer;
    const auto line = [&](const std::string& user, std::string_view wanted, Answer got) {
      std::string text = test.src + "/" + (user.empty() ? "\"\"" : user) + " -> " +
                         engine_.Find(dst)->name + ": expected " + std::string(wanted) + ", got ";
      text += got == Answer::kNo ? "DENIED" : "ALLOWED";
      if (got == Answer::kAccept && wanted.ends_with("check")) text += " via accept";
      Fail(test.at, std::move(text));
    };
    for (const auto& user : test.accept) {
      const auto got = engine_.SshAllows(src, dst, Trim(user), test.posture);
      if (got == Answer::kNo) line(user, "ALLOWED", got);
    }
    for (const auto& user : test.deny) {
      const auto got = engine_.SshAllows(src, dst, Trim(user), test.posture);
      if (got != Answer::kNo || user.empty()) line(user, "DENIED", got);
    }
    for (const auto& user : test.check) {
      const auto got = engine_.SshAllows(src, dst, Trim(user), test.posture);
      if (got != Answer::kCheck) line(user, "ALLOWED via check", got);
    }
  }

  Engine& engine_;
  const Document& document_;
  std::vector<NodeId> stand_ins_;
  Position at_;
  std::vector<std::string> failed_;
};

}  // namespace

bool Reaches(const Engine& engine, const Reach& reach, bool any_source) {
  const Program& program = engine.program();
  // Sources that some rule lets through.
  std::vector<AddressRange> through;
  for (const auto& rule : program.rules()) {
    if (!rule.via.empty()) continue;
    const bool matches = std::ranges::any_of(rule.grant->ip, [&](const IpSpec& spec) {
      if (!ProtocolMatches(spec.protocol, reach.protocol)) return false;
      return std::ranges::any_of(rule.dst, [&](const RuleDestination& dst) {
        if (dst.kind == RuleDestination::Kind::kSelf) return false;
        const auto& ports = rule.grant->acl ? dst.ports : spec.ports;
        if (std::ranges::none_of(ports, [&](const PortRange& range) {
              return range.first <= reach.port && reach.port <= range.last;
            })) {
          return false;
        }
        return dst.kind == RuleDestination::Kind::kAll ||
               Overlap(reach.dst, engine.Resolve(program.terms()[dst.term].alias));
      });
    });
    if (!matches) continue;
    if (program.sides()[rule.src].danger_all && program.SideFor(rule.src, reach.device)) {
      return true;
    }
    const auto ranges = engine.SideAddresses(rule.src, reach.device).ranges();
    through.insert(through.end(), ranges.begin(), ranges.end());
  }
  const AddressSet allowed(std::move(through));
  const auto passes = [&](const AddressRange& range) { return allowed.Overlaps(range); };
  return any_source ? std::ranges::any_of(reach.src, passes)
                    : std::ranges::all_of(reach.src, passes);
}

std::optional<PolicyError> RunPolicyTests(Engine& engine) {
  return Tests(engine).Run();
}

}  // namespace ringscale::control::policy

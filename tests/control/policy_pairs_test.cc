// The policy engine against an evaluator that goes through every pair of nodes
// and every rule, written from the language's description and sharing no code
// with the compiler. What the engine says is read as a client reads it: from the
// JSON that a node is sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "control/policy/engine.h"
#include "core/json/reader.h"
#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

using core::IpAddress;
using core::IpPrefix;

// ---- A policy and a tailnet as plain data ---------------------------------

struct PlainRule {
  bool acl = false;
  std::vector<std::string> src;
  std::vector<std::string> dst;        // without ports
  std::vector<std::string> dst_ports;  // of an ACL: one per destination
  std::string proto;                   // of an ACL
  std::vector<std::string> ip;         // of a grant
  std::vector<std::string> via;
};

struct PlainSsh {
  bool check = false;
  std::vector<std::string> src;
  std::vector<std::string> dst;
  std::vector<std::string> users;
};

struct World {
  std::vector<PolicyUser> users;
  std::vector<PolicyNode> nodes;
  std::map<std::string, std::vector<std::string>> groups;
  std::map<std::string, std::string> hosts;
  std::vector<PlainRule> rules;
  std::vector<PlainSsh> ssh;
};

const std::vector<std::string> kTags = {"tag:a", "tag:b", "tag:c"};
const std::vector<std::string> kRoutes = {"10.1.0.0/16", "10.1.2.0/24", "192.168.7.0/24"};

std::string Quote(const std::string& text) {
  return "\"" + text + "\"";
}

std::string List(const std::vector<std::string>& items) {
  std::string out = "[";
  for (std::size_t i = 0; i < items.size(); ++i) out += (i > 0 ? "," : "") + Quote(items[i]);
  return out + "]";
}

std::string PolicyText(const World& world) {
  std::string out = "{\"groups\":{";
  for (const auto& [name, members] : world.groups) {
    out += (out.ends_with('{') ? "" : ",") + Quote(name) + ":" + List(members);
  }
  out += "},\"hosts\":{";
  for (const auto& [name, address] : world.hosts) {
    out += (out.ends_with('{') ? "" : ",") + Quote(name) + ":" + Quote(address);
  }
  out += "},\"tagOwners\":{\"tag:a\":[],\"tag:b\":[],\"tag:c\":[]},";
  std::string acls;
  std::string grants;
  for (const auto& rule : world.rules) {
    if (rule.acl) {
      std::vector<std::string> dst;
      for (std::size_t i = 0; i < rule.dst.size(); ++i) {
        const bool v6 = rule.dst[i].starts_with("fd7a");
        dst.push_back((v6 ? "[" + rule.dst[i] + "]" : rule.dst[i]) + ":" + rule.dst_ports[i]);
      }
      acls += (acls.empty() ? "" : ",") +
              ("{\"action\":\"accept\",\"proto\":" + Quote(rule.proto)) +
              ",\"src\":" + List(rule.src) + ",\"dst\":" + List(dst) + "}";
    } else {
      grants += (grants.empty() ? "" : ",") + ("{\"src\":" + List(rule.src)) +
                ",\"dst\":" + List(rule.dst) + ",\"ip\":" + List(rule.ip) +
                ",\"via\":" + List(rule.via) + "}";
    }
  }
  out += "\"acls\":[" + acls + "],\"grants\":[" + grants + "],\"ssh\":[";
  for (const auto& rule : world.ssh) {
    out += (out.ends_with('[') ? "" : ",") +
           ("{\"action\":" + Quote(rule.check ? "check" : "accept")) +
           ",\"src\":" + List(rule.src) + ",\"dst\":" + List(rule.dst) +
           ",\"users\":" + List(rule.users) + "}";
  }
  return out + "]}";
}

// ---- Chance ----------------------------------------------------------------

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::size_t Below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(engine_);
  }
  bool Chance(int percent) { return Below(100) < static_cast<std::size_t>(percent); }
  template <class T>
  const T& Of(const std::vector<T>& list) {
    return list[Below(list.size())];
  }

 private:
  std::mt19937_64 engine_;
};

PolicyNode RandomNode(Dice& dice, NodeId id) {
  PolicyNode node;
  node.id = id;
  node.name = "node" + std::to_string(id);
  node.v4 = *IpAddress::Parse("100.64.0." + std::to_string(id));
  node.v6 = *IpAddress::Parse("fd7a:115c:a1e0::" + std::to_string(id));
  if (dice.Chance(45)) {
    for (const auto& tag : kTags) {
      if (dice.Chance(45)) node.tags.push_back(tag);
    }
  }
  if (!node.tagged()) node.user = 1 + dice.Below(3);
  if (dice.Chance(35)) {
    for (const auto& route : kRoutes) {
      if (dice.Chance(40)) node.routes.push_back(*IpPrefix::Parse(route));
    }
  }
  if (dice.Chance(15)) {
    node.routes.push_back(*IpPrefix::Parse("0.0.0.0/0"));
    node.routes.push_back(*IpPrefix::Parse("::/0"));
  }
  return node;
}

std::vector<std::string> Some(Dice& dice, const std::vector<std::string>& from) {
  std::vector<std::string> out = {dice.Of(from)};
  while (dice.Chance(35)) out.push_back(dice.Of(from));
  return out;
}

void RandomRules(Dice& dice, World& world) {
  static const std::vector<std::string> kPeople = {
      "ann@x.org", "bob", "cat@y.org", "group:g", "group:h", "autogroup:member", "user:*@x.org"};
  static const std::vector<std::string> kSources = {
      "ann@x.org",      "bob@",        "cat@y.org",        "group:g",          "group:h",
      "tag:a",          "tag:b",       "autogroup:member", "autogroup:tagged", "*",
      "100.64.0.3",     "10.1.0.0/16", "office",           "user:*@x.org",     "fd7a:115c:a1e0::4",
      "autogroup:owner"};
  static const std::vector<std::string> kDestinations = {"ann@x.org",
                                                         "group:g",
                                                         "tag:a",
                                                         "tag:c",
                                                         "autogroup:member",
                                                         "autogroup:tagged",
                                                         "*",
                                                         "100.64.0.2",
                                                         "10.1.2.0/24",
                                                         "office",
                                                         "autogroup:internet",
                                                         "8.8.8.0/24",
                                                         "fd7a:115c:a1e0::5"};
  static const std::vector<std::string> kPorts = {"*", "22", "80-443", "22,443", "5000-6000"};
  static const std::vector<std::string> kIp = {"*", "22", "tcp:80-443", "udp:*", "tcp:22", "gre:*"};
  world.rules.clear();
  const std::size_t count = 1 + dice.Below(5);
  for (std::size_t i = 0; i < count; ++i) {
    PlainRule& rule = world.rules.emplace_back();
    rule.acl = dice.Chance(50);
    if (dice.Chance(20)) {
      for (const auto& person : Some(dice, kPeople)) {
        rule.src.push_back(person == "bob" ? "bob@" : person);
      }
      rule.dst = {"autogroup:self"};
      if (dice.Chance(30)) rule.dst.push_back(dice.Of(kDestinations));
    } else {
      rule.src = Some(dice, kSources);
      rule.dst = Some(dice, kDestinations);
    }
    if (rule.acl) {
      rule.proto = dice.Of(std::vector<std::string>{"", "", "tcp", "udp"});
      for (std::size_t j = 0; j < rule.dst.size(); ++j) rule.dst_ports.push_back(dice.Of(kPorts));
    } else {
      rule.ip = Some(dice, kIp);
      const bool self = std::ranges::find(rule.dst, "autogroup:self") != rule.dst.end();
      if (!self && dice.Chance(25)) rule.via = Some(dice, {"tag:a", "tag:b"});
    }
  }
  world.ssh.clear();
  for (std::size_t i = dice.Below(4); i > 0; --i) {
    PlainSsh& rule = world.ssh.emplace_back();
    rule.check = dice.Chance(40);
    const bool self = dice.Chance(40);
    static const std::vector<std::string> kFrom = {"ann@x.org", "group:g", "autogroup:member",
                                                   "user:*@x.org"};
    static const std::vector<std::string> kTo = {"tag:a", "tag:b", "autogroup:tagged"};
    static const std::vector<std::string> kLogins = {"root", "autogroup:nonroot", "ubuntu",
                                                     "localpart:*@x.org"};
    rule.src = Some(dice, kFrom);
    if (!self && dice.Chance(30)) rule.src.push_back("tag:c");
    rule.dst = self ? std::vector<std::string>{"autogroup:self"} : Some(dice, kTo);
    rule.users = Some(dice, kLogins);
  }
}

World RandomWorld(Dice& dice) {
  World world;
  world.users = {{1, "ann", "ann@x.org", "", Role::kOwner},
                 {2, "bob", "bob@x.org", "", Role::kMember},
                 {3, "cat", "cat@y.org", "", Role::kMember}};
  world.groups = {{"group:g", {"ann@x.org", "cat@y.org"}}, {"group:h", {"bob@"}}};
  world.hosts = {{"office", "192.168.7.0/24"}};
  const std::size_t count = 3 + dice.Below(6);
  for (std::size_t i = 1; i <= count; ++i) world.nodes.push_back(RandomNode(dice, i));
  RandomRules(dice, world);
  return world;
}

// ---- The plain evaluator ----------------------------------------------------

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

bool Serves(const PolicyNode& node, const IpAddress& ip) {
  return std::ranges::any_of(node.routes, [&](const IpPrefix& route) {
    return !route.IsDefaultRoute() && route.Contains(ip);
  });
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

struct Flow {
  const PolicyNode& from;
  IpAddress src;
  const PolicyNode& to;
  IpAddress dst;
};

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

// Whether some rule lets something at or behind `from` speak to something at or
// behind `to`.
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

// no, accept or check, for a login.
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

// ---- What a client makes of the engine's answers ----------------------------

bool TextContains(const std::string& text, const IpAddress& ip) {
  if (text == "*") return true;
  if (const auto prefix = IpPrefix::Parse(text)) return prefix->Contains(ip);
  const auto dash = text.find('-');
  const auto first = IpAddress::Parse(text.substr(0, dash));
  const auto last = dash == std::string::npos ? first : IpAddress::Parse(text.substr(dash + 1));
  EXPECT_TRUE(first && last) << text;
  return first && last && ip.family == first->family && *first <= ip && ip <= *last;
}

class Client {
 public:
  Client(const Engine& engine, NodeId id) {
    std::string text = "[";
    for (const auto& rule : engine.PacketFilter(id)) {
      text += (text.size() > 1 ? "," : "") + rule.Json();
    }
    text += "]";
    auto filter = filter_parser_.Parse(text);
    auto ssh = ssh_parser_.Parse(engine.SshPolicy(id));
    EXPECT_TRUE(filter && ssh) << text;
    if (!filter || !ssh) return;
    filter->Elements([&](const core::json::Value& value) {
      Rule& rule = rules_.emplace_back();
      value["SrcIPs"].Elements([&](const core::json::Value& src) {
        rule.src.emplace_back(*src.AsString());
        return true;
      });
      value["IPProto"].Elements([&](const core::json::Value& number) {
        rule.protocols.insert(static_cast<int>(*number.AsInt()));
        return true;
      });
      if (rule.protocols.empty()) rule.protocols = {6, 17, 1, 58};
      value["DstPorts"].Elements([&](const core::json::Value& dst) {
        rule.dst.push_back({std::string(*dst["IP"].AsString()),
                            static_cast<int>(*dst["Ports"]["First"].AsInt()),
                            static_cast<int>(*dst["Ports"]["Last"].AsInt())});
        return true;
      });
      return true;
    });
    ssh_ = *ssh;
  }

  [[nodiscard]] bool Accepts(const IpAddress& src, const IpAddress& dst, int protocol,
                             int port) const {
    return std::ranges::any_of(rules_, [&](const Rule& rule) {
      if (!rule.protocols.contains(protocol)) return false;
      if (std::ranges::none_of(rule.src,
                               [&](const auto& text) { return TextContains(text, src); })) {
        return false;
      }
      return std::ranges::any_of(rule.dst, [&](const Dst& entry) {
        const bool ports = protocol == 47 ? entry.first == 0 && entry.last == 65535
                                          : entry.first <= port && port <= entry.last;
        return ports && TextContains(entry.ip, dst);
      });
    });
  }

  // The first rule that matches counts.
  [[nodiscard]] std::string LogIn(const PolicyNode& from, const std::string& user) const {
    std::string answer = "no";
    ssh_["rules"].Elements([&](const core::json::Value& rule) {
      bool principal = false;
      rule["principals"].Elements([&](const core::json::Value& value) {
        principal = principal || value["nodeIP"].AsString() == from.v4.text();
        return true;
      });
      if (!principal) return true;
      std::string local;
      if (const auto exact = rule["sshUsers"][user].AsString()) {
        local = *exact;
      } else if (const auto any = rule["sshUsers"]["*"].AsString()) {
        local = *any == "=" ? (user == "root" ? "" : user) : std::string(*any);
      }
      if (local.empty()) return true;
      EXPECT_EQ(local, user);
      answer = rule["action"]["accept"].AsBool().value_or(false) ? "accept" : "check";
      return false;
    });
    return answer;
  }

 private:
  struct Dst {
    std::string ip;
    int first;
    int last;
  };
  struct Rule {
    std::vector<std::string> src;
    std::set<int> protocols;
    std::vector<Dst> dst;
  };
  core::json::Parser filter_parser_;
  core::json::Parser ssh_parser_;
  std::vector<Rule> rules_;
  core::json::Value ssh_;
};

std::vector<IpAddress> AddressesAt(const PolicyNode& node, bool destination) {
  std::vector<IpAddress> out = {node.v4, node.v6};
  for (const char* text : {"10.1.9.9", "10.1.2.3", "192.168.7.7"}) {
    const IpAddress ip = *IpAddress::Parse(text);
    if (Serves(node, ip)) out.push_back(ip);
  }
  if (destination && node.IsExitNode()) {
    out.push_back(*IpAddress::Parse("8.8.8.8"));
    out.push_back(*IpAddress::Parse("1.1.1.1"));
  }
  return out;
}

std::unique_ptr<Engine> Compile(const World& world) {
  auto document = ParseDocument(PolicyText(world));
  EXPECT_TRUE(document) << document.error().text() << "\n" << PolicyText(world);
  if (!document) return nullptr;
  auto program =
      Program::Compile(std::make_shared<const Document>(std::move(*document)), world.users);
  EXPECT_TRUE(program) << program.error().text();
  if (!program) return nullptr;
  return std::make_unique<Engine>(*program, EngineSettings{"https://x", false});
}

void ExpectAgreement(const World& world, const Engine& engine) {
  std::map<NodeId, Client> clients;
  for (const auto& node : world.nodes) clients.try_emplace(node.id, engine, node.id);
  struct Traffic {
    int protocol;
    int port;
  };
  static constexpr Traffic kTraffic[] = {{6, 22}, {6, 100}, {17, 443}, {17, 5500}, {47, 0}};
  for (const auto& from : world.nodes) {
    for (const auto& to : world.nodes) {
      const bool visible = MaySpeak(world, from, to) || MaySpeak(world, to, from);
      if (from.id != to.id) {
        ASSERT_EQ(engine.Sees(from.id, to.id), visible) << from.name << " sees " << to.name << "\n"
                                                        << PolicyText(world);
      }
      for (const auto& src : AddressesAt(from, false)) {
        for (const auto& dst : AddressesAt(to, true)) {
          for (const auto [protocol, port] : kTraffic) {
            const bool allowed = Allowed(world, {from, src, to, dst}, protocol, port);
            ASSERT_EQ(clients.at(to.id).Accepts(src, dst, protocol, port), allowed)
                << from.name << " " << src.text() << " -> " << to.name << " " << dst.text() << " "
                << protocol << ":" << port << "\n"
                << PolicyText(world);
            // Who may speak is seen.
            ASSERT_TRUE(visible || !allowed);
          }
        }
      }
      for (const std::string user : {"root", "ubuntu", "ann", "other"}) {
        const std::string wanted = MayLogIn(world, from, to, user);
        ASSERT_EQ(clients.at(to.id).LogIn(from, user), wanted)
            << from.name << " -> " << user << "@" << to.name << "\n"
            << PolicyText(world);
        using Answer = Engine::SshAnswer;
        const Answer answer = engine.SshAllows(from.id, to.id, user);
        ASSERT_EQ(answer == Answer::kNo      ? "no"
                  : answer == Answer::kCheck ? "check"
                                             : "accept",
                  wanted);
      }
    }
  }
}

// The sources behind several routers of one prefix are the same addresses, so a
// filter cannot tell who sent: such a source counts when any of them may.
void ShareSources(World& world) {
  for (const char* text : {"10.1.0.0/16", "10.1.2.0/24", "192.168.7.0/24"}) {
    bool taken = false;
    const IpPrefix prefix = *IpPrefix::Parse(text);
    for (auto& node : world.nodes) {
      const auto at = std::ranges::find(node.routes, prefix);
      if (at == node.routes.end()) continue;
      if (taken) node.routes.erase(at);
      taken = true;
    }
  }
}

int Cases(int fallback) {
  const char* const wanted = std::getenv("RINGSCALE_POLICY_CASES");
  return wanted == nullptr ? fallback : std::atoi(wanted);
}

TEST(PolicyPairs, EngineAndPlainEvaluatorAgree) {
  const int cases = Cases(1000);
  for (int seed = 0; seed < cases && !HasFatalFailure(); ++seed) {
    Dice dice(static_cast<std::uint64_t>(seed));
    World world = RandomWorld(dice);
    ShareSources(world);
    const auto engine = Compile(world);
    ASSERT_TRUE(engine);
    for (const auto& node : world.nodes) engine->Put(node);
    SCOPED_TRACE("seed " + std::to_string(seed));
    ExpectAgreement(world, *engine);
  }
}

// Everything that an engine says, as text.
std::string Everything(const Engine& engine) {
  std::string out;
  for (const auto& [id, node] : engine.nodes()) {
    out += node.name + "\n";
    for (const auto& rule : engine.PacketFilter(id)) out += rule.Json() + "\n";
    out += engine.SshPolicy(id) + "\n";
    for (const auto& [name, value] : engine.Capabilities(id)) out += name + value;
    for (const auto& [peer, unused] : engine.nodes()) {
      if (!engine.Sees(id, peer)) continue;
      out += "sees " + std::to_string(peer);
      for (const auto& route : engine.RoutesOf(id, peer).allowed) out += " " + route.text();
      out += "\n";
    }
  }
  return out;
}

TEST(PolicyPairs, IndexAfterChangesEqualsFreshCompile) {
  const int cases = Cases(150);
  for (int seed = 0; seed < cases && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Dice dice(static_cast<std::uint64_t>(seed) + 1'000'000);
    World world = RandomWorld(dice);
    auto engine = Compile(world);
    ASSERT_TRUE(engine);
    for (const auto& node : world.nodes) engine->Put(node);
    for (int step = 0; step < 6; ++step) {
      if (dice.Chance(10)) {
        // Another policy: the nodes are put into a new index.
        RandomRules(dice, world);
        engine = Compile(world);
        for (const auto& node : world.nodes) engine->Put(node);
      }
      const NodeId id = 1 + dice.Below(9);
      const auto at = std::ranges::find(world.nodes, id, &PolicyNode::id);
      const std::map<NodeId, std::string> before = [&] {
        std::map<NodeId, std::string> filters;
        for (const auto& node : world.nodes) {
          for (const auto& rule : engine->PacketFilter(node.id)) filters[node.id] += rule.Json();
        }
        return filters;
      }();
      Affected affected;
      if (at != world.nodes.end() && dice.Chance(30)) {
        affected = engine->Remove(id);
        world.nodes.erase(at);
      } else {
        const PolicyNode node = RandomNode(dice, id);
        affected = engine->Put(node);
        if (at != world.nodes.end()) {
          *at = node;
        } else {
          world.nodes.push_back(node);
        }
      }
      // Whoever is not named has the filter of before.
      for (const auto& node : world.nodes) {
        if (node.id == id || affected.filters.Has(engine->ClassOf(node.id))) continue;
        std::string now;
        for (const auto& rule : engine->PacketFilter(node.id)) now += rule.Json();
        ASSERT_EQ(now, before.contains(node.id) ? before.at(node.id) : "") << node.name << "\n"
                                                                           << PolicyText(world);
      }
      const auto fresh = Compile(world);
      for (const auto& node : world.nodes) fresh->Put(node);
      ASSERT_EQ(Everything(*engine), Everything(*fresh)) << PolicyText(world);
    }
  }
}

}  // namespace
}  // namespace ringscale::control::policy

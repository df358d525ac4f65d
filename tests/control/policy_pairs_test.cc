// The policy engine against a plain evaluator. What the engine says is read as a
// client reads it: from the JSON that a node is sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "control/policy/engine.h"
#include "core/json/reader.h"
#include "tests/control/policy_evaluator.h"
#include "tests/control/policy_world.h"

namespace ringscale::control::policy::plain {
namespace {

using core::IpAddress;
using core::IpPrefix;

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
  for (const auto& user : engine.program().users()) {
    out += "devices of " + user.name;
    for (const NodeId id : engine.DevicesOf(user.id)) out += " " + std::to_string(id);
    out += "\n";
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
}  // namespace ringscale::control::policy::plain

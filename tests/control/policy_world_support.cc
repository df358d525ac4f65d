#include <algorithm>

#include "tests/control/policy_world.h"

namespace ringscale::control::policy::plain {
namespace {

using core::IpAddress;
using core::IpPrefix;

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

std::vector<std::string> Some(Dice& dice, const std::vector<std::string>& from) {
  std::vector<std::string> out = {dice.Of(from)};
  while (dice.Chance(35)) out.push_back(dice.Of(from));
  return out;
}

}  // namespace

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

}  // namespace ringscale::control::policy::plain

// A policy and a tailnet as plain data, and how chance makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "control/policy/engine.h"

namespace ringscale::control::policy::plain {

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

// As the policy language has it.
std::string PolicyText(const World& world);

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

PolicyNode RandomNode(Dice& dice, NodeId id);
// In place of those that are there.
void RandomRules(Dice& dice, World& world);
World RandomWorld(Dice& dice);

}  // namespace ringscale::control::policy::plain

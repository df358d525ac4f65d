// A small tailnet for tests of the policy engine.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/engine.h"
#include "control/policy/policy_tests.h"

namespace ringscale::control::policy {

inline std::vector<PolicyUser> TestUsers() {
  return {{1, "alice", "alice@example.com", "", Role::kOwner},
          {2, "bob", "bob@example.com", "", Role::kMember},
          {3, "carol", "carol@example.org", "", Role::kAdmin}};
}

// Nodes 1 and 2: alice; 3: bob; 4: tag:db; 5: tag:router with 10.1.0.0/16;
// 6: tag:exit, an exit node; 7: carol.
inline std::vector<PolicyNode> TestNodes() {
  const auto node = [](NodeId id, UserId user, std::vector<std::string> tags,
                       std::vector<std::string_view> routes) {
    PolicyNode made;
    made.id = id;
    made.user = user;
    made.tags = std::move(tags);
    made.name = "n" + std::to_string(id);
    made.v4 = *core::IpAddress::Parse("100.64.0." + std::to_string(id * 10));
    made.v6 = *core::IpAddress::Parse("fd7a:115c:a1e0::" + std::to_string(id * 10));
    for (const auto route : routes) made.routes.push_back(*core::IpPrefix::Parse(route));
    return made;
  };
  auto nodes = std::vector<PolicyNode>{
      node(1, 1, {}, {}),
      node(2, 1, {}, {}),
      node(3, 2, {}, {}),
      node(4, 0, {"tag:db"}, {}),
      node(5, 0, {"tag:router"}, {"10.1.0.0/16"}),
      node(6, 0, {"tag:exit"}, {"0.0.0.0/0", "::/0"}),
      node(7, 3, {}, {}),
  };
  nodes[0].os = "linux";
  nodes[0].client_version = "1.80.0";
  nodes[1].os = "macOS";
  nodes[1].client_version = "1.9.0";
  return nodes;
}

// Section text is put beside tags, groups and hosts that all tests share.
inline std::string TestPolicy(std::string_view sections) {
  return R"({"tagOwners":{"tag:db":["alice@"],"tag:router":[],"tag:exit":["tag:db"]},
"groups":{"group:dev":["alice@example.com","bob@"],"group:none":[]},
"hosts":{"office":"10.1.2.0/24","dbhost":"100.64.0.40"},
)" + std::string(sections) +
         "}";
}

struct Loaded {
  std::unique_ptr<Engine> engine;
  std::string error;  // where there is no engine
};

inline Loaded Load(const std::string& policy) {
  auto document = ParseDocument(policy);
  if (!document) return {nullptr, document.error().text()};
  auto program =
      Program::Compile(std::make_shared<const Document>(std::move(*document)), TestUsers());
  if (!program) return {nullptr, program.error().text()};
  auto engine = std::make_unique<Engine>(*program, EngineSettings{"https://hs.example", false});
  for (const auto& node : TestNodes()) engine->Put(node);
  engine->SetPrimary(*core::IpPrefix::Parse("10.1.0.0/16"), 5);
  return {std::move(engine), ""};
}

inline std::string FilterText(const Engine& engine, NodeId id) {
  std::string out;
  for (const auto& rule : engine.PacketFilter(id)) out += (out.empty() ? "" : ",") + rule.Json();
  return out;
}

inline std::string SeenBy(const Engine& engine, NodeId id) {
  std::string out;
  for (const auto& [peer, node] : engine.nodes()) {
    if (engine.Sees(id, peer)) out += (out.empty() ? "" : " ") + std::to_string(peer);
  }
  return out;
}

}  // namespace ringscale::control::policy

// Any bytes as a policy for a small tailnet: an error with words in it, or
// answers that are JSON and, with another node, those of a fresh index.
#include <cstdlib>
#include <memory>
#include <string>

#include "control/policy/engine.h"
#include "control/policy/policy_tests.h"
#include "core/base/bytes.h"
#include "core/json/reader.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;
using namespace ringscale::control::policy;

PolicyNode MakeNode(control::NodeId id) {
  PolicyNode node;
  node.id = id;
  node.v4 = *core::IpAddress::Parse("100.64.0." + std::to_string(id));
  node.v6 = *core::IpAddress::Parse("fd7a:115c:a1e0::" + std::to_string(id));
  if (id % 2 == 0) node.tags = {id % 4 == 0 ? "tag:a" : "tag:b"};
  if (id % 2 != 0) node.user = 1 + id % 3;
  if (id == 2) node.routes = {*core::IpPrefix::Parse("10.0.0.0/8")};
  if (id == 4) node.routes = {*core::IpPrefix::Parse("0.0.0.0/0"), *core::IpPrefix::Parse("::/0")};
  return node;
}

std::string Answers(const Engine& engine) {
  std::string out = "[null";
  for (const auto& [id, node] : engine.nodes()) {
    for (const auto& rule : engine.PacketFilter(id)) out += "," + rule.Json();
    out += "," + engine.SshPolicy(id);
    for (const auto& [peer, unused] : engine.nodes()) {
      if (!engine.Sees(id, peer)) continue;
      if (!engine.Sees(peer, id)) std::abort();
      out += "," + std::to_string(engine.RoutesOf(id, peer).allowed.size());
    }
  }
  return out + "]";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto document = ParseDocument(core::AsText({data, size}));
  if (!document) {
    if (document.error().message.empty()) std::abort();
    return 0;
  }
  auto program =
      Program::Compile(std::make_shared<const Document>(std::move(*document)),
                       {{1, "a", "a@x.org", "", Role::kOwner}, {2, "b", "b@x.org", "", {}}});
  if (!program) {
    if (program.error().message.empty()) std::abort();
    return 0;
  }
  Engine engine(*program, {"https://x", false});
  Engine fresh(*program, {"https://x", false});
  for (control::NodeId id = 1; id <= 6; ++id) engine.Put(MakeNode(id));
  static_cast<void>(Answers(engine));
  engine.Remove(2);
  engine.Remove(3);
  for (const control::NodeId id : {1, 4, 5, 6}) fresh.Put(MakeNode(id));
  const std::string answers = Answers(engine);
  if (answers != Answers(fresh)) std::abort();
  core::json::Parser parser;
  if (!parser.Parse(answers, {std::size_t{1} << 26, 1000})) std::abort();
  if (const auto failed = RunPolicyTests(engine); failed && failed->details.empty()) std::abort();
  ringscale::fuzz::Accepted();
  return 0;
}

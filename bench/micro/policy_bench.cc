// One node's answers from the policy engine, under the sample policy.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/lib/sample_policy.h"
#include "control/policy/engine.h"

namespace ringscale::bench {
namespace {

using control::NodeId;
using control::policy::Engine;
using control::policy::PolicyNode;
using control::policy::PolicyUser;
using control::policy::Program;

std::vector<PolicyUser> Users(const SamplePolicyShape& shape) {
  std::vector<PolicyUser> users;
  for (std::size_t i = 1; i <= shape.users; ++i) {
    users.push_back({.id = i, .name = "user" + std::to_string(i), .email = {}, .provider = {}});
  }
  return users;
}

PolicyNode NodeOf(const SamplePolicyShape& shape, std::size_t number) {
  const SampleNode sample = SampleNodeOf(shape, number);
  PolicyNode node;
  node.id = number + 1;
  node.v4 = core::IpAddress::V4(static_cast<std::uint32_t>(0x64400001U + number));
  if (sample.tag.empty()) {
    node.user = sample.user;
  } else {
    node.tags = {sample.tag};
  }
  if (!sample.route.empty()) node.routes = {*core::IpPrefix::Parse(sample.route)};
  return node;
}

std::shared_ptr<const Program> Compile(const SamplePolicyShape& shape, const std::string& text) {
  auto document = control::policy::ParseDocument(text);
  if (!document) return nullptr;
  auto program = Program::Compile(
      std::make_shared<const control::policy::Document>(std::move(*document)), Users(shape));
  return program ? *program : nullptr;
}

// From the text to a program, without nodes.
void CompilePolicy(benchmark::State& state) {
  const SamplePolicyShape shape;
  const std::string text = SamplePolicy(shape);
  for (auto _ : state) {
    const auto program = Compile(shape, text);
    if (!program) return state.SkipWithError("the policy is wrong");
    benchmark::DoNotOptimize(program.get());
  }
}
BENCHMARK(CompilePolicy)->Unit(benchmark::kMillisecond);

void ParsePolicy(benchmark::State& state) {
  const std::string text = SamplePolicy({});
  for (auto _ : state) benchmark::DoNotOptimize(control::policy::ParseDocument(text).has_value());
}
BENCHMARK(ParsePolicy)->Unit(benchmark::kMillisecond);

void FilterOfOneNode(benchmark::State& state) {
  const SamplePolicyShape shape;
  const auto nodes = static_cast<std::size_t>(state.range(0));
  const auto program = Compile(shape, SamplePolicy(shape));
  if (!program) return state.SkipWithError("the policy is wrong");
  Engine engine(program, {});
  for (std::size_t i = 0; i < nodes; ++i) engine.Put(NodeOf(shape, i));
  NodeId id = 1;
  for (auto _ : state) {
    std::size_t bytes = 0;
    for (const auto& rule : engine.PacketFilter(id)) bytes += rule.Rest().size();
    benchmark::DoNotOptimize(bytes);
    id = id % nodes + 1;
  }
}
BENCHMARK(FilterOfOneNode)->Arg(1000)->Arg(10000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ringscale::bench

// The policy engine at the size of a large tailnet: 300 users, 100 groups, 100
// tags, 1,000 rules with autogroup:self and via.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "control/policy/engine.h"

namespace ringscale::control::policy {
namespace {

constexpr std::size_t kUsers = 300;
constexpr std::size_t kGroups = 100;
constexpr std::size_t kTags = 100;
constexpr std::size_t kRules = 1000;

std::string Name(const char* kind, std::size_t number) {
  return kind + std::to_string(number);
}

std::string Policy() {
  std::string groups;
  for (std::size_t i = 0; i < kGroups; ++i) {
    groups += (i > 0 ? ",\"" : "\"") + Name("group:g", i) + "\":[";
    for (std::size_t j = 0; j < 6; ++j) {
      groups += (j > 0 ? ",\"" : "\"") + Name("u", (i * 7 + j * 13) % kUsers) + "@\"";
    }
    groups += "]";
  }
  std::string tags;
  for (std::size_t i = 0; i < kTags; ++i) {
    tags += (i > 0 ? ",\"" : "\"") + Name("tag:t", i) + "\":[]";
  }
  std::string grants;
  for (std::size_t i = 0; i < kRules; ++i) {
    const std::string group = "\"" + Name("group:g", i % kGroups) + "\"";
    const std::string tag = "\"" + Name("tag:t", (i * 3) % kTags) + "\"";
    grants += i > 0 ? "," : "";
    if (i % 100 == 0) {
      grants += R"({"src":["autogroup:member"],"dst":["autogroup:self"],"ip":["*"]})";
    } else if (i % 50 == 1) {
      grants += "{\"src\":[" + group + "],\"dst\":[\"10." + std::to_string(i % 200) +
                ".0.0/16\"],\"ip\":[\"443\"],\"via\":[" + tag + "]}";
    } else if (i % 3 == 0) {
      grants += "{\"src\":[" + tag + "],\"dst\":[\"" + Name("tag:t", (i * 7 + 1) % kTags) +
                "\"],\"ip\":[\"tcp:" + std::to_string(1000 + i) + "\"]}";
    } else {
      grants += "{\"src\":[" + group + "],\"dst\":[" + tag +
                "],\"ip\":[\"tcp:" + std::to_string(1000 + i) + "\"]}";
    }
  }
  return "{\"groups\":{" + groups + "},\"tagOwners\":{" + tags + "},\"grants\":[" + grants + "]}";
}

std::vector<PolicyUser> Users() {
  std::vector<PolicyUser> users;
  for (std::size_t i = 0; i < kUsers; ++i) {
    users.push_back({i + 1, Name("u", i), Name("u", i) + "@example.com", "", Role::kMember});
  }
  return users;
}

PolicyNode MakeNode(std::size_t i) {
  PolicyNode node;
  node.id = i + 1;
  node.v4 = core::IpAddress::V4(static_cast<std::uint32_t>(0x64400001U + i));
  node.v6 = *core::IpAddress::Parse("fd7a:115c:a1e0::");
  node.v6.bytes[14] = static_cast<std::uint8_t>(i >> 8);
  node.v6.bytes[15] = static_cast<std::uint8_t>(i);
  if (i % 3 == 0) {
    node.tags = {Name("tag:t", i / 3 % kTags)};
  } else {
    node.user = 1 + i % kUsers;
  }
  if (i % 100 == 0) {
    node.routes = {*core::IpPrefix::Parse("10." + std::to_string(i / 100 % 200) + ".0.0/16")};
  }
  return node;
}

std::shared_ptr<const Program> Compile(const std::string& text) {
  auto document = ParseDocument(text);
  if (!document) return nullptr;
  auto program = Program::Compile(std::make_shared<const Document>(std::move(*document)), Users());
  return program ? *program : nullptr;
}

std::unique_ptr<Engine> Fill(const std::shared_ptr<const Program>& program, std::size_t nodes) {
  auto engine = std::make_unique<Engine>(program, EngineSettings{});
  for (std::size_t i = 0; i < nodes; ++i) engine->Put(MakeNode(i));
  return engine;
}

void FullCompile(benchmark::State& state) {
  const std::string text = Policy();
  std::size_t bytes = 0;
  for (auto _ : state) {
    const auto program = Compile(text);
    if (!program) return state.SkipWithError("the policy is wrong");
    const auto engine = Fill(program, static_cast<std::size_t>(state.range(0)));
    for (const auto& [id, node] : engine->nodes()) {
      benchmark::DoNotOptimize(engine->Visible(engine->ClassOf(id)).empty());
    }
    bytes = engine->MemoryUse();
  }
  state.counters["index_MB"] = static_cast<double>(bytes) / 1e6;
}
BENCHMARK(FullCompile)->Arg(1000)->Arg(3000)->Arg(10000)->Unit(benchmark::kMillisecond);

void OneNodeAdded(benchmark::State& state) {
  const auto program = Compile(Policy());
  const auto nodes = static_cast<std::size_t>(state.range(0));
  const auto engine = Fill(program, nodes);
  PolicyNode node = MakeNode(nodes + 7);
  for (auto _ : state) {
    engine->Put(node);
    state.PauseTiming();
    engine->Remove(node.id);
    state.ResumeTiming();
  }
}
BENCHMARK(OneNodeAdded)->Arg(1000)->Arg(3000)->Arg(10000)->Unit(benchmark::kMicrosecond);

void OneNodesTagsChanged(benchmark::State& state) {
  const auto program = Compile(Policy());
  const auto engine = Fill(program, static_cast<std::size_t>(state.range(0)));
  PolicyNode node = MakeNode(3);
  std::size_t turn = 0;
  for (auto _ : state) {
    node.tags = {Name("tag:t", turn++ % kTags)};
    engine->Put(node);
  }
}
BENCHMARK(OneNodesTagsChanged)->Arg(1000)->Arg(10000)->Unit(benchmark::kMicrosecond);

void FilterOfOneNode(benchmark::State& state) {
  const auto program = Compile(Policy());
  const auto engine = Fill(program, static_cast<std::size_t>(state.range(0)));
  NodeId id = 1;
  for (auto _ : state) {
    std::size_t bytes = 0;
    for (const auto& rule : engine->PacketFilter(id)) bytes += rule.Json().size();
    benchmark::DoNotOptimize(bytes);
    id = id % static_cast<NodeId>(state.range(0)) + 1;
  }
}
BENCHMARK(FilterOfOneNode)->Arg(1000)->Arg(10000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ringscale::control::policy

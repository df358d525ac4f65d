// Map rendering and fan-out: JSON of a node, blocks, full maps for 10,000 nodes, a
// change told to 10,000 streams; with bytes per peer and per change.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "bench/lib/drain.h"
#include "bench/lib/sample_tailnet.h"
#include "control/map/encoder.h"
#include "control/map/map_service_impl.h"
#include "control/policy/allow_all.h"
#include "control/wire/node_json.h"
#include "core/engine/manual_loop.h"
#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

using control::Change;
using control::MapServiceImpl;
using control::Node;
using control::NodeId;

struct NoWaker final : core::http::BodyWaker {
  void Wake() override {}
};

constexpr std::size_t kNodes = 10'000;

struct Server {
  explicit Server(std::size_t nodes) : tailnet(nodes), service(loop, tailnet, policy, {}) {
    control::DerpMap derp;
    derp.embedded.emplace();
    service.SetDerp(derp);
    service.SetDns({});
    service.Load();
  }
  std::unique_ptr<control::MapStream> Open(NodeId id) {
    return service.Open(id, tailnet.Request(id), "192.0.2.1:8080", false, waker);
  }
  void ChangeEndpoint(NodeId id) {
    Node& node = tailnet.At(id);
    node.endpoints.front().address.port = static_cast<std::uint16_t>(1024 + tailnet.Draw(64000));
    service.OnChange({.kind = Change::Kind::kNodePatched,
                      .id = id,
                      .fields = Change::kEndpoints,
                      .node = &node});
  }
  core::engine::ManualLoop loop{kSampleNow};
  SampleTailnet tailnet;
  control::AllowAllPolicy policy;
  NoWaker waker;
  MapServiceImpl service;
};

void BM_JsonWriterString(benchmark::State& state) {
  const std::string text = "nodekey:0123456789abcdef0123456789abcdef0123456789abcdef01234567";
  std::string out;
  for (auto _ : state) {
    out.clear();
    core::json::Writer json(out);
    json.BeginObject().Field("Key", text).Field("Online", true).Field("ID", 12345).EndObject();
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * out.size()));
}
BENCHMARK(BM_JsonWriterString);

void BM_RenderPeer(benchmark::State& state) {
  SampleTailnet tailnet(100);
  std::string out;
  NodeId id = 0;
  std::size_t bytes = 0;
  for (auto _ : state) {
    out.clear();
    control::AppendPeer(out, tailnet.At(1 + id++ % 100), {"tailnet.internal", {}});
    bytes += out.size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.counters["bytes_per_peer"] = static_cast<double>(bytes) / static_cast<double>(id);
}
BENCHMARK(BM_RenderPeer);

// Arguments: peers per block, zstd level.
void BM_CompressBlock(benchmark::State& state) {
  const auto peers = static_cast<std::size_t>(state.range(0));
  SampleTailnet tailnet(peers);
  std::string text;
  for (NodeId id = 1; id <= peers; ++id) {
    text += ',';
    control::AppendPeer(text, tailnet.At(id), {"tailnet.internal", {}});
  }
  control::Encoder encoder(static_cast<int>(state.range(1)));
  std::string out;
  for (auto _ : state) {
    out.clear();
    encoder.Append(control::Encoding::kZstd, text, out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
  state.counters["bytes_per_peer"] = static_cast<double>(out.size()) / static_cast<double>(peers);
}
BENCHMARK(BM_CompressBlock)->ArgsProduct({{1, 16, 64, 128, 512}, {1, 3}})->Args({128, 9});

// A full map for one of 10,000 nodes, taken to its last byte.
void BM_FullMap(benchmark::State& state) {
  Server server(kNodes);
  Drain(*server.Open(1));  // makes the blocks
  std::size_t bytes = 0;
  std::size_t maps = 0;
  for (auto _ : state) {
    const auto stream = server.Open(1 + server.tailnet.Draw(kNodes));
    bytes += Drain(*stream);
    ++maps;
  }
  state.counters["bytes_per_peer"] =
      static_cast<double>(bytes) / static_cast<double>(maps) / (kNodes - 1);
}
BENCHMARK(BM_FullMap)->Iterations(2000)->Unit(benchmark::kMicrosecond);

// The same while between any two maps `range` nodes change.
void BM_FullMapInStorm(benchmark::State& state) {
  Server server(kNodes);
  Drain(*server.Open(1));
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      server.ChangeEndpoint(1 + server.tailnet.Draw(kNodes));
    }
    const auto stream = server.Open(1 + server.tailnet.Draw(kNodes));
    benchmark::DoNotOptimize(Drain(*stream));
  }
}
BENCHMARK(BM_FullMapInStorm)->Arg(1)->Arg(4)->Iterations(2000)->Unit(benchmark::kMicrosecond);

// One endpoint change told to 10,000 streams: change, tick, every pull.
void BM_ChangeToAll(benchmark::State& state) {
  Server server(kNodes);
  std::vector<std::unique_ptr<control::MapStream>> streams;
  for (NodeId id = 1; id <= kNodes; ++id) {
    streams.push_back(server.Open(id));
    Drain(*streams.back());
  }
  std::size_t bytes = 0;
  std::size_t changes = 0;
  for (auto _ : state) {
    server.ChangeEndpoint(1 + server.tailnet.Draw(kNodes));
    server.loop.Advance(core::Millis(10));
    for (const auto& stream : streams) bytes += Drain(*stream);
    ++changes;
  }
  state.counters["bytes_per_stream"] =
      static_cast<double>(bytes) / static_cast<double>(changes) / (kNodes - 1);
}
BENCHMARK(BM_ChangeToAll)->Unit(benchmark::kMicrosecond);

// `range` new nodes in one tick told to 10,000 streams.
void BM_ReplacedToAll(benchmark::State& state) {
  Server server(kNodes);
  std::vector<std::unique_ptr<control::MapStream>> streams;
  for (NodeId id = 1; id <= kNodes; ++id) {
    streams.push_back(server.Open(id));
    Drain(*streams.back());
  }
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      const NodeId id = 1 + server.tailnet.Draw(kNodes);
      server.service.OnChange(
          {.kind = Change::Kind::kNodeReplaced, .id = id, .node = &server.tailnet.At(id)});
    }
    server.loop.Advance(core::Millis(10));
    for (const auto& stream : streams) benchmark::DoNotOptimize(Drain(*stream));
  }
}
BENCHMARK(BM_ReplacedToAll)->Arg(1)->Arg(300)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ringscale::bench

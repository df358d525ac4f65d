// Map rendering and fan-out: JSON of a node, blocks, full maps for 10,000 nodes, a
// change told to 10,000 streams; with bytes per peer and per change.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "control/map/encoder.h"
#include "control/map/map_service_impl.h"
#include "control/policy/allow_all.h"
#include "control/wire/node_json.h"
#include "core/json/writer.h"

namespace ringscale::bench {
namespace {

using control::Change;
using control::MapServiceImpl;
using control::Node;
using control::NodeId;

// A loop whose time stands still until the benchmark runs its timers.
class ManualLoop final : public core::engine::Loop {
 public:
  [[nodiscard]] core::Instant Now() const override { return now_; }
  [[nodiscard]] core::WallTime Wall() const override { return {1'800'000'000'000'000'000}; }
  core::engine::StreamId Attach(core::Fd, core::engine::StreamHandler&) override { return {}; }
  void Send(core::engine::StreamId, std::string) override {}
  void Send(core::engine::StreamId, core::SliceList) override {}
  [[nodiscard]] std::size_t QueuedBytes(core::engine::StreamId) const override { return 0; }
  void PauseReceive(core::engine::StreamId) override {}
  void ResumeReceive(core::engine::StreamId) override {}
  core::Result<core::Fd> Detach(core::engine::StreamId) override { return core::Fd(); }
  void Close(core::engine::StreamId) override {}
  void CloseAfterFlush(core::engine::StreamId, core::Duration) override {}
  void Listen(int, AcceptFn) override {}
  void StopListening(int) override {}
  core::engine::TimerId After(core::Duration delay, Task task) override {
    timers_.emplace(std::pair(now_ + delay, ++next_), std::move(task));
    return {next_};
  }
  void CancelTimer(core::engine::TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer.value; });
  }
  [[nodiscard]] bool Post(Task) override { return false; }
  void Stop() override {}
  void Run() override {}

  void Advance(core::Duration by) {
    const core::Instant end = now_ + by;
    while (!timers_.empty() && timers_.begin()->first.first <= end) {
      auto timer = timers_.extract(timers_.begin());
      now_ = std::max(now_, timer.key().first);
      timer.mapped()();
    }
    now_ = end;
  }

 private:
  core::Instant now_{1'000'000'000};
  std::uint64_t next_ = 0;
  std::map<std::pair<core::Instant, std::uint64_t>, Task> timers_;
};

// Nodes as a mixed tailnet has them: random keys, ports and times, few users.
class Tailnet final : public control::MapSource {
 public:
  explicit Tailnet(std::size_t nodes) {
    for (std::uint64_t id = 1; id <= 50; ++id) {
      users_[id] = {.id = id, .name = "user" + std::to_string(id)};
    }
    nodes_.reserve(nodes);
    for (NodeId id = 1; id <= nodes; ++id) nodes_.push_back(Make(id));
  }
  Node& At(NodeId id) { return nodes_[id - 1]; }
  void EachNode(const std::function<void(const Node&)>& visit) const override {
    for (const Node& node : nodes_) visit(node);
  }
  [[nodiscard]] const Node* FindNode(NodeId id) const override {
    return id == 0 || id > nodes_.size() ? nullptr : &nodes_[id - 1];
  }
  [[nodiscard]] const storage::UserRow* FindUser(control::UserId id) const override {
    const auto found = users_.find(id);
    return found == users_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::vector<core::IpPrefix> PrimaryRoutes(NodeId) const override { return {}; }
  [[nodiscard]] control::MapRequest Request(NodeId id) {
    control::MapRequest request;
    request.version = 142;
    request.zstd = true;
    request.keep_alive = true;
    request.stream = true;
    request.node_key = At(id).row.node_key;
    return request;
  }
  std::uint32_t Draw(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }

 private:
  template <class Key>
  Key RandomKey() {
    Key key;
    for (auto& byte : key.raw) byte = static_cast<std::uint8_t>(Draw(256));
    return key;
  }
  core::WallTime RandomTime() { return {(1'750'000'000LL + Draw(30'000'000)) * 1'000'000'000LL}; }
  Node Make(NodeId id) {
    constexpr const char* kNames[] = {"laptop", "web", "db", "build", "phone", "desktop", "nas"};
    constexpr const char* kSystems[] = {"linux", "linux", "windows", "macOS", "iOS"};
    constexpr std::uint32_t kVersions[] = {113, 131, 142};
    constexpr char kAlphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    Node node;
    node.row.id = id;
    node.row.stable_id = "n";
    for (int i = 0; i < 11; ++i) node.row.stable_id += kAlphabet[Draw(62)];
    node.row.machine_key = RandomKey<core::MachinePublic>();
    node.row.node_key = RandomKey<core::NodePublic>();
    node.row.disco_key = RandomKey<core::DiscoPublic>();
    node.row.user_id = 1 + Draw(50);
    node.row.hostname = std::string(kNames[Draw(7)]) + "-" + std::to_string(Draw(5000));
    node.row.given_name = node.row.hostname;
    node.row.ipv4 = core::IpAddress::V4(static_cast<std::uint32_t>(0x64400000U + id));
    node.row.ipv6 = *core::IpAddress::Parse("fd7a:115c:a1e0::");
    node.row.ipv6.bytes[14] = static_cast<std::uint8_t>(id >> 8);
    node.row.ipv6.bytes[15] = static_cast<std::uint8_t>(id);
    node.row.created = RandomTime();
    node.row.last_seen = RandomTime();
    node.row.expiry = RandomTime();
    node.row.capability_version = kVersions[Draw(3)];
    node.home_derp = 900;
    node.online = Draw(5) != 0;
    node.peer_hostinfo = std::string(R"({"OS":")") + kSystems[Draw(5)] + R"(","Hostname":")" +
                         node.row.hostname + R"(","Services":[{"Proto":"peerapi4","Port":)" +
                         std::to_string(1024 + Draw(64000)) + R"(},{"Proto":"peerapi6","Port":)" +
                         std::to_string(1024 + Draw(64000)) + "}]}";
    node.endpoints.push_back(
        {{core::IpAddress::V4(0x05000000U + Draw(0x70000000U)), RandomPort()}, 2});
    node.endpoints.push_back({{core::IpAddress::V4(0xC0A80000U + Draw(0x0400U)), 41641}, 1});
    return node;
  }
  std::uint16_t RandomPort() { return static_cast<std::uint16_t>(1024 + Draw(64000)); }

  std::mt19937 random_{7};
  std::map<control::UserId, storage::UserRow> users_;
  std::vector<Node> nodes_;
};

struct NoWaker final : core::http::BodyWaker {
  void Wake() override {}
};

std::size_t Drain(core::http::BodySource& stream) {
  std::size_t bytes = 0;
  core::SliceList slices;
  while (stream.Pull(16384, slices) == core::http::BodySource::Status::kMore) {
    for (const core::SharedSlice& slice : slices) bytes += slice.bytes.size();
    slices.clear();
  }
  return bytes;
}

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
  ManualLoop loop;
  Tailnet tailnet;
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
  Tailnet tailnet(100);
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
  Tailnet tailnet(peers);
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

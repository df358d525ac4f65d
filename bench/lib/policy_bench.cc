#include "bench/lib/policy_bench.h"

#include <fmt/format.h>
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <utility>

#include "bench/lib/drain.h"
#include "bench/lib/process_stats.h"
#include "bench/lib/sample_tailnet.h"
#include "control/map/map_service_impl.h"
#include "control/map/policy_relay.h"
#include "core/engine/manual_loop.h"

namespace ringscale::bench {
namespace {

using control::Change;
using control::Node;
using control::NodeId;

constexpr std::size_t kRepeats = 100;

// Streams that have something for their clients.
struct Waker final : core::http::BodyWaker {
  void Wake() override { woken->push_back(number); }
  std::vector<std::size_t>* woken = nullptr;
  std::size_t number = 0;
};

double CpuMillis(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
  };
  const double before = now();
  work();
  return now() - before;
}

std::size_t HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// A tailnet under the sample policy, with an open stream for each node.
class Server {
 public:
  Server(const SamplePolicyShape& shape, std::size_t nodes)
      : shape_(shape), tailnet_(nodes, shape.users), maps_(loop_, tailnet_, policy_, {}) {
    for (std::size_t i = 0; i < nodes; ++i) Describe(tailnet_.At(i + 1), i);
    tailnet_.ElectPrimaries();
    maps_.Load();
  }

  void Describe(Node& node, std::size_t number) const {
    const SampleNode sample = SampleNodeOf(shape_, number);
    node.row.user_id = sample.user;
    node.online = true;
    node.row.tags.clear();
    if (!sample.tag.empty()) node.row.tags.push_back(sample.tag);
    if (sample.route.empty()) return;
    node.announced_routes = {*core::IpPrefix::Parse(sample.route)};
    node.row.approved_routes = node.announced_routes;
  }

  // Everything from the text to the index.
  core::Result<> Use(const std::string& text) {
    auto document = control::policy::ParseDocument(text);
    if (!document) return core::Fail(core::ErrorCode::kInvalid, document.error().text());
    std::vector<control::policy::PolicyUser> users;
    for (const auto& [id, row] : tailnet_.users()) {
      users.push_back(control::PolicyUserOf(row, users.empty()));
    }
    auto program = control::policy::Program::Compile(
        std::make_shared<const control::policy::Document>(std::move(*document)), std::move(users));
    if (!program) return core::Fail(core::ErrorCode::kInvalid, program.error().text());
    policy_.Use(std::move(*program), {.server_url = "https://unused", .https_certificates = false});
    return {};
  }

  void OpenStreams() {
    wakers_.resize(tailnet_.size());
    for (NodeId id = 1; id <= tailnet_.size(); ++id) {
      Waker& waker = wakers_[id - 1];
      waker.woken = &woken_;
      waker.number = id - 1;
      streams_.push_back(maps_.Open(id, tailnet_.Request(id), "192.0.2.1:8080", false, waker));
      Drain(*streams_.back());
    }
    Tell();
  }

  struct Told {
    std::size_t streams = 0;
    std::size_t bytes = 0;
  };
  // What the streams have for their clients now.
  Told Tell() {
    Told told;
    loop_.Advance(core::Millis(20));
    // A stream that gives up its place for a large message wakes another one.
    while (!woken_.empty()) {
      for (const std::size_t number : std::exchange(woken_, {})) {
        const std::size_t bytes = Drain(*streams_[number]);
        told.streams += bytes > 0 ? 1 : 0;
        told.bytes += bytes;
      }
    }
    return told;
  }

  // A digest of all that each node should know of the policy.
  [[nodiscard]] std::vector<std::size_t> Answers() const {
    std::vector<std::size_t> out;
    const std::hash<std::string> hash;
    tailnet_.EachNode([&](const Node& node) {
      std::string text = *policy_.SshPolicy(node);
      for (const auto& entry : policy_.PacketFilter(node)) {
        for (const auto& rule : entry.rules) text += std::to_string(rule.src->digest) + rule.rest;
      }
      const auto* engine = policy_.engine();
      std::size_t seen = 0;
      engine->Visible(engine->ClassOf(node.row.id)).Each([&](control::policy::ClassId id) {
        for (const NodeId peer : engine->Members(id)) seen += hash(std::to_string(peer));
      });
      out.push_back(hash(text) ^ seen);
    });
    return out;
  }

  SampleTailnet& tailnet() { return tailnet_; }
  control::PolicyIndex& policy() { return policy_; }
  control::PolicyRelay& relay() { return relay_; }

 private:
  const SamplePolicyShape shape_;
  core::engine::ManualLoop loop_{kSampleNow};
  SampleTailnet tailnet_;
  control::PolicyIndex policy_{
      [this](const auto& visit) { tailnet_.EachNode(visit); },
      [this](const core::IpPrefix& prefix) { return tailnet_.PrimaryOf(prefix); }};
  control::MapServiceImpl maps_;
  control::PolicyRelay relay_{policy_, tailnet_, maps_};
  std::vector<std::size_t> woken_;
  std::vector<Waker> wakers_;
  std::vector<std::unique_ptr<control::MapStream>> streams_;
};

void Print(std::size_t nodes, std::string_view what, const std::string& figure) {
  std::printf("%6zu nodes  %-38s %s\n", nodes, std::string(what).c_str(), figure.c_str());
}

std::string MedianAndMost(const std::vector<double>& millis) {
  return fmt::format("{:.3f} ms of CPU, at most {:.3f}", Percentile(millis, 0.5),
                     Percentile(millis, 1));
}

// A change of the policy from its text to the last byte for a client.
core::Result<> MeasureChange(Server& server, std::string_view what, const std::string& text) {
  const auto before = server.Answers();
  core::Result<> done;
  Server::Told told;
  const double used = CpuMillis([&] { done = server.Use(text); });
  if (!done) return done;
  const double telling = CpuMillis([&] {
    server.relay().PolicyChanged();
    told = server.Tell();
  });
  const auto after = server.Answers();
  std::size_t concerned = 0;
  for (std::size_t i = 0; i < after.size(); ++i) concerned += before[i] != after[i] ? 1 : 0;
  Print(after.size(), what,
        fmt::format("{:.1f} ms of CPU ({:.1f} compiling, {:.1f} telling), {} told, {} concerned, "
                    "{} bytes each; 5 ms + 50 µs each = {:.1f} ms",
                    used + telling, used, telling, told.streams, concerned,
                    told.bytes / std::max<std::size_t>(told.streams, 1),
                    5 + 0.05 * static_cast<double>(told.streams)));
  return {};
}

core::Result<> Measure(const SamplePolicyShape& shape, std::size_t nodes) {
  Server server(shape, nodes);
  const std::string text = SamplePolicy(shape);
  core::Result<> done;

  const std::size_t heap = HeapBytes();
  const double compiled = CpuMillis([&] {
    done = server.Use(text);
    if (!done) return;
    server.tailnet().EachNode([&](const Node& node) {
      static_cast<void>(server.policy().Visible(server.policy().ClassOfViewer(node)));
    });
  });
  if (!done) return done;
  Print(nodes, "full compile, who sees whom included",
        fmt::format("{:.1f} ms of CPU, {} classes", compiled,
                    server.policy().engine()->class_count()));
  static_cast<void>(server.Answers());  // makes what is made when first asked for
  Print(nodes, "index", fmt::format("{:.1f} MB", static_cast<double>(HeapBytes() - heap) / 1e6));

  std::vector<double> changed;
  std::vector<double> added;
  for (std::size_t i = 0; i < kRepeats; ++i) {
    Node& node = server.tailnet().At(1 + i * 7 % nodes);
    const auto tags = std::exchange(node.row.tags, {fmt::format("tag:t{}", i % shape.tags)});
    const Change change{.kind = Change::Kind::kNodeReplaced, .id = node.row.id, .node = &node};
    changed.push_back(CpuMillis([&] { server.policy().OnChange(change); }));
    node.row.tags = tags;
    server.policy().OnChange(change);
    const Change removed{.kind = Change::Kind::kNodeRemoved, .id = node.row.id, .node = &node};
    server.policy().OnChange(removed);
    const Change back{.kind = Change::Kind::kNodeAdded, .id = node.row.id, .node = &node};
    added.push_back(CpuMillis([&] { server.policy().OnChange(back); }));
  }
  Print(nodes, "one node added", MedianAndMost(added));
  Print(nodes, "one node's tags changed", MedianAndMost(changed));

  server.relay().PolicyChanged();
  std::printf("%6zu nodes  all streams open: ", nodes);
  const double opened = CpuMillis([&] { server.OpenStreams(); });
  std::printf("%.1f ms of CPU\n", opened);

  if (auto told = MeasureChange(server, "one group member more",
                                SamplePolicy(shape, {.guest = 5, .other_port = {}}));
      !told) {
    return told;
  }
  if (auto told = MeasureChange(server, "and less again", text); !told) return told;
  if (auto told = MeasureChange(server, "another port in one rule",
                                SamplePolicy(shape, {.guest = {}, .other_port = 4}));
      !told) {
    return told;
  }
  if (auto told = MeasureChange(server, "everybody may reach everybody",
                                R"({"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}]})");
      !told) {
    return told;
  }
  return MeasureChange(server, "the policy again", text);
}

}  // namespace

core::Result<> RunPolicyBench(const PolicyBenchOptions& options) {
  if (!options.write.empty()) {
    std::ofstream out(options.write);
    out << SamplePolicy(options.shape);
    if (!out.flush()) {
      return core::Fail(core::ErrorCode::kIo, "cannot write " + options.write);
    }
    return {};
  }
  for (const std::size_t nodes : options.nodes) {
    if (auto done = Measure(options.shape, nodes); !done) return done;
  }
  return {};
}

}  // namespace ringscale::bench

// kill -9 at random points of a registration load: what was acknowledged is there
// afterwards, no address is given twice, and no client was told of a node that
// then did not exist.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bench/lib/control_node.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

using bench::ControlNode;
using bench::NodeIdentity;

std::string Decompress(std::string_view message) {
  std::string text;
  std::string piece(1 << 16, '\0');
  ZSTD_DStream* stream = ZSTD_createDStream();
  ZSTD_inBuffer in{message.data(), message.size(), 0};
  while (in.pos < in.size) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    if (ZSTD_isError(ZSTD_decompressStream(stream, &out, &in)) != 0) break;
    text.append(piece.data(), out.pos);
  }
  ZSTD_freeDStream(stream);
  return text;
}

// Node keys of the peers that a map message names.
void CollectPeers(std::string_view message, std::set<std::string>& keys) {
  simdjson::dom::parser parser;
  const std::string text = Decompress(message);
  simdjson::dom::element root;
  ASSERT_EQ(parser.parse(text).get(root), simdjson::SUCCESS) << text.substr(0, 200);
  for (const char* member : {"Peers", "PeersChanged"}) {
    simdjson::dom::array peers;
    if (root[member].get(peers) != simdjson::SUCCESS) continue;
    for (auto peer : peers) {
      std::string_view key;
      if (peer["Key"].get(key) == simdjson::SUCCESS) keys.emplace(key);
    }
  }
}

struct Attempt {
  std::unique_ptr<ControlNode> node;
  std::string auth_key;
  bool single_use = false;
  bool acknowledged = false;
};

class KillNine : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/ringscale-kill-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    server_ = std::make_unique<ServerProcess>(folder_);
    core::engine::LoopOptions options;
    options.name = "kill-test";
    auto loop = core::engine::CreateLoop(options);
    ASSERT_TRUE(loop) << loop.error().message;
    loop_ = std::move(*loop);
  }
  void TearDown() override {
    attempts_.clear();
    watcher_.reset();
    server_.reset();
    if (!HasFailure()) {
      [[maybe_unused]] const int status = std::system(("rm -rf " + folder_).c_str());
    }
  }

  // Keeps the machine key, takes a new node key: as a client does at each attempt.
  static NodeIdentity Again(const NodeIdentity& old) {
    NodeIdentity fresh = NodeIdentity::Generate(0);
    std::array<std::uint8_t, 32> raw{};
    std::copy_n(old.machine.raw(), raw.size(), raw.begin());
    fresh.machine = core::PrivateKey::FromRaw(raw);
    fresh.hostname = old.hostname;
    return fresh;
  }

  std::unique_ptr<ControlNode> MakeNode(NodeIdentity identity, std::size_t attempt) {
    ControlNode::Events events;
    events.connected = [this, attempt](core::Result<> up) {
      if (!up) return;
      Attempt& mine = attempts_[attempt];
      mine.node->Register(mine.auth_key, [this, attempt](int status, std::string_view body) {
        // Status 0: the connection broke before an answer.
        if (status != 200) return;
        EXPECT_EQ(body.find("\"Error\":"), std::string_view::npos) << body;
        Attempt& done = attempts_[attempt];
        done.acknowledged = body.find("\"MachineAuthorized\":true") != std::string_view::npos;
        acknowledged_.insert(done.node->identity().node_key.text());
        if (++answers_ == kill_after_answers_) {
          loop_->After(kill_delay_, [this] { loop_->Stop(); });
        }
      });
    };
    events.map_message = [](std::string_view) {};
    events.closed = [] {};
    return std::make_unique<ControlNode>(*loop_, target_, std::move(identity), std::move(events));
  }

  void StartWatcher() {
    ControlNode::Events events;
    const bool registered = watcher_ != nullptr;
    NodeIdentity identity = registered ? [this] {
      NodeIdentity same = Again(watcher_->identity());
      same.node_key = watcher_->identity().node_key;
      return same;
    }()
                                       : NodeIdentity::Generate(0);
    identity.hostname = "watcher";
    events.connected = [this, registered](core::Result<> up) {
      if (!up) return;
      if (registered) {
        watcher_->Poll();
      } else {
        watcher_->Register(reusable_, [this](int status, std::string_view) {
          if (status == 200) watcher_->Poll();
        });
      }
    };
    events.map_message = [this](std::string_view message) { CollectPeers(message, told_); };
    events.closed = [] {};
    watcher_ =
        std::make_unique<ControlNode>(*loop_, target_, std::move(identity), std::move(events));
    watcher_->Connect();
  }

  // Everything that was promised must be there.
  void CheckNodes() {
    const auto listed = server_->Command("-o json nodes list");
    ASSERT_TRUE(listed) << listed.error().message;
    simdjson::dom::parser parser;
    simdjson::dom::array nodes;
    ASSERT_EQ(parser.parse(*listed).get(nodes), simdjson::SUCCESS) << *listed;
    std::set<std::string> keys;
    std::set<std::string> addresses;
    for (auto node : nodes) {
      keys.emplace(std::string_view(node["nodeKey"]));
      simdjson::dom::array ips;
      ASSERT_EQ(node["ipAddresses"].get(ips), simdjson::SUCCESS);
      for (auto ip : ips) {
        EXPECT_TRUE(addresses.emplace(std::string_view(ip)).second)
            << "given twice: " << std::string_view(ip);
      }
    }
    for (const auto& key : acknowledged_) {
      EXPECT_TRUE(replaced_.contains(key) || keys.contains(key)) << "lost: " << key;
    }
    for (const auto& key : told_) {
      EXPECT_TRUE(replaced_.contains(key) || keys.contains(key)) << "told of, but gone: " << key;
    }
  }

  void RunFor(core::Duration time) {
    const auto timer = loop_->After(time, [this] { loop_->Stop(); });
    loop_->Run();
    loop_->CancelTimer(timer);
  }

  std::string folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<core::engine::Loop> loop_;
  bench::ControlTarget target_;
  std::string reusable_;
  std::vector<Attempt> attempts_;
  std::unique_ptr<ControlNode> watcher_;
  std::set<std::string> acknowledged_;
  std::set<std::string> told_;
  int answers_ = 0;             // of this round
  int kill_after_answers_ = 0;  // 0 = by time
  core::Duration kill_delay_;
  std::set<std::string> replaced_;  // node keys of attempts that were repeated
};

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

TEST_F(KillNine, EveryAcknowledgedRegistrationSurvives) {
  const char* wanted = std::getenv("RINGSCALE_KILL_ROUNDS");
  const int rounds = wanted != nullptr ? std::atoi(wanted) : 200;
  const char* seed_text = std::getenv("RINGSCALE_KILL_SEED");
  const unsigned seed =
      seed_text != nullptr ? static_cast<unsigned>(std::atoi(seed_text)) : std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);

  auto started = server_->Start();
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(server_->Command("users create alice"));
  auto key = server_->Command("preauthkeys create -u alice --reusable --expiration 24h");
  ASSERT_TRUE(key) << key.error().message;
  reusable_ = Trimmed(*key);
  target_.address = server_->address();
  target_.host = server_->host();
  const auto server_key = bench::FetchServerKey(target_.address, target_.host);
  ASSERT_TRUE(server_key);
  target_.server_key = *server_key;

  std::size_t serial = 1;
  std::size_t kills_with_unanswered = 0;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    StartWatcher();
    // What stayed without an answer is tried again, as a client does.
    std::vector<Attempt> retries;
    for (auto& attempt : attempts_) {
      if (attempt.acknowledged) continue;
      replaced_.insert(attempt.node->identity().node_key.text());
      Attempt retry{
          .node = nullptr, .auth_key = attempt.auth_key, .single_use = attempt.single_use};
      const std::size_t index = retries.size();
      retries.push_back(std::move(retry));
      retries[index].node = MakeNode(Again(attempt.node->identity()), index);
    }
    if (!retries.empty()) ++kills_with_unanswered;
    attempts_ = std::move(retries);
    std::string single;
    if (round % 10 == 0) {
      auto created = server_->Command("preauthkeys create -u alice --expiration 24h");
      ASSERT_TRUE(created) << created.error().message;
      single = Trimmed(*created);
    }
    while (attempts_.size() < 16) {
      const std::size_t index = attempts_.size();
      const bool use_single = !single.empty();
      attempts_.push_back(
          {.node = nullptr, .auth_key = use_single ? single : reusable_, .single_use = use_single});
      attempts_[index].node = MakeNode(NodeIdentity::Generate(serial++), index);
      single.clear();
    }
    for (auto& attempt : attempts_) attempt.node->Connect();
    // The moment is a number of answers and a little more, so that it falls into
    // the load on machines of any speed; sometimes before the first answer.
    answers_ = 0;
    kill_after_answers_ = std::uniform_int_distribution<>(0, 16)(random);
    kill_delay_ = core::Micros(std::uniform_int_distribution<>(0, 2'000)(random));
    RunFor(kill_after_answers_ == 0
               ? core::Micros(std::uniform_int_distribution<>(500, 20'000)(random))
               : core::Seconds(10));
    server_->KillNine();
    // What the server sent before it died still counts.
    RunFor(core::Millis(5));
    watcher_->Disconnect();
    started = server_->Start();
    ASSERT_TRUE(started) << "round " << round << ": " << started.error().message;
    CheckNodes();
  }
  EXPECT_GT(kills_with_unanswered, 0u) << "no kill hit a registration under way";
  EXPECT_EQ(server_->Terminate(), 0);
  EXPECT_GT(acknowledged_.size(), static_cast<std::size_t>(rounds))
      << "too few registrations for the kills to mean anything";
  EXPECT_FALSE(told_.empty());
  fmt::print("{} kills, {} registrations acknowledged, {} peers told of, {} retries\n", rounds,
             acknowledged_.size(), told_.size(), replaced_.size());
}

}  // namespace
}  // namespace ringscale::tests

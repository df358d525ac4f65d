// kill -9 at random points of a registration load: what was acknowledged is there
// afterwards, no address is given twice, and no client was told of a node that
// then did not exist.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bench/lib/control_node.h"
#include "bench/lib/map_messages.h"
#include "tests/support/temp_folder.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

using bench::ControlNode;
using bench::NodeIdentity;

// Node keys of the peers that a map message names.
void CollectPeers(std::string_view message, std::set<std::string>& keys) {
  simdjson::dom::parser parser;
  const auto decompressed = bench::DecompressMessage(message);
  ASSERT_TRUE(decompressed) << decompressed.error().message;
  const std::string& text = *decompressed;
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
        EXPECT_TRUE(done.acknowledged) << body;
        acknowledged_.insert(done.node->identity().node_key.text());
        if (++answers_ == stop_after_answers_) {
          loop_->After(stop_delay_, [this] { loop_->Stop(); });
        }
      });
    };
    events.map_message = [](std::string_view) {};
    events.closed = [] {};
    return std::make_unique<ControlNode>(*loop_, target_, std::move(identity), std::move(events));
  }

  // A node that is there from the start and reads what all clients are told.
  void StartWatcher() {
    NodeIdentity identity = watcher_ ? Again(watcher_->identity()) : NodeIdentity::Generate(0);
    if (watcher_registered_) identity.node_key = watcher_->identity().node_key;
    identity.hostname = "watcher";
    ControlNode::Events events;
    events.connected = [this](core::Result<> up) {
      if (!up) return;
      if (watcher_registered_) return watcher_->Poll();
      watcher_->Register(reusable_, [this](int status, std::string_view) {
        if (status != 200) return;
        watcher_registered_ = true;
        watcher_->Poll();
      });
    };
    events.map_message = [this](std::string_view message) { CollectPeers(message, told_); };
    events.closed = [] {};
    watcher_ =
        std::make_unique<ControlNode>(*loop_, target_, std::move(identity), std::move(events));
    watcher_->Connect();
  }

  // What stayed without an answer is tried again, as a client does.
  void PrepareRetries() {
    std::vector<Attempt> retries;
    for (auto& attempt : attempts_) {
      if (attempt.acknowledged) continue;
      replaced_.insert(attempt.node->identity().node_key.text());
      retries.push_back(
          {.node = nullptr, .auth_key = attempt.auth_key, .single_use = attempt.single_use});
      retries.back().node = MakeNode(Again(attempt.node->identity()), retries.size() - 1);
    }
    attempts_ = std::move(retries);
  }

  void AddAttempt(const std::string& auth_key, bool single_use) {
    attempts_.push_back({.node = nullptr, .auth_key = auth_key, .single_use = single_use});
    attempts_.back().node = MakeNode(NodeIdentity::Generate(++machines_), attempts_.size() - 1);
  }

  // Connects everybody and runs until so many were answered, and a little longer.
  void Run(int answers, core::Duration delay, core::Duration limit) {
    answers_ = 0;
    stop_after_answers_ = answers;
    stop_delay_ = delay;
    for (auto& attempt : attempts_) attempt.node->Connect();
    RunFor(limit);
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
    node_count_ = keys.size();
    for (const auto& attempt : attempts_) {
      if (attempt.acknowledged || !keys.contains(attempt.node->identity().node_key.text()))
        continue;
      ++(attempt.single_use ? unanswered_single_use_ : unanswered_);
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

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<core::engine::Loop> loop_;
  bench::ControlTarget target_;
  std::string reusable_;
  std::vector<Attempt> attempts_;
  std::size_t machines_ = 0;  // that have tried to register
  std::unique_ptr<ControlNode> watcher_;
  bool watcher_registered_ = false;
  std::set<std::string> acknowledged_;  // node keys
  std::set<std::string> told_;          // node keys of peers in maps
  std::set<std::string> replaced_;      // node keys of attempts that were repeated
  int answers_ = 0;                     // of this round
  int stop_after_answers_ = 0;          // 0 = by time
  core::Duration stop_delay_;
  std::size_t node_count_ = 0;
  // Registrations that were stored, but whose answer was lost with the server.
  std::size_t unanswered_ = 0;
  std::size_t unanswered_single_use_ = 0;
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
  const auto server_key = bench::FetchServerKey(target_);
  ASSERT_TRUE(server_key);
  target_.server_key = *server_key;

  constexpr std::size_t kAtOnce = 16;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    StartWatcher();
    PrepareRetries();
    if (round % 2 == 0) {
      auto single = server_->Command("preauthkeys create -u alice --expiration 24h");
      ASSERT_TRUE(single) << single.error().message;
      AddAttempt(Trimmed(*single), true);
    }
    while (attempts_.size() < kAtOnce) AddAttempt(reusable_, false);
    // The moment is a number of answers and a little more, so that it falls into
    // the load on machines of any speed; sometimes before the first answer.
    const int answers = std::uniform_int_distribution<>(0, kAtOnce)(random);
    const auto delay = core::Micros(std::uniform_int_distribution<>(0, 2'000)(random));
    const auto limit = core::Micros(std::uniform_int_distribution<>(500, 20'000)(random));
    Run(answers, delay, answers == 0 ? limit : core::Seconds(10));
    server_->KillNine();
    // What the server sent before it died still counts.
    RunFor(core::Millis(5));
    watcher_->Disconnect();
    started = server_->Start();
    ASSERT_TRUE(started) << "round " << round << ": " << started.error().message;
    CheckNodes();
  }
  // Nobody is left without an answer, and no machine became two nodes.
  StartWatcher();
  PrepareRetries();
  AddAttempt(reusable_, false);
  Run(static_cast<int>(attempts_.size()), {}, core::Seconds(30));
  for (const auto& attempt : attempts_) EXPECT_TRUE(attempt.acknowledged);
  CheckNodes();
  EXPECT_EQ(node_count_, machines_ + (watcher_registered_ ? 1 : 0));
  EXPECT_EQ(server_->Terminate(), 0);

  EXPECT_GT(unanswered_ + unanswered_single_use_, 0u)
      << "no kill came between a commit and its answer";
  EXPECT_GT(acknowledged_.size(), static_cast<std::size_t>(rounds))
      << "too few registrations for the kills to mean anything";
  EXPECT_FALSE(told_.empty());
  fmt::print(
      "{} kills, {} registrations acknowledged, {} peers told of, {} retries, of which {} ({} by "
      "single-use key) had been stored\n",
      rounds, acknowledged_.size(), told_.size(), replaced_.size(),
      unanswered_ + unanswered_single_use_, unanswered_single_use_);
}

}  // namespace
}  // namespace ringscale::tests

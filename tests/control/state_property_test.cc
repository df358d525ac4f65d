// Random sequences of operations, with commits that fail and restarts: whatever
// happens, the state is consistent and equals what the store has.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "control/state/node_table.h"
#include "control/state/routes.h"
#include "storage/codec/rows.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

class Walk {
 public:
  explicit Walk(std::uint32_t seed) : random_(seed) {
    RegistryOptions options;
    options.prefix_v4 = Prefix("10.0.0.0/27");  // small: it fills up, and addresses return
    options.addresses = seed % 2 == 0 ? AddressStrategy::kSequential : AddressStrategy::kRandom;
    options.node_expiry = core::Seconds(500);
    options.ephemeral_timeout = core::Seconds(100);
    tailnet_ = std::make_unique<Tailnet>(options, Tailnet::Mode::kManual);
    for (const char* name : {"alice", "bob"}) tailnet_->AddUser(name);
    AddKeys();
  }

  void Step() {
    switch (Pick(24)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        registry().RegisterWithKey(Request(), keys_[Pick(keys_.size())],
                                   [](core::Result<Registered>) {});
        break;
      case 5:
      case 6:
        registry().RegisterForUser(Request(), 1 + Pick(2), storage::RegisterMethod::kCli,
                                   [](core::Result<Registered>) {});
        break;
      case 7:
        registry().DeleteNode(AnyNode(), Ignore());
        break;
      case 8:
        registry().RenameNode(AnyNode(), "name-" + std::to_string(Pick(4)), Ignore());
        break;
      case 9:
        registry().SetNodeTags(AnyNode(), {"tag:a"}, Ignore());
        break;
      case 10:
        registry().LogoutNode(AnyNode(), Ignore());
        break;
      case 11:
        registry().ApproveRoutes(AnyNode(), {Prefix(kRoutes[Pick(3)])}, Ignore());
        break;
      case 12:
        Report();
        break;
      case 13:
      case 14:
        Open(AnyNode());
        break;
      case 15:
        CloseOne();
        break;
      case 16:
        tailnet_->loop().Advance(core::Seconds(static_cast<int>(Pick(40))));
        break;
      case 17:
        tailnet_->store().FailNext({core::ErrorCode::kIo, "disk full"});
        break;
      case 18:
        registry().DeletePreAuthKey(1 + Pick(8), Ignore());
        break;
      case 19:
        AddKeys();
        break;
      case 20:
        registry().BackfillAddresses([](core::Result<std::vector<std::string>>) {});
        break;
      case 21:
        if (Pick(10) == 0) Restart();
        break;
      default:
        tailnet_->store().CompleteNext();
        tailnet_->Settle();
    }
  }

  void Check() {
    NodeTable rebuilt;
    std::map<core::IpPrefix, std::set<NodeId>> servers;
    for (const auto& [id, node] : registry().nodes()) {
      ASSERT_EQ(rebuilt.Conflict(node.row), std::nullopt) << id;
      rebuilt.Insert(node.row);
      ASSERT_EQ(node.row.tags.empty(), node.row.user_id != 0) << id;
      ASSERT_EQ(registry().FindNodeByKey(node.row.node_key), &node);
      ASSERT_EQ(registry().FindNodeByName(node.row.given_name), &node);
      ASSERT_EQ(registry().FindNodeByAddress(node.row.ipv4), &node);
      ASSERT_EQ(registry().FindNodeByStableId(node.row.stable_id), &node);
      ASSERT_TRUE(node.live_streams == 0 || node.online);
      if (node.online) {
        for (const auto& route : SubnetRoutes(node)) servers[route].insert(id);
      }
      for (const auto& route : registry().PrimaryRoutes(id)) {
        ASSERT_EQ(registry().PrimaryFor(route), id);
      }
    }
    for (const auto& [route, offered_by] : servers) {
      ASSERT_TRUE(offered_by.contains(registry().PrimaryFor(route))) << "exactly one serves it";
    }
  }

  // Settles everything, then compares with what a restart loads.
  void CheckRestart() {
    tailnet_->CommitAll();
    Outcome<void> flushed;
    registry().Flush(flushed.Callback());
    tailnet_->CommitAll();
    ASSERT_EQ(flushed.Error(), "");
    ASSERT_EQ(registry().changes_in_flight(), 0U);
    std::map<NodeId, Node> before = registry().nodes();
    const auto users = registry().users();
    const auto keys = registry().pre_auth_keys();
    Restart();
    ASSERT_EQ(registry().nodes().size(), before.size());
    ASSERT_EQ(registry().users().size(), users.size());
    ASSERT_EQ(registry().pre_auth_keys().size(), keys.size());
    for (const auto& [id, key] : keys) {
      ASSERT_EQ(storage::Encode(registry().pre_auth_keys().at(id)), storage::Encode(key));
    }
    for (auto& [id, node] : before) {
      const Node& loaded = tailnet_->Get(id);
      ASSERT_EQ(loaded.online, node.online) << id;
      storage::NodeRow row = loaded.row;
      row.last_seen = node.row.last_seen;  // of an online node it is the time of the restart
      ASSERT_EQ(storage::Encode(row), storage::Encode(node.row)) << id;
      ASSERT_EQ(loaded.announced_routes, node.announced_routes);
      ASSERT_EQ(loaded.peer_hostinfo, node.peer_hostinfo);
    }
    Check();
  }

 private:
  static constexpr const char* kRoutes[] = {"10.1.0.0/16", "10.2.0.0/16", "0.0.0.0/0"};

  Registry& registry() { return tailnet_->registry(); }
  std::uint64_t Pick(std::uint64_t below) { return random_() % below; }
  static Completion<> Ignore() {
    return [](core::Result<>) {};
  }
  NodeId AnyNode() { return 1 + Pick(40); }
  NodeRegistration Request() {
    auto request = Tailnet::Request(1 + Pick(12), 1 + Pick(60), Pick(2) == 0 ? "host" : "box",
                                    ",\"RoutableIPs\":[\"" + std::string(kRoutes[Pick(3)]) + "\"]");
    request.ephemeral = Pick(5) == 0;
    return request;
  }
  void Report() {
    NodeReport report;
    const std::string hostinfo =
        "{\"Hostname\":\"" + std::string(Pick(2) == 0 ? "host" : "new") + "\",\"RoutableIPs\":[\"" +
        kRoutes[Pick(3)] + "\"],\"NetInfo\":{\"PreferredDERP\":" + std::to_string(Pick(3)) + "}}";
    report.hostinfo = hostinfo;
    report.capability_version = 140;
    report.disco_key = Disco(Pick(5));
    registry().ReportNode(AnyNode(), report, Ignore());
  }
  void Open(NodeId id) {
    if (registry().FindNode(id) == nullptr) return;
    registry().StreamOpened(id);
    streams_.push_back(id);
  }
  void CloseOne() {
    if (streams_.empty()) return;
    const std::size_t at = Pick(streams_.size());
    registry().StreamClosed(streams_[at]);
    streams_.erase(streams_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void AddKeys() {
    for (const bool reusable : {true, false}) {
      for (const auto& tags : {std::vector<std::string>{}, std::vector<std::string>{"tag:k"}}) {
        keys_.push_back(tailnet_
                            ->AddKey({.user = 1 + Pick(2),
                                      .reusable = reusable,
                                      .ephemeral = Pick(3) == 0,
                                      .expiry = {},
                                      .tags = tags})
                            .text);
      }
    }
  }
  void Restart() {
    streams_.clear();
    tailnet_->store().DropPending();
    tailnet_->Restart();
  }

  std::mt19937 random_;
  std::unique_ptr<Tailnet> tailnet_;
  std::vector<std::string> keys_;
  std::vector<NodeId> streams_;
};

class RegistryProperty : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(RegistryProperty, StateIsConsistentAndEqualsTheStore) {
  Walk walk(GetParam());
  for (int step = 0; step < 1500; ++step) {
    walk.Step();
    if (step % 10 == 0) walk.Check();
    if (step % 300 == 299) walk.CheckRestart();
    if (HasFatalFailure()) FAIL() << "at step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RegistryProperty, ::testing::Range(1U, 21U));

}  // namespace
}  // namespace ringscale::control::testing

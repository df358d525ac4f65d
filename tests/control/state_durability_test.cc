// The order of durability: nothing uncommitted is seen, a failed commit leaves
// nothing behind, what has nothing in common is in flight together.
#include <gtest/gtest.h>

#include <set>

#include "storage/codec/keys.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

class Durability : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    key =
        tailnet
            .AddKey({.user = alice, .reusable = true, .ephemeral = false, .expiry = {}, .tags = {}})
            .text;
    once = tailnet
               .AddKey(
                   {.user = alice, .reusable = false, .ephemeral = false, .expiry = {}, .tags = {}})
               .text;
    tailnet.recorder().Take();
  }
  Registry& registry() { return tailnet.registry(); }
  void Join(std::uint64_t machine, std::uint64_t node_key, const std::string& text,
            Outcome<Registered>& outcome) {
    registry().RegisterWithKey(Tailnet::Request(machine, node_key, "same"), text,
                               outcome.Callback());
  }
  bool Fail() {
    const bool failed = tailnet.store().FailNext({core::ErrorCode::kIo, "disk full"});
    tailnet.Settle();
    return failed;
  }
  bool Commit() {
    const bool completed = tailnet.store().CompleteNext();
    tailnet.Settle();
    return completed;
  }

  Tailnet tailnet{{}, Tailnet::Mode::kManual};
  UserId alice = 0;
  std::string key;
  std::string once;
};

TEST_F(Durability, NothingUncommittedIsSeen) {
  Outcome<Registered> outcome;
  Join(1, 1, key, outcome);
  EXPECT_FALSE(outcome.done());
  EXPECT_TRUE(registry().nodes().empty());
  EXPECT_EQ(registry().FindNodeByKey(NodeKey(1)), nullptr);
  EXPECT_TRUE(tailnet.recorder().changes.empty());
  ASSERT_TRUE(Commit());
  EXPECT_EQ(outcome.Error(), "");
  EXPECT_EQ(tailnet.recorder().Take().size(), 1U);
}

TEST_F(Durability, RegistrationsAreInFlightTogether) {
  std::vector<Outcome<Registered>> outcomes(100);
  for (std::uint64_t i = 0; i < outcomes.size(); ++i) Join(i + 1, i + 1, key, outcomes[i]);
  EXPECT_EQ(tailnet.store().pending(), outcomes.size());
  tailnet.CommitAll();
  std::set<std::string> addresses;
  std::set<std::string> names;
  for (auto& outcome : outcomes) {
    ASSERT_EQ(outcome.Error(), "");
    const Node& node = tailnet.Get(outcome.Get()->id);
    EXPECT_TRUE(addresses.insert(node.row.ipv4.text()).second);
    EXPECT_TRUE(names.insert(node.row.given_name).second);
  }
}

TEST_F(Durability, AFailedRegistrationLeavesNothingBehind) {
  Outcome<Registered> failed;
  Outcome<Registered> other;
  Join(1, 1, once, failed);
  Join(2, 2, key, other);
  ASSERT_TRUE(Fail());
  EXPECT_EQ(failed.Error(), "disk full");
  EXPECT_TRUE(registry().nodes().empty());
  ASSERT_TRUE(Commit());
  EXPECT_EQ(other.Error(), "");
  EXPECT_EQ(tailnet.Get(other.Get()->id).row.given_name, "same-1");

  // The name, the node key and the auth key are free again.
  Outcome<Registered> again;
  Join(3, 1, once, again);
  tailnet.CommitAll();
  ASSERT_EQ(again.Error(), "");
  EXPECT_EQ(tailnet.Get(again.Get()->id).row.given_name, "same");
  EXPECT_GT(again.Get()->id, other.Get()->id) << "ids never return";
  tailnet.Restart();
  EXPECT_EQ(registry().nodes().size(), 2U);
}

TEST_F(Durability, ASingleUseKeyIsGivenOnce) {
  Outcome<Registered> first;
  Outcome<Registered> second;
  Outcome<Registered> third;
  Join(1, 1, once, first);
  Join(2, 2, once, second);
  Join(3, 3, once, third);
  EXPECT_EQ(tailnet.store().pending(), 1U) << "the others wait for the outcome";
  ASSERT_TRUE(Fail());
  EXPECT_EQ(first.Error(), "disk full");
  EXPECT_FALSE(second.done());
  ASSERT_TRUE(Commit());
  EXPECT_EQ(second.Error(), "");
  EXPECT_EQ(third.Error(), "authkey already used");
}

TEST_F(Durability, OneMachineAfterTheOther) {
  std::vector<Outcome<Registered>> outcomes(5);
  for (std::uint64_t i = 0; i < outcomes.size(); ++i) Join(1, i + 1, key, outcomes[i]);
  EXPECT_EQ(tailnet.store().pending(), 1U);
  tailnet.CommitAll();
  for (auto& outcome : outcomes) {
    ASSERT_EQ(outcome.Error(), "");
    EXPECT_EQ(outcome.Get()->id, 1U);
  }
  EXPECT_EQ(registry().nodes().size(), 1U);
  EXPECT_EQ(tailnet.Get(1).row.node_key, NodeKey(5));
}

TEST_F(Durability, TheSameNodeKeyOnTwoMachines) {
  Outcome<Registered> first;
  Outcome<Registered> second;
  Join(1, 7, key, first);
  Join(2, 7, key, second);
  EXPECT_EQ(second.Error(), "node key already in use by another machine");
  tailnet.CommitAll();
  EXPECT_EQ(first.Error(), "");
}

TEST_F(Durability, DestroyingAUserWaitsForRegistrations) {
  Outcome<Registered> before;
  Outcome<void> destroyed;
  Outcome<Registered> after;
  Join(1, 1, key, before);
  registry().DestroyUser(alice, destroyed.Callback());
  Join(2, 2, key, after);
  EXPECT_EQ(tailnet.store().pending(), 1U);
  ASSERT_TRUE(Commit());
  EXPECT_EQ(before.Error(), "");
  EXPECT_EQ(destroyed.Error(), "user not empty: node(s) found");
  tailnet.CommitAll();
  EXPECT_EQ(after.Error(), "");
}

TEST_F(Durability, AKeyDeletedMeanwhileIsRefused) {
  Outcome<void> deleted;
  Outcome<Registered> joined;
  registry().DeletePreAuthKey(1, deleted.Callback());
  Join(1, 1, key, joined);
  tailnet.CommitAll();
  EXPECT_EQ(deleted.Error(), "");
  EXPECT_EQ(joined.Error(), "invalid pre auth key");
}

TEST_F(Durability, ChangesOfOneNodeBuildOnEachOther) {
  const NodeId id = tailnet.AddNode(alice, 1, "a");
  Outcome<void> renamed;
  Outcome<void> tagged;
  registry().RenameNode(id, "b", renamed.Callback());
  registry().SetNodeTags(id, {"tag:x"}, tagged.Callback());
  tailnet.CommitAll();
  EXPECT_EQ(renamed.Error() + tagged.Error(), "");
  tailnet.Restart();
  EXPECT_EQ(tailnet.Get(id).row.given_name, "b");
  EXPECT_EQ(tailnet.Get(id).row.tags, std::vector<std::string>{"tag:x"});
}

TEST_F(Durability, LazyWritesNeverOverwriteAChangeOnItsWay) {
  const NodeId id = tailnet.AddNode(alice, 1, "a");
  Outcome<void> renamed;
  registry().RenameNode(id, "b", renamed.Callback());
  registry().StreamOpened(id);
  tailnet.loop().Advance(core::Seconds(30));
  EXPECT_EQ(tailnet.store().pending(), 1U) << "the row waits for the change";
  tailnet.CommitAll();
  tailnet.loop().Advance(core::Seconds(5));
  tailnet.CommitAll();
  tailnet.Restart();
  EXPECT_EQ(tailnet.Get(id).row.given_name, "b");
  EXPECT_TRUE(tailnet.Get(id).online);
}

TEST_F(Durability, WhatHappenedDuringACommitStays) {
  const NodeId id = tailnet.AddNode(alice, 1, "a");
  Outcome<void> renamed;
  registry().RenameNode(id, "b", renamed.Callback());
  registry().StreamOpened(id);
  tailnet.CommitAll();
  EXPECT_TRUE(tailnet.Get(id).online);
  EXPECT_TRUE(tailnet.Get(id).row.ever_polled);
  EXPECT_EQ(tailnet.Get(id).row.given_name, "b");
}

TEST_F(Durability, EveryChangeSurvivesAFailureUnchanged) {
  const NodeId id = tailnet.AddNode(alice, 1, "a", R"(,"RoutableIPs":["10.0.0.0/8"])");
  const auto records = tailnet.store().records();
  const std::string before = *tailnet.store().Get(storage::Table::kNodes, storage::IdKey(id));
  const Node node = tailnet.Get(id);
  tailnet.recorder().Take();
  using Call = std::function<void(Completion<>)>;
  const std::string hostinfo = R"({"Hostname":"z","OS":"plan9"})";
  NodeReport report;
  report.hostinfo = hostinfo;
  report.disco_key = Disco(4);
  const Call kCalls[] = {
      [&](auto done) { registry().RenameNode(id, "b", std::move(done)); },
      [&](auto done) { registry().SetNodeTags(id, {"tag:x"}, std::move(done)); },
      [&](auto done) { registry().ExpireNodeNow(id, std::move(done)); },
      [&](auto done) { registry().ApproveRoutes(id, {Prefix("10.0.0.0/8")}, std::move(done)); },
      [&](auto done) { registry().DeleteNode(id, std::move(done)); },
      [&](auto done) { registry().LogoutNode(id, std::move(done)); },
      [&](auto done) { registry().ReportNode(id, report, std::move(done)); },
      [&](auto done) { registry().RenameUser(alice, "zoe", std::move(done)); },
      [&](auto done) { registry().ExpirePreAuthKey(1, std::move(done)); },
      [&](auto done) { registry().DeletePreAuthKey(1, std::move(done)); },
      [&](auto done) {
        registry().CreateUser({.name = "bob", .display_name = {}, .email = {}, .picture_url = {}},
                              [done = std::move(done)](core::Result<UserId> r) mutable {
                                done(r ? core::Result<>{} : core::Forward(r));
                              });
      },
      [&](auto done) {
        registry().RegisterForUser(Tailnet::Request(1, 9, "z"), alice,
                                   storage::RegisterMethod::kCli,
                                   [done = std::move(done)](core::Result<Registered> r) mutable {
                                     done(r ? core::Result<>{} : core::Forward(r));
                                   });
      },
  };
  for (std::size_t i = 0; i < std::size(kCalls); ++i) {
    Outcome<void> outcome;
    kCalls[i](outcome.Callback());
    ASSERT_TRUE(Fail()) << i;
    EXPECT_EQ(outcome.Error(), "disk full") << i;
    EXPECT_TRUE(tailnet.recorder().Take().empty()) << i;
    EXPECT_EQ(tailnet.Get(id).version, node.version) << i;
    EXPECT_EQ(tailnet.Get(id).row.given_name, "a") << i;
    EXPECT_EQ(tailnet.Get(id).row.node_key, NodeKey(1)) << i;
    EXPECT_EQ(tailnet.store().records(), records) << i;
  }
  // And works when the disk does.
  for (std::size_t i = 0; i < std::size(kCalls); ++i) {
    if (i == 4) continue;
    Outcome<void> outcome;
    kCalls[i](outcome.Callback());
    tailnet.CommitAll();
    EXPECT_TRUE(outcome.Error().empty() || i == 9) << i << outcome.Error();
  }
}

TEST_F(Durability, TooManyChangesAreRefused) {
  RegistryOptions options;
  options.changes_in_flight = 3;
  Tailnet small(options, Tailnet::Mode::kManual);
  const UserId user = small.AddUser("alice");
  std::vector<Outcome<Registered>> outcomes(4);
  for (std::uint64_t i = 0; i < outcomes.size(); ++i) {
    small.registry().RegisterForUser(Tailnet::Request(i + 1, i + 1, "a"), user,
                                     storage::RegisterMethod::kCli, outcomes[i].Callback());
  }
  ASSERT_TRUE(outcomes[3].done());
  ASSERT_FALSE(outcomes[3].Get());
  EXPECT_EQ(outcomes[3].Get().error().code, core::ErrorCode::kUnavailable);
  small.CommitAll();
  EXPECT_EQ(outcomes[2].Error(), "");
}

TEST_F(Durability, OutcomesArriveEvenWhenTheLoopTakesNoTask) {
  Outcome<Registered> outcome;
  Join(1, 1, key, outcome);
  tailnet.loop().refuse_posts = true;
  tailnet.store().CompleteAll();
  tailnet.Settle();
  EXPECT_FALSE(outcome.done());
  tailnet.loop().Advance(core::Seconds(1));
  EXPECT_EQ(outcome.Error(), "");
}

TEST_F(Durability, ARegistryMayGoWhileTheStoreWorks) {
  Outcome<Registered> outcome;
  {
    Registry other(tailnet.loop(), tailnet.store(), {});
    ASSERT_TRUE(other.Load());
    other.RegisterWithKey(Tailnet::Request(1, 1, "a"), key, outcome.Callback());
  }
  tailnet.store().CompleteAll();
  tailnet.Settle();
  EXPECT_FALSE(outcome.done());
}

TEST_F(Durability, FlushWaitsForWhatIsInFlight) {
  const NodeId id = tailnet.AddNode(alice, 1);
  registry().StreamOpened(id);
  Outcome<void> renamed;
  Outcome<void> flushed;
  registry().RenameNode(id, "b", renamed.Callback());
  registry().Flush(flushed.Callback());
  EXPECT_FALSE(flushed.done());
  tailnet.CommitAll();
  EXPECT_EQ(flushed.Error(), "");
  tailnet.Restart();
  EXPECT_TRUE(tailnet.Get(id).online);
  EXPECT_EQ(tailnet.Get(id).row.given_name, "b");
}

TEST_F(Durability, FlushSaysWhenTheDiskRefuses) {
  registry().StreamOpened(tailnet.AddNode(alice, 1));
  Outcome<void> flushed;
  tailnet.store().FailCommits(100, {core::ErrorCode::kIo, "disk full"});
  registry().Flush(flushed.Callback());
  tailnet.CommitAll();
  EXPECT_NE(flushed.Error(), "");
}

}  // namespace
}  // namespace ringscale::control::testing

// How machines become nodes: by pre-auth key, by login.
#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

class Register : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    bob = tailnet.AddUser("bob");
  }
  std::string Key(UserId user, bool reusable = true, std::vector<std::string> tags = {},
                  bool ephemeral = false, std::optional<core::WallTime> expiry = {}) {
    last_key = tailnet.AddKey({.user = user,
                               .reusable = reusable,
                               .ephemeral = ephemeral,
                               .expiry = expiry,
                               .tags = std::move(tags)});
    return last_key.text;
  }
  static std::string ErrorOf(const core::Result<Registered>& result) {
    return result ? "" : result.error().message;
  }
  std::string Delete(NodeId id) {
    return tailnet.Do(
        [&](Completion<> done) { tailnet.registry().DeleteNode(id, std::move(done)); });
  }
  std::string Tag(NodeId id, std::vector<std::string> tags) {
    return tailnet.Do([&](Completion<> done) {
      tailnet.registry().SetNodeTags(id, std::move(tags), std::move(done));
    });
  }
  std::string Expire(NodeId id) {
    return tailnet.Do(
        [&](Completion<> done) { tailnet.registry().ExpireNodeNow(id, std::move(done)); });
  }

  RegistryOptions options = [] {
    RegistryOptions o;
    o.node_expiry = core::Seconds(86400);
    o.may_own_tag = [](UserId user, std::string_view tag) {
      return user == 1 && tag.starts_with("tag:alices");
    };
    return o;
  }();
  Tailnet tailnet{options};
  UserId alice = 0;
  UserId bob = 0;
  CreatedPreAuthKey last_key;
};

TEST_F(Register, ThePolicysPoolsGiveTheAddress) {
  options.address_pools = [](UserId user, std::span<const std::string> tags) {
    std::vector<core::IpPrefix> pools;
    if (user == 1) pools.push_back(*core::IpPrefix::Parse("100.81.0.0/24"));
    if (!tags.empty()) pools.push_back(*core::IpPrefix::Parse("100.82.0.0/24"));
    return pools;
  };
  Tailnet other{options};
  const UserId user = other.AddUser("alice");
  const auto address = [&](std::uint64_t number, const NewPreAuthKey& key) {
    const auto joined =
        other.JoinWithKey(Tailnet::Request(number, number, "box"), other.AddKey(key).text);
    EXPECT_TRUE(joined) << joined.error().message;
    return joined ? other.registry().FindNode(joined->id)->row.ipv4.text() : "";
  };
  EXPECT_EQ(address(1, {.user = user}), "100.81.0.1");
  EXPECT_EQ(address(2, {.tags = {"tag:x"}}), "100.82.0.1");
  const UserId stranger = other.AddUser("bob");
  EXPECT_EQ(address(3, {.user = stranger}), "100.64.0.1");
}

TEST_F(Register, NewNodeOfAUser) {
  const std::string key = Key(alice);
  tailnet.recorder().Take();
  const auto joined = tailnet.JoinWithKey(
      Tailnet::Request(1, 1, "Web Server", R"(,"NetInfo":{"PreferredDERP":4})"), key);
  ASSERT_TRUE(joined) << ErrorOf(joined);
  EXPECT_TRUE(joined->created);
  const Node& node = tailnet.Get(joined->id);
  EXPECT_EQ(node.row.user_id, alice);
  EXPECT_TRUE(node.row.tags.empty());
  EXPECT_EQ(node.row.given_name, "web-server");
  EXPECT_EQ(node.row.hostname, "Web Server");
  EXPECT_EQ(node.row.ipv4.text(), "100.64.0.1");
  EXPECT_EQ(node.row.ipv6.text(), "fd7a:115c:a1e0::1");
  EXPECT_EQ(node.row.stable_id.size(), 16U);
  EXPECT_EQ(node.row.method, storage::RegisterMethod::kAuthKey);
  EXPECT_EQ(node.row.auth_key_id, last_key.row.id);
  EXPECT_EQ(node.row.expiry, tailnet.loop().Wall() + core::Seconds(86400));
  EXPECT_EQ(node.home_derp, 4);
  EXPECT_EQ(node.row.capability_version, 140U);
  EXPECT_FALSE(node.online);
  EXPECT_EQ(node.version, 1U);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeAdded);
  EXPECT_EQ(changes[0].id, joined->id);
}

TEST_F(Register, RequestedExpiryCounts) {
  auto request = Tailnet::Request(1, 1, "a");
  request.requested_expiry = tailnet.loop().Wall() + core::Seconds(60);
  const auto joined = tailnet.JoinWithKey(request, Key(alice));
  ASSERT_TRUE(joined);
  EXPECT_EQ(tailnet.Get(joined->id).row.expiry, request.requested_expiry);
}

TEST_F(Register, TaggedKeyGivesItsTagsAndNoExpiry) {
  const auto joined =
      tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice, true, {"tag:web", "tag:db"}));
  ASSERT_TRUE(joined);
  const Node& node = tailnet.Get(joined->id);
  EXPECT_EQ(node.row.tags, (std::vector<std::string>{"tag:db", "tag:web"}));
  EXPECT_EQ(node.row.user_id, 0U);
  EXPECT_FALSE(node.row.expiry);
}

TEST_F(Register, RefusedKeys) {
  const std::string text = Key(alice);
  std::string wrong = text;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  for (const std::string& key : {std::string("x"), wrong, std::string()}) {
    EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key)),
              "invalid pre auth key");
  }
  const std::string expired =
      Key(alice, true, {}, false, tailnet.loop().Wall() + core::Seconds(10));
  const std::string once = Key(alice, false);
  tailnet.loop().Advance(core::Seconds(10));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), expired)), "authkey expired");
  EXPECT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(2, 2, "b"), once)),
            "authkey already used");
  EXPECT_EQ(tailnet.registry().nodes().size(), 1U);
}

TEST_F(Register, RevokedKey) {
  const std::string key = Key(alice);
  // No operation of this server revokes; imported rows may be.
  storage::PreAuthKeyRow row = last_key.row;
  row.revoked = true;
  storage::WriteBatch batch;
  batch.Put(storage::Table::kPreAuthKeys, storage::IdKey(row.id), storage::Encode(row));
  tailnet.store().Commit(std::move(batch), [](core::Result<>) {});
  tailnet.Restart();
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key)), "authkey revoked");
}

TEST_F(Register, ClientsMayNotAskForTagsWithAKey) {
  for (const auto& tags : {std::vector<std::string>{}, std::vector<std::string>{"tag:web"}}) {
    EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(
                  Tailnet::Request(1, 1, "a", R"(,"RequestTags":["tag:web","tag:x"])"),
                  Key(alice, true, tags))),
              "requested tags [tag:web tag:x] are invalid or not permitted");
  }
  // On a node that is there they are ignored.
  const std::string key = Key(alice);
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key));
  EXPECT_TRUE(
      tailnet.JoinWithKey(Tailnet::Request(1, 2, "a", R"(,"RequestTags":["tag:web"])"), key));
}

TEST_F(Register, RejoinKeepsTheNode) {
  const std::string key = Key(alice);
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key);
  ASSERT_TRUE(first);
  const storage::NodeRow before = tailnet.Get(first->id).row;
  EXPECT_EQ(Expire(first->id), "");
  tailnet.loop().Advance(core::Seconds(50));
  tailnet.recorder().Take();
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), key);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->created);
  EXPECT_EQ(second->id, first->id);
  const Node& node = tailnet.Get(first->id);
  EXPECT_EQ(node.row.node_key, NodeKey(2));
  EXPECT_EQ(node.row.ipv4, before.ipv4);
  EXPECT_EQ(node.row.stable_id, before.stable_id);
  EXPECT_EQ(node.row.given_name, before.given_name);
  EXPECT_EQ(node.row.expiry, tailnet.loop().Wall() + core::Seconds(86400));
  EXPECT_EQ(tailnet.registry().FindNodeByKey(NodeKey(1)), nullptr);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced) << "it was expired";
  EXPECT_TRUE(changes[0].fields & Change::kNodeKey);
  EXPECT_EQ(changes[0].retired_node_key, NodeKey(1));
  EXPECT_FALSE(changes[0].self_too) << "the stream of the old key may still be open";
}

TEST_F(Register, RotationIsAPatch) {
  const std::string key = Key(alice);
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key));
  tailnet.loop().Advance(core::Seconds(1));
  tailnet.recorder().Take();
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), key));
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodePatched);
  EXPECT_EQ(changes[0].fields, Change::kNodeKey | Change::kKeyExpiry);
  EXPECT_FALSE(changes[0].self_too);
}

TEST_F(Register, RestartWithASpentExpiredOrDeletedKey) {
  const std::string once = Key(alice, false);
  const auto joined = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once);
  ASSERT_TRUE(joined);
  tailnet.registry().StreamOpened(joined->id);
  const auto expiry = tailnet.Get(joined->id).row.expiry;
  tailnet.loop().Advance(core::Seconds(100));
  const auto commits = tailnet.store().commits();
  EXPECT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once));
  EXPECT_EQ(tailnet.store().commits(), commits) << "nothing changed";
  EXPECT_EQ(tailnet.Get(joined->id).row.expiry, expiry) << "not extended by a spent key";
  // A new node key wants a valid auth key.
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), once)),
            "authkey already used");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeletePreAuthKey(last_key.row.id, std::move(done));
  }),
            "");
  EXPECT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once));
  // So does an expired node.
  EXPECT_EQ(Expire(joined->id), "");
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once)),
            "invalid pre auth key");
}

TEST_F(Register, RejoinWithAnExpiredKeyFails) {
  const std::string key = Key(alice, true, {}, false, tailnet.loop().Wall() + core::Seconds(10));
  const auto joined = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key);
  ASSERT_TRUE(joined);
  EXPECT_EQ(Expire(joined->id), "");
  tailnet.loop().Advance(core::Seconds(10));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), key)), "authkey expired");
  EXPECT_TRUE(tailnet.Get(joined->id).expired(tailnet.loop().Wall()));
}

TEST_F(Register, ALostAnswerCanBeAskedForAgain) {
  const std::string once = Key(alice, false);
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once);
  ASSERT_TRUE(first);
  // The client makes a new node key at each attempt.
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), once);
  ASSERT_TRUE(second) << ErrorOf(second);
  EXPECT_EQ(second->id, first->id);
  EXPECT_EQ(tailnet.Get(first->id).row.node_key, NodeKey(2));
  // Across a restart too, but for no other machine.
  tailnet.Restart();
  EXPECT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 3, "a"), once));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(2, 4, "a"), once)),
            "authkey already used");
  // Until the node has been on line.
  tailnet.registry().StreamOpened(first->id);
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 5, "a"), once)),
            "authkey already used");
  EXPECT_EQ(tailnet.registry().nodes().size(), 1U);
}

TEST_F(Register, ADeletedNodeDoesNotBringItsSpentKeyBack) {
  const std::string once = Key(alice, false);
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), once);
  ASSERT_TRUE(first);
  EXPECT_EQ(Delete(first->id), "");
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), once)),
            "authkey already used");
}

TEST_F(Register, NodeKeyOfAnotherMachine) {
  const std::string key = Key(alice);
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), key));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(2, 1, "b"), key)),
            "node key already in use by another machine");
  EXPECT_EQ(ErrorOf(tailnet.JoinForUser(Tailnet::Request(2, 1, "b"), alice)),
            "node key already in use by another machine");
  EXPECT_NE(ErrorOf(tailnet.JoinForUser({.machine_key = Machine(1), .node_key = {}, .hostinfo = {}},
                                        alice)),
            "");
}

// The owner of the machine's nodes against the owner of the key.
TEST_F(Register, UserKeyOnAMachineOfAnotherUser) {
  const auto first = tailnet.JoinWithKey(
      Tailnet::Request(1, 1, "a", R"(,"NetInfo":{"PreferredDERP":9})"), Key(alice));
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), Key(bob));
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(second->created);
  EXPECT_EQ(tailnet.Get(second->id).row.user_id, bob);
  EXPECT_EQ(tailnet.Get(second->id).home_derp, 9) << "the network is the same";
  EXPECT_EQ(tailnet.registry().NodesOfMachine(Machine(1)).size(), 2U);
  // Back to the first user: the first node.
  const auto third = tailnet.JoinWithKey(Tailnet::Request(1, 3, "a"), Key(alice));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->id, first->id);
}

TEST_F(Register, UserKeyOnATaggedMachine) {
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(0, true, {"tag:web"}));
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), Key(alice));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->id, first->id);
  EXPECT_EQ(tailnet.Get(first->id).row.tags, (std::vector<std::string>{"tag:web"}));
  EXPECT_FALSE(tailnet.Get(first->id).row.expiry);
}

TEST_F(Register, TaggedKeyOnATaggedMachineKeepsItsTags) {
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(0, true, {"tag:web"}));
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), Key(0, true, {"tag:db"}));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->id, first->id);
  EXPECT_EQ(tailnet.Get(first->id).row.tags, (std::vector<std::string>{"tag:web"}));
}

TEST_F(Register, TaggedKeyConvertsTheOneNodeOfAUser) {
  const auto first = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice));
  ASSERT_TRUE(first);
  tailnet.recorder().Take();
  // Even with the same node key: the owner changes, so the key has to be valid.
  const auto second = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(0, true, {"tag:web"}));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->id, first->id);
  const Node& node = tailnet.Get(first->id);
  EXPECT_EQ(node.row.user_id, 0U);
  EXPECT_EQ(node.row.tags, (std::vector<std::string>{"tag:web"}));
  EXPECT_FALSE(node.row.expiry);
  EXPECT_EQ(tailnet.recorder().Take().at(0).kind, Kind::kNodeReplaced);
}

TEST_F(Register, TaggedKeyOnAMachineOfSeveralUsersIsAmbiguous) {
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice)));
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 2, "a"), Key(bob)));
  EXPECT_EQ(ErrorOf(tailnet.JoinWithKey(Tailnet::Request(1, 3, "a"), Key(0, true, {"tag:web"}))),
            "machine key maps to ambiguous node ownership");
}

TEST_F(Register, EphemeralByKeyOrByRequest) {
  const auto by_key = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice, true, {}, true));
  auto request = Tailnet::Request(2, 2, "b");
  request.ephemeral = true;
  const auto by_request = tailnet.JoinWithKey(request, Key(alice));
  ASSERT_TRUE(by_key && by_request);
  EXPECT_TRUE(tailnet.Get(by_key->id).row.ephemeral);
  EXPECT_TRUE(tailnet.Get(by_request->id).row.ephemeral);
}

TEST_F(Register, DeletingTheKeyMakesItsNodesStay) {
  const auto joined = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice, true, {}, true));
  ASSERT_TRUE(joined);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeletePreAuthKey(last_key.row.id, std::move(done));
  }),
            "");
  tailnet.loop().Advance(core::Seconds(100'000));
  EXPECT_FALSE(tailnet.Get(joined->id).row.ephemeral);
}

// --- by login ---

TEST_F(Register, LoginOfTheSameUserUpdates) {
  const NodeId id = tailnet.AddNode(alice, 1);
  const auto again = tailnet.JoinForUser(Tailnet::Request(1, 2, "host"), alice);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id, id);
  EXPECT_EQ(tailnet.Get(id).row.method, storage::RegisterMethod::kCli);
}

TEST_F(Register, LoginOfAnotherUserIsAnotherNode) {
  const NodeId id = tailnet.AddNode(alice, 1);
  const auto other = tailnet.JoinForUser(Tailnet::Request(1, 2, "host"), bob);
  ASSERT_TRUE(other);
  EXPECT_NE(other->id, id);
  EXPECT_EQ(tailnet.Get(other->id).row.given_name, "host-1");
}

TEST_F(Register, LoginTakesATaggedNodeOver) {
  const NodeId id = tailnet.AddNode(alice, 1);
  EXPECT_EQ(Tag(id, {"tag:web"}), "");
  const auto joined = tailnet.JoinForUser(Tailnet::Request(1, 2, "host"), bob);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->id, id);
  EXPECT_TRUE(tailnet.Get(id).row.tags.empty());
  EXPECT_EQ(tailnet.Get(id).row.user_id, bob);
  EXPECT_TRUE(tailnet.Get(id).row.expiry.has_value());
}

TEST_F(Register, LoginWithTags) {
  const std::string mine = R"(,"RequestTags":["tag:alices-b","tag:alices-a"])";
  const auto joined = tailnet.JoinForUser(Tailnet::Request(1, 1, "a", mine), alice);
  ASSERT_TRUE(joined) << ErrorOf(joined);
  EXPECT_EQ(tailnet.Get(joined->id).row.tags,
            (std::vector<std::string>{"tag:alices-a", "tag:alices-b"}));
  EXPECT_EQ(tailnet.Get(joined->id).row.user_id, 0U);
  EXPECT_FALSE(tailnet.Get(joined->id).row.expiry);
  // Again with fewer: judged by the user who logs in, not by the tagged node.
  ASSERT_TRUE(tailnet.JoinForUser(Tailnet::Request(1, 2, "a", R"(,"RequestTags":["tag:alices-a"])"),
                                  alice));
  EXPECT_EQ(tailnet.Get(joined->id).row.tags, (std::vector<std::string>{"tag:alices-a"}));
  // Without: back to the user.
  ASSERT_TRUE(tailnet.JoinForUser(Tailnet::Request(1, 3, "a"), alice));
  EXPECT_EQ(tailnet.Get(joined->id).row.user_id, alice);

  EXPECT_EQ(ErrorOf(tailnet.JoinForUser(Tailnet::Request(2, 4, "b", mine), bob)),
            "requested tags [tag:alices-a tag:alices-b] are invalid or not permitted");
  EXPECT_EQ(ErrorOf(tailnet.JoinForUser(Tailnet::Request(1, 5, "a", R"(,"RequestTags":["tag:x"])"),
                                        alice)),
            "requested tags [tag:x] are invalid or not permitted");
  EXPECT_EQ(tailnet.Get(joined->id).row.node_key, NodeKey(3)) << "untouched";
}

TEST_F(Register, LoginOnAMachineWithTagsAndAnotherUserIsAmbiguous) {
  const NodeId tagged = tailnet.AddNode(alice, 1);
  const auto bobs = tailnet.JoinForUser(Tailnet::Request(1, 2, "host"), bob);
  ASSERT_TRUE(bobs);
  EXPECT_EQ(Tag(tagged, {"tag:web"}), "");
  const auto alices = tailnet.JoinForUser(Tailnet::Request(1, 3, "host"), alice);
  ASSERT_FALSE(alices);
  EXPECT_EQ(alices.error().message, "machine key maps to ambiguous node ownership");
  EXPECT_EQ(alices.error().code, core::ErrorCode::kConflict);
  // The other user's node is his without doubt.
  const auto again = tailnet.JoinForUser(Tailnet::Request(1, 4, "host"), bob);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id, bobs->id);
}

TEST_F(Register, UnknownUser) {
  EXPECT_EQ(ErrorOf(tailnet.JoinForUser(Tailnet::Request(1, 1, "a"), 99)), "user not found");
}

TEST_F(Register, HostnameIsFollowedWhereNobodyChoseAName) {
  const std::string key = Key(alice);
  const auto joined = tailnet.JoinWithKey(Tailnet::Request(1, 1, "old"), key);
  ASSERT_TRUE(joined);
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 2, "new"), key));
  EXPECT_EQ(tailnet.Get(joined->id).row.given_name, "new");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().RenameNode(joined->id, "chosen", std::move(done));
  }),
            "");
  ASSERT_TRUE(tailnet.JoinWithKey(Tailnet::Request(1, 3, "newer"), key));
  EXPECT_EQ(tailnet.Get(joined->id).row.given_name, "chosen");
  EXPECT_EQ(tailnet.Get(joined->id).row.hostname, "newer");
}

TEST_F(Register, BadHostinfoIsRefused) {
  const std::string key = Key(alice);
  auto request = Tailnet::Request(1, 1, "a");
  request.hostinfo = "{";
  EXPECT_NE(ErrorOf(tailnet.JoinWithKey(request, key)).find("Hostinfo"), std::string::npos);
  request.hostinfo = "{\"x\":\"" + std::string(kMaxHostinfo, 'x') + "\"}";
  EXPECT_NE(ErrorOf(tailnet.JoinForUser(request, alice)).find("16 KiB"), std::string::npos);
}

TEST_F(Register, LogoutExpiresAndDeletesEphemeralNodes) {
  const auto stays = tailnet.JoinWithKey(Tailnet::Request(1, 1, "a"), Key(alice));
  const auto goes = tailnet.JoinWithKey(Tailnet::Request(2, 2, "b"), Key(alice, true, {}, true));
  ASSERT_TRUE(stays && goes);
  tailnet.recorder().Take();
  for (const NodeId id : {stays->id, goes->id}) {
    EXPECT_EQ(
        tailnet.Do([&](Completion<> done) { tailnet.registry().LogoutNode(id, std::move(done)); }),
        "");
  }
  EXPECT_EQ(tailnet.Get(stays->id).row.expiry, tailnet.loop().Wall());
  EXPECT_EQ(tailnet.registry().FindNode(goes->id), nullptr);
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].fields, Change::kKeyExpiry);
  EXPECT_TRUE(changes[0].self_too);
  EXPECT_EQ(changes[1].kind, Kind::kNodeRemoved);
}

TEST_F(Register, NoAddressLeft) {
  options.prefix_v4 = Prefix("10.0.0.0/30");
  Tailnet small(options);
  const UserId user = small.AddUser("alice");
  small.AddNode(user, 1);
  small.AddNode(user, 2);
  const auto third = small.JoinForUser(Tailnet::Request(3, 3, "c"), user);
  ASSERT_FALSE(third);
  EXPECT_NE(third.error().message.find("failed to allocate IP"), std::string::npos);
}

}  // namespace
}  // namespace ringscale::control::testing

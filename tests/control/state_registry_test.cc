// Users, pre-auth keys and what operators do to nodes.
#include "control/state/registry.h"

#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

NewUser Named(const std::string& name) {
  return {.name = name, .display_name = {}, .email = {}, .picture_url = {}};
}
NewPreAuthKey KeyFor(UserId user) {
  return {.user = user, .reusable = true, .ephemeral = false, .expiry = {}, .tags = {}};
}
NewPreAuthKey TaggedKey(std::vector<std::string> tags) {
  return {.user = 0, .reusable = true, .ephemeral = false, .expiry = {}, .tags = std::move(tags)};
}

TEST(RegistryUsers, CreateRenameDestroy) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const UserId bob = tailnet.AddUser("bob@example.com");
  EXPECT_EQ(alice, 1U);
  EXPECT_EQ(bob, 2U);
  EXPECT_EQ(registry.FindUserByName("alice")->id, alice);
  EXPECT_EQ(registry.users().size(), 2U);

  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.RenameUser(alice, "bob@example.com", std::move(done));
  }),
            "user already exists");
  EXPECT_NE(
      tailnet.Do([&](Completion<> done) { registry.RenameUser(alice, "1x", std::move(done)); }),
      "");
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry.RenameUser(9, "carol", std::move(done)); }),
      "user not found");
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { registry.RenameUser(alice, "carol", std::move(done)); }),
      "");
  EXPECT_EQ(registry.FindUserByName("alice"), nullptr);
  EXPECT_EQ(registry.FindUserByName("carol")->id, alice);

  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DestroyUser(alice, std::move(done)); }),
            "");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DestroyUser(alice, std::move(done)); }),
            "user not found");
  EXPECT_EQ(registry.FindUserByName("carol"), nullptr);
  // Ids are never used again, across a restart either.
  tailnet.Restart();
  EXPECT_EQ(tailnet.AddUser("dave"), 3U);
}

TEST(RegistryUsers, NamesAreUniqueAmongThoseOnTheirWay) {
  Tailnet tailnet({}, Tailnet::Mode::kManual);
  Outcome<UserId> first;
  Outcome<UserId> second;
  tailnet.registry().CreateUser(Named("alice"), first.Callback());
  tailnet.registry().CreateUser(Named("alice"), second.Callback());
  EXPECT_EQ(tailnet.registry().FindUserByName("alice"), nullptr);
  tailnet.CommitAll();
  EXPECT_EQ(first.Error(), "");
  EXPECT_EQ(second.Error(), "user already exists");
}

TEST(RegistryUsers, ResolvesNamesAndIds) {
  Tailnet tailnet;
  const UserId alice = tailnet.AddUser("alice");
  EXPECT_EQ(tailnet.registry().ResolveUser("alice").value_or(0), alice);
  EXPECT_EQ(tailnet.registry().ResolveUser("1").value_or(0), alice);
  for (const char* text : {"", "2", "bob", "99999999999999999999999", "1 "}) {
    const auto result = tailnet.registry().ResolveUser(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().message, "user not found");
  }
}

TEST(RegistryUsers, DestroyRefusesWhileNodesAreOwnedAndTakesKeysAlong) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const UserId bob = tailnet.AddUser("bob");
  const auto tagged_key = tailnet.AddKey(
      {.user = alice, .reusable = true, .ephemeral = true, .expiry = {}, .tags = {"tag:ci"}});
  const auto bobs_key = tailnet.AddKey(KeyFor(bob));
  const auto tagged = tailnet.JoinWithKey(Tailnet::Request(1, 1, "ci"), tagged_key.text);
  ASSERT_TRUE(tagged);
  const NodeId owned = tailnet.AddNode(alice, 2);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DestroyUser(alice, std::move(done)); }),
            "user not empty: node(s) found");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DeleteNode(owned, std::move(done)); }),
            "");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DestroyUser(alice, std::move(done)); }),
            "");
  EXPECT_EQ(registry.pre_auth_keys().size(), 1U);
  EXPECT_TRUE(registry.pre_auth_keys().contains(bobs_key.row.id));
  // A tagged node does not block, and loses what it remembered of the key.
  EXPECT_EQ(tailnet.Get(tagged->id).row.auth_key_id, 0U);
  EXPECT_FALSE(tailnet.Get(tagged->id).row.ephemeral);
  tailnet.Restart();
  EXPECT_EQ(tailnet.registry().users().size(), 1U);
}

TEST(RegistryKeys, CreateExpireDelete) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const auto expiry = tailnet.loop().Wall() + core::Seconds(3600);
  const auto key = tailnet.AddKey({.user = alice,
                                   .reusable = false,
                                   .ephemeral = true,
                                   .expiry = expiry,
                                   .tags = {"tag:b", "tag:a", "tag:b"}});
  EXPECT_EQ(key.row.tags, (std::vector<std::string>{"tag:a", "tag:b"}));
  EXPECT_TRUE(key.text.starts_with("hskey-auth-" + key.row.prefix + "-"));
  tailnet.Restart();
  const auto& stored = tailnet.registry().pre_auth_keys().at(key.row.id);
  EXPECT_EQ(stored.secret_hash, key.row.secret_hash);
  EXPECT_EQ(stored.expiry, expiry);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().ExpirePreAuthKey(key.row.id, std::move(done));
  }),
            "");
  EXPECT_EQ(tailnet.registry().pre_auth_keys().at(key.row.id).expiry, tailnet.loop().Wall());
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeletePreAuthKey(key.row.id, std::move(done));
  }),
            "");
  EXPECT_TRUE(tailnet.registry().pre_auth_keys().empty());
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().DeletePreAuthKey(key.row.id, std::move(done));
  }),
            "auth-key not found");
  (void)registry;
}

TEST(RegistryKeys, NeedAnOwnerOrTags) {
  Tailnet tailnet;
  const auto create = [&](NewPreAuthKey key) {
    Outcome<CreatedPreAuthKey> outcome;
    tailnet.registry().CreatePreAuthKey(std::move(key), outcome.Callback());
    tailnet.Settle();
    return outcome.Error();
  };
  EXPECT_EQ(create({}), "auth-key must be either tagged or owned by user");
  EXPECT_EQ(create(KeyFor(7)), "user not found");
  EXPECT_NE(create(TaggedKey({"web"})).find("tag must start"), std::string::npos);
  EXPECT_NE(create(TaggedKey({"tag:Web"})).find("lowercase"), std::string::npos);
  EXPECT_NE(create(TaggedKey({"tag:a b"})), "");
  EXPECT_NE(create(TaggedKey({"tag:"})), "");
  EXPECT_EQ(create(TaggedKey({"tag:web"})), "");
}

TEST(RegistryNodes, Rename) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const NodeId a = tailnet.AddNode(alice, 1, "web");
  const NodeId b = tailnet.AddNode(alice, 2, "web");
  EXPECT_EQ(tailnet.Get(a).row.given_name, "web");
  EXPECT_EQ(tailnet.Get(b).row.given_name, "web-1");
  const auto rename = [&](NodeId id, const std::string& name) {
    return tailnet.Do([&](Completion<> done) { registry.RenameNode(id, name, std::move(done)); });
  };
  EXPECT_EQ(rename(b, "web"), "node name is not unique");
  EXPECT_NE(rename(b, std::string(64, 'a')).find("too long, max length is 63 bytes"),
            std::string::npos);
  EXPECT_NE(rename(b, "Web"), "");
  EXPECT_EQ(rename(9, "x"), "node not found");
  tailnet.recorder().Take();
  EXPECT_EQ(rename(b, "api"), "");
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[0].self_too);
  EXPECT_EQ(registry.FindNodeByName("api")->row.id, b);
  EXPECT_EQ(registry.FindNodeByName("web-1"), nullptr);
  // The name it had is free again; its own name again is no change.
  EXPECT_EQ(rename(b, "api"), "");
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  EXPECT_EQ(rename(a, "web-1"), "");
}

TEST(RegistryNodes, NamesOnTheirWayAreTaken) {
  Tailnet tailnet({}, Tailnet::Mode::kManual);
  const UserId alice = tailnet.AddUser("alice");
  const NodeId a = tailnet.AddNode(alice, 1, "a");
  const NodeId b = tailnet.AddNode(alice, 2, "b");
  Outcome<void> first;
  Outcome<void> second;
  tailnet.registry().RenameNode(a, "web", first.Callback());
  tailnet.registry().RenameNode(b, "web", second.Callback());
  EXPECT_EQ(second.Error(), "node name is not unique");
  EXPECT_FALSE(first.done());
  ASSERT_TRUE(tailnet.store().FailNext({core::ErrorCode::kIo, "disk full"}));
  tailnet.Settle();
  EXPECT_EQ(first.Error(), "disk full");
  EXPECT_EQ(tailnet.Get(a).row.given_name, "a");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().RenameNode(b, "web", std::move(done));
  }),
            "");
}

TEST(RegistryNodes, Tags) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const NodeId id = tailnet.AddNode(alice, 1);
  const auto tag = [&](std::vector<std::string> tags) {
    return tailnet.Do(
        [&](Completion<> done) { registry.SetNodeTags(id, std::move(tags), std::move(done)); });
  };
  EXPECT_EQ(tag({}), "cannot remove all tags from node");
  EXPECT_NE(tag({"web"}).find("tag must start"), std::string::npos);
  EXPECT_NE(tag({"tag:Web"}), "");
  EXPECT_FALSE(tailnet.Get(id).tagged());
  tailnet.recorder().Take();
  EXPECT_EQ(tag({"tag:web", "tag:db", "tag:web"}), "");
  EXPECT_EQ(tailnet.Get(id).row.tags, (std::vector<std::string>{"tag:db", "tag:web"}));
  EXPECT_EQ(tailnet.Get(id).row.user_id, 0U);
  EXPECT_EQ(tailnet.Get(id).wire_user(), kTaggedDevicesUser);
  EXPECT_TRUE(registry.NodesOfUser(alice).empty());
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[0].self_too);
}

TEST(RegistryNodes, TagsUnknownToThePolicyAreRefused) {
  RegistryOptions options;
  options.tag_exists = [](std::string_view tag) { return tag == "tag:web"; };
  Tailnet tailnet(options);
  const NodeId id = tailnet.AddNode(tailnet.AddUser("alice"), 1);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().SetNodeTags(id, {"tag:web", "tag:x"}, std::move(done));
  }),
            "requested tags [tag:x] are invalid or not permitted");
}

TEST(RegistryNodes, AnExpiryStaysWhenTagged) {
  Tailnet tailnet;
  const NodeId id = tailnet.AddNode(tailnet.AddUser("alice"), 1);
  const auto expiry = tailnet.loop().Wall() + core::Seconds(100);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().SetNodeExpiry(id, expiry, std::move(done));
  }),
            "");
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().SetNodeTags(id, {"tag:a"}, std::move(done));
  }),
            "");
  EXPECT_EQ(tailnet.Get(id).row.expiry, expiry);
}

TEST(RegistryNodes, ExpiryIsSetAndTakenAway) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const NodeId id = tailnet.AddNode(tailnet.AddUser("alice"), 1);
  const auto now = [&] { return tailnet.loop().Wall(); };
  const auto set = [&](std::optional<core::WallTime> expiry) {
    tailnet.recorder().Take();
    EXPECT_EQ(
        tailnet.Do([&](Completion<> done) { registry.SetNodeExpiry(id, expiry, std::move(done)); }),
        "");
    auto changes = tailnet.recorder().Take();
    EXPECT_EQ(changes.size(), 1U);
    return changes.empty() ? Published{} : changes.front();
  };
  auto change = set(now() + core::Seconds(60));
  EXPECT_EQ(change.kind, Kind::kNodePatched);
  EXPECT_EQ(change.fields, Change::kKeyExpiry);
  EXPECT_TRUE(change.self_too);
  EXPECT_EQ(set(std::nullopt).kind, Kind::kNodeReplaced);

  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.ExpireNodeNow(id, std::move(done)); }),
            "");
  EXPECT_TRUE(tailnet.Get(id).expired(now()));
  change = tailnet.recorder().Take().at(0);
  EXPECT_EQ(change.kind, Kind::kNodePatched);
  EXPECT_TRUE(change.self_too);
  // Peers mark an expired node for good: only a whole one takes that back.
  EXPECT_EQ(set(now() + core::Seconds(60)).kind, Kind::kNodeReplaced);
}

TEST(RegistryNodes, ExpiryIsToldWhenItComes) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  std::vector<NodeId> ids;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ids.push_back(tailnet.AddNode(alice, i));
    EXPECT_EQ(tailnet.Do([&](Completion<> done) {
      registry.SetNodeExpiry(ids.back(),
                             tailnet.loop().Wall() + core::Seconds(static_cast<int>(40 - 10 * i)),
                             std::move(done));
    }),
              "");
  }
  // The second is taken back before it comes.
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    registry.SetNodeExpiry(ids[1], std::nullopt, std::move(done));
  }),
            "");
  tailnet.recorder().Take();
  tailnet.loop().Advance(core::Seconds(9));
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  tailnet.loop().Advance(core::Seconds(1));
  auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].id, ids[2]);
  EXPECT_EQ(changes[0].fields, Change::kKeyExpiry);
  EXPECT_TRUE(changes[0].self_too);
  tailnet.loop().Advance(core::Seconds(100));
  changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].id, ids[0]);
}

TEST(RegistryNodes, ShorteningNeverExtends) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const NodeId id = tailnet.AddNode(tailnet.AddUser("alice"), 1);
  const auto at = [&](int seconds) { return tailnet.loop().Wall() + core::Seconds(seconds); };
  const auto shorten = [&](core::WallTime expiry) {
    return tailnet.Do(
        [&](Completion<> done) { registry.ShortenNodeExpiry(id, expiry, std::move(done)); });
  };
  EXPECT_EQ(shorten(at(100)), "");
  EXPECT_EQ(shorten(at(101)), "extending key is not allowed");
  EXPECT_EQ(shorten(at(50)), "");
  EXPECT_EQ(tailnet.Get(id).row.expiry, at(50));
}

TEST(RegistryNodes, DeleteFreesEverything) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const UserId alice = tailnet.AddUser("alice");
  const NodeId id = tailnet.AddNode(alice, 1, "web");
  const auto v4 = tailnet.Get(id).row.ipv4;
  const std::string stable_id = tailnet.Get(id).row.stable_id;
  registry.StreamOpened(id);
  tailnet.recorder().Take();
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DeleteNode(id, std::move(done)); }), "");
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeRemoved);
  EXPECT_EQ(changes[0].retired_node_key, NodeKey(1));
  EXPECT_EQ(changes[0].name, "web");
  EXPECT_EQ(registry.FindNode(id), nullptr);
  EXPECT_EQ(registry.FindNodeByKey(NodeKey(1)), nullptr);
  EXPECT_EQ(registry.FindNodeByName("web"), nullptr);
  EXPECT_EQ(registry.FindNodeByAddress(v4), nullptr);
  EXPECT_EQ(registry.FindNodeByStableId(stable_id), nullptr);
  EXPECT_TRUE(registry.NodesOfMachine(Machine(1)).empty());
  registry.StreamClosed(id);  // its stream ends later
  tailnet.loop().Advance(core::Seconds(100));
  EXPECT_TRUE(tailnet.recorder().Take().empty());
  EXPECT_EQ(tailnet.Do([&](Completion<> done) { registry.DeleteNode(id, std::move(done)); }),
            "node not found");
  // The next one gets another id and may have the name.
  EXPECT_EQ(tailnet.AddNode(alice, 1, "web"), id + 1);
}

TEST(RegistryNodes, ApprovedRoutesAreNormalized) {
  Tailnet tailnet;
  Registry& registry = tailnet.registry();
  const NodeId id = tailnet.AddNode(tailnet.AddUser("alice"), 1, "router",
                                    R"(,"RoutableIPs":["10.1.0.0/16","0.0.0.0/0","::/0"])");
  const auto approve = [&](std::vector<core::IpPrefix> routes) {
    tailnet.recorder().Take();
    return tailnet.Do(
        [&](Completion<> done) { registry.ApproveRoutes(id, std::move(routes), std::move(done)); });
  };
  EXPECT_EQ(approve({Prefix("10.9.0.0/16")}), "");
  EXPECT_TRUE(tailnet.recorder().Take().empty()) << "an approval without effect on anybody";
  EXPECT_EQ(approve({Prefix("::/0"), Prefix("10.1.2.3/16"), Prefix("10.1.0.0/16")}), "");
  std::vector<std::string> routes;
  for (const auto& route : tailnet.Get(id).row.approved_routes) routes.push_back(route.text());
  EXPECT_EQ(routes, (std::vector<std::string>{"0.0.0.0/0", "10.1.0.0/16", "::/0"}));
  const auto changes = tailnet.recorder().Take();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Kind::kNodeReplaced);
  EXPECT_TRUE(changes[0].self_too);
  EXPECT_EQ(approve({}), "");
  EXPECT_TRUE(tailnet.Get(id).row.approved_routes.empty());
}

TEST(RegistryNodes, BackfillFollowsTheConfiguredFamilies) {
  RegistryOptions v4_only;
  v4_only.prefix_v6.reset();
  Tailnet tailnet(v4_only);
  const UserId alice = tailnet.AddUser("alice");
  const NodeId a = tailnet.AddNode(alice, 1, "a");
  const NodeId b = tailnet.AddNode(alice, 2, "b");
  EXPECT_FALSE(tailnet.Get(a).row.ipv6.valid());

  RegistryOptions v6_only;
  v6_only.prefix_v4.reset();
  tailnet.set_options(v6_only);
  tailnet.Restart();
  Outcome<std::vector<std::string>> outcome;
  tailnet.registry().BackfillAddresses(outcome.Callback());
  tailnet.Settle();
  ASSERT_EQ(outcome.Error(), "");
  EXPECT_EQ(*outcome.Get(),
            (std::vector<std::string>{"removing IPv4 \"100.64.0.1\" from Node(1) \"a\"",
                                      "assigned IPv6 \"fd7a:115c:a1e0::1\" to Node(1) \"a\"",
                                      "removing IPv4 \"100.64.0.2\" from Node(2) \"b\"",
                                      "assigned IPv6 \"fd7a:115c:a1e0::2\" to Node(2) \"b\""}));
  EXPECT_FALSE(tailnet.Get(b).row.ipv4.valid());
  EXPECT_EQ(tailnet.registry().FindNodeByAddress(tailnet.Get(b).row.ipv6)->row.id, b);
  EXPECT_EQ(tailnet.recorder().Take().size(), 2U);
}

TEST(RegistryNodes, BackfillThatDoesNotFitChangesNothing) {
  RegistryOptions options;
  options.prefix_v6.reset();
  Tailnet tailnet(options);
  const UserId alice = tailnet.AddUser("alice");
  for (std::uint64_t i = 1; i <= 3; ++i) tailnet.AddNode(alice, i);
  options.prefix_v6 = Prefix("fd00::/126");
  tailnet.set_options(options);
  tailnet.Restart();
  Outcome<std::vector<std::string>> outcome;
  tailnet.registry().BackfillAddresses(outcome.Callback());
  tailnet.Settle();
  EXPECT_NE(outcome.Error().find("failed to allocate IP"), std::string::npos);
  EXPECT_FALSE(tailnet.Get(1).row.ipv6.valid());
  // Nothing stayed held.
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { tailnet.registry().DeleteNode(3, std::move(done)); }),
      "");
  Outcome<std::vector<std::string>> again;
  tailnet.registry().BackfillAddresses(again.Callback());
  tailnet.Settle();
  EXPECT_EQ(again.Error(), "");
}

// --- loading ---

storage::NodeRow GoodRow(NodeId id) {
  storage::NodeRow row;
  row.id = id;
  row.stable_id = "stable" + std::to_string(id);
  row.machine_key = Machine(id);
  row.node_key = NodeKey(id);
  row.user_id = 1;
  row.given_name = "n" + std::to_string(id);
  row.ipv4 = core::IpAddress::V4(0x64400000 + static_cast<std::uint32_t>(id));
  row.created = {1};
  row.hostinfo = "{}";
  return row;
}

std::string LoadError(const std::vector<storage::NodeRow>& rows) {
  storage::MemoryStore::Records records = storage::MemoryStore().records();
  storage::MetaRow meta;
  meta.next_node_id = 100;
  meta.next_user_id = 2;
  records[{storage::Table::kMeta, std::string(storage::kMetaKey)}] = storage::Encode(meta);
  storage::UserRow user;
  user.id = 1;
  user.name = "alice";
  records[{storage::Table::kUsers, storage::IdKey(1)}] = storage::Encode(user);
  for (const auto& row : rows) {
    records[{storage::Table::kNodes, storage::IdKey(row.id)}] = storage::Encode(row);
  }
  storage::MemoryStore store(storage::MemoryStore::Mode::kImmediate, records);
  ManualLoop loop;
  Registry registry(loop, store, {});
  const auto loaded = registry.Load();
  return loaded ? "" : loaded.error().message;
}

TEST(RegistryLoad, RefusesRowsThatCannotBe) {
  EXPECT_EQ(LoadError({GoodRow(1), GoodRow(2)}), "");
  const struct {
    const char* expected;
    void (*spoil)(storage::NodeRow&);
  } kCases[] = {
      {"its node key is node 1's too", [](auto& row) { row.node_key = NodeKey(1); }},
      {"its name \"n1\" is node 1's too", [](auto& row) { row.given_name = "n1"; }},
      {"its address 100.64.0.1 is node 1's too", [](auto& row) { row.ipv4 = GoodRow(1).ipv4; }},
      {"its stable id is node 1's too", [](auto& row) { row.stable_id = "stable1"; }},
      {"its user does not exist", [](auto& row) { row.user_id = 7; }},
      {"its user does not exist", [](auto& row) { row.user_id = 0; }},
      {"it has tags and a user", [](auto& row) { row.tags = {"tag:a"}; }},
      {"it has no machine key", [](auto& row) { row.machine_key = {}; }},
      {"it has no node key", [](auto& row) { row.node_key = {}; }},
      {"it has no name", [](auto& row) { row.given_name = ""; }},
      {"it has no stable id", [](auto& row) { row.stable_id = ""; }},
      {"Hostinfo", [](auto& row) { row.hostinfo = "{"; }},
      {"its id was never given out", [](auto& row) { row.id = 100; }},
  };
  for (const auto& c : kCases) {
    storage::NodeRow row = GoodRow(2);
    c.spoil(row);
    const std::string error = LoadError({GoodRow(1), row});
    EXPECT_NE(error.find(c.expected), std::string::npos) << error;
    EXPECT_NE(error.find("node " + std::to_string(row.id)), std::string::npos) << error;
  }
}

TEST(RegistryLoad, TenThousandNodes) {
  Tailnet tailnet;
  const UserId alice = tailnet.AddUser("alice");
  std::vector<Outcome<Registered>> outcomes(10'000);
  for (std::uint64_t i = 0; i < outcomes.size(); ++i) {
    tailnet.registry().RegisterForUser(Tailnet::Request(i + 1, i + 1, "same name"), alice,
                                       storage::RegisterMethod::kCli, outcomes[i].Callback());
  }
  tailnet.Settle();
  for (auto& outcome : outcomes) ASSERT_EQ(outcome.Error(), "");
  tailnet.Restart();
  EXPECT_EQ(tailnet.registry().nodes().size(), 10'000U);
  EXPECT_EQ(tailnet.Get(10'000).row.given_name, "same-name-9999");
  EXPECT_EQ(tailnet.registry().FindNodeByKey(NodeKey(5000))->row.id, 5000U);
}

}  // namespace
}  // namespace ringscale::control::testing

// What operators do to nodes.
#include <gtest/gtest.h>

#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

using Kind = Change::Kind;

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

}  // namespace
}  // namespace ringscale::control::testing

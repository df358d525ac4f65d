// Users and pre-auth keys.
#include <gtest/gtest.h>

#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

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

}  // namespace
}  // namespace ringscale::control::testing

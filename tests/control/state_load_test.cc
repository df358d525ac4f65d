// From what the store holds to a registry.
#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

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

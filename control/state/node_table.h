// The nodes and everything they are looked up by. Holds what is committed; knows
// nothing of stores, listeners or time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "control/state/ip_allocator.h"
#include "control/state/types.h"
#include "core/base/keyed_hash.h"

namespace ringscale::control {

class NodeTable {
 public:
  [[nodiscard]] const std::map<NodeId, Node>& all() const { return nodes_; }
  [[nodiscard]] Node* Find(NodeId id);
  [[nodiscard]] const Node* Find(NodeId id) const;
  [[nodiscard]] const Node* FindByKey(const core::NodePublic& key) const;
  [[nodiscard]] const Node* FindByName(std::string_view given_name) const;
  [[nodiscard]] const Node* FindByAddress(const core::IpAddress& ip) const;
  [[nodiscard]] const Node* FindByStableId(std::string_view stable_id) const;
  // In the order of their ids.
  [[nodiscard]] std::vector<const Node*> OfMachine(const core::MachinePublic& key) const;
  [[nodiscard]] std::vector<const Node*> OfUser(UserId user) const;

  // What keeps this row from being (or, with its id present, becoming) a node:
  // another node that has its id, key, name, address. nullopt = nothing.
  [[nodiscard]] std::optional<std::string> Conflict(const storage::NodeRow& row,
                                                    bool replaces = false) const;
  // The row must not conflict. Only the durable part is set.
  Node& Insert(storage::NodeRow row);
  void Replace(Node& node, storage::NodeRow row);
  Node Remove(NodeId id);  // the node must exist

  // What differs between the indices and ones built anew; empty = nothing.
  [[nodiscard]] std::string CheckIndices() const;

 private:
  template <class Key>
  using Index = std::unordered_map<Key, NodeId, core::KeyedHasher, std::equal_to<>>;
  void AddToIndices(const storage::NodeRow& row);
  void RemoveFromIndices(const storage::NodeRow& row);

  std::map<NodeId, Node> nodes_;
  Index<core::NodePublic> by_key_;
  Index<std::string> by_name_;
  Index<std::string> by_stable_id_;
  std::unordered_map<core::IpAddress, NodeId, AddressHash> by_address_;
  std::unordered_map<core::MachinePublic, std::set<NodeId>, core::KeyedHasher> by_machine_;
  std::unordered_map<UserId, std::set<NodeId>> by_user_;
};

}  // namespace ringscale::control

#include "control/state/node_table.h"

#include <utility>

namespace ringscale::control {

Node* NodeTable::Find(NodeId id) {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

const Node* NodeTable::Find(NodeId id) const {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

const Node* NodeTable::FindByKey(const core::NodePublic& key) const {
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? nullptr : Find(it->second);
}

const Node* NodeTable::FindByName(std::string_view given_name) const {
  const auto it = by_name_.find(given_name);
  return it == by_name_.end() ? nullptr : Find(it->second);
}

const Node* NodeTable::FindByAddress(const core::IpAddress& ip) const {
  const auto it = by_address_.find(ip);
  return it == by_address_.end() ? nullptr : Find(it->second);
}

const Node* NodeTable::FindByStableId(std::string_view stable_id) const {
  const auto it = by_stable_id_.find(stable_id);
  return it == by_stable_id_.end() ? nullptr : Find(it->second);
}

std::vector<const Node*> NodeTable::OfMachine(const core::MachinePublic& key) const {
  std::vector<const Node*> found;
  const auto it = by_machine_.find(key);
  if (it == by_machine_.end()) return found;
  for (NodeId id : it->second) found.push_back(Find(id));
  return found;
}

std::vector<const Node*> NodeTable::OfUser(UserId user) const {
  std::vector<const Node*> found;
  const auto it = by_user_.find(user);
  if (it == by_user_.end()) return found;
  for (NodeId id : it->second) found.push_back(Find(id));
  return found;
}

std::optional<std::string> NodeTable::Conflict(const storage::NodeRow& row, bool replaces) const {
  const auto taken = [&](const Node* other, std::string_view what) -> std::optional<std::string> {
    if (other == nullptr || (replaces && other->row.id == row.id)) return std::nullopt;
    return std::string(what) + " is node " + std::to_string(other->row.id) + "'s too";
  };
  if (!replaces && nodes_.contains(row.id)) return "its id is taken";
  if (auto conflict = taken(FindByKey(row.node_key), "its node key")) return conflict;
  if (auto conflict = taken(FindByName(row.given_name), "its name \"" + row.given_name + "\"")) {
    return conflict;
  }
  if (auto conflict = taken(FindByStableId(row.stable_id), "its stable id")) return conflict;
  for (const core::IpAddress& ip : {row.ipv4, row.ipv6}) {
    if (!ip.valid()) continue;
    if (auto conflict = taken(FindByAddress(ip), "its address " + ip.text())) return conflict;
  }
  return std::nullopt;
}

Node& NodeTable::Insert(storage::NodeRow row) {
  AddToIndices(row);
  Node& node = nodes_[row.id];
  node.row = std::move(row);
  return node;
}

void NodeTable::Replace(Node& node, storage::NodeRow row) {
  RemoveFromIndices(node.row);
  AddToIndices(row);
  node.row = std::move(row);
}

Node NodeTable::Remove(NodeId id) {
  auto extracted = nodes_.extract(id);
  RemoveFromIndices(extracted.mapped().row);
  return std::move(extracted.mapped());
}

void NodeTable::AddToIndices(const storage::NodeRow& row) {
  by_key_.emplace(row.node_key, row.id);
  by_name_.emplace(row.given_name, row.id);
  by_stable_id_.emplace(row.stable_id, row.id);
  if (row.ipv4.valid()) by_address_.emplace(row.ipv4, row.id);
  if (row.ipv6.valid()) by_address_.emplace(row.ipv6, row.id);
  by_machine_[row.machine_key].insert(row.id);
  if (row.user_id != 0) by_user_[row.user_id].insert(row.id);
}

void NodeTable::RemoveFromIndices(const storage::NodeRow& row) {
  by_key_.erase(row.node_key);
  by_name_.erase(row.given_name);
  by_stable_id_.erase(row.stable_id);
  by_address_.erase(row.ipv4);
  by_address_.erase(row.ipv6);
  const auto erase = [&](auto& index, const auto& key) {
    const auto it = index.find(key);
    if (it == index.end()) return;
    it->second.erase(row.id);
    if (it->second.empty()) index.erase(it);
  };
  erase(by_machine_, row.machine_key);
  erase(by_user_, row.user_id);
}

std::string NodeTable::CheckIndices() const {
  NodeTable rebuilt;
  for (const auto& [id, node] : nodes_) {
    if (id != node.row.id) return "node " + std::to_string(id) + " lies under another's id";
    if (auto conflict = rebuilt.Conflict(node.row)) {
      return "node " + std::to_string(id) + ": " + *conflict;
    }
    rebuilt.Insert(node.row);
  }
  if (rebuilt.by_key_ != by_key_) return "node key index";
  if (rebuilt.by_name_ != by_name_) return "name index";
  if (rebuilt.by_stable_id_ != by_stable_id_) return "stable id index";
  if (rebuilt.by_address_ != by_address_) return "address index";
  if (rebuilt.by_machine_ != by_machine_) return "machine index";
  if (rebuilt.by_user_ != by_user_) return "user index";
  return {};
}

}  // namespace ringscale::control

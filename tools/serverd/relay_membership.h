// Keeps the relay's list of admitted keys equal to the registry's nodes, and
// closes relay connections of keys that are gone. Control thread only.
#pragma once

#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/state/registry.h"
#include "relay/app/admission_set.h"

namespace ringscale::serverd {

class RelayMembership final : public control::ChangeListener {
 public:
  using CloseKey = std::function<void(const core::NodePublic&)>;

  RelayMembership(const control::Registry& registry, relay::AdmissionSet& admitted,
                  CloseKey close_key)
      : registry_(registry), admitted_(admitted), close_key_(std::move(close_key)) {}

  // Admits all nodes that the registry has loaded.
  void Load() {
    std::vector<core::NodePublic> keys;
    for (const auto& [id, node] : registry_.nodes()) {
      keys_[id] = node.row.node_key;
      keys.push_back(node.row.node_key);
    }
    admitted_.Replace(keys);
  }

  void OnChange(const control::Change& change) override {
    using Kind = control::Change::Kind;
    if (change.kind == Kind::kUserChanged || change.kind == Kind::kDnsChanged ||
        change.kind == Kind::kDerpChanged || change.kind == Kind::kPolicyChanged) {
      return;
    }
    const control::Node* node =
        change.kind == Kind::kNodeRemoved ? nullptr : registry_.FindNode(change.id);
    const auto known = keys_.find(change.id);
    if (known != keys_.end() && node != nullptr && known->second == node->row.node_key) return;
    // The new key first: a client may log in with it at once.
    if (node != nullptr) admitted_.Add(node->row.node_key);
    if (known != keys_.end()) {
      admitted_.Remove(known->second);
      close_key_(known->second);
      keys_.erase(known);
    }
    if (node != nullptr) keys_[change.id] = node->row.node_key;
  }

 private:
  const control::Registry& registry_;
  relay::AdmissionSet& admitted_;
  CloseKey close_key_;
  std::unordered_map<control::NodeId, core::NodePublic> keys_;
};

}  // namespace ringscale::serverd

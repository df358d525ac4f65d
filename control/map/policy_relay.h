// Brings changes of the tailnet to the policy and then to the map fan-out, with
// what the policy makes of them.
#pragma once

#include "control/map/map_service.h"
#include "control/map/map_source.h"
#include "control/policy/policy_index.h"
#include "control/state/types.h"

namespace ringscale::control {

class PolicyRelay final : public ChangeListener {
 public:
  // All must outlive this.
  PolicyRelay(PolicyIndex& policy, const MapSource& source, ChangeListener& maps)
      : policy_(policy), source_(source), maps_(maps) {}

  void OnChange(const Change& change) override {
    const PolicyIndex::Effect effect = policy_.OnChange(change);
    maps_.OnChange(change);
    if (effect.policy_changed) PolicyChanged();
    for (const NodeId id : effect.replaced) {
      const Node* node = source_.FindNode(id);
      if (node == nullptr) continue;
      maps_.OnChange({.kind = Change::Kind::kNodeReplaced, .id = id, .node = node});
    }
  }
  void PolicyChanged() { maps_.OnChange({.kind = Change::Kind::kPolicyChanged}); }

 private:
  PolicyIndex& policy_;
  const MapSource& source_;
  ChangeListener& maps_;
};

}  // namespace ringscale::control

// Brings changes of the tailnet to the policy and then to the map fan-out, with
// what the policy makes of them.
#pragma once

#include <vector>

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
    Tell(effect);
  }
  // After PolicyIndex::Use.
  void PolicyChanged() { Tell(policy_.Take()); }

 private:
  void Tell(const PolicyIndex::Effect& effect) {
    if (effect.everybody) maps_.OnChange({.kind = Change::Kind::kPolicyChanged});
    TellEach(effect.moved, Change::Kind::kPolicyChanged);
    TellEach(effect.replaced, Change::Kind::kNodeReplaced);
  }
  void TellEach(const std::vector<NodeId>& ids, Change::Kind kind) {
    for (const NodeId id : ids) {
      const Node* node = source_.FindNode(id);
      if (node != nullptr) maps_.OnChange({.kind = kind, .id = id, .node = node});
    }
  }

  PolicyIndex& policy_;
  const MapSource& source_;
  ChangeListener& maps_;
};

}  // namespace ringscale::control

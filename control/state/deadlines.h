// Points in time at which something is to happen to a node: one per kind and node.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "control/state/types.h"
#include "core/base/time.h"

namespace ringscale::control {

enum class DeadlineKind : std::uint8_t {
  kOffline,     // the grace after the last stream has passed
  kEphemeral,   // an ephemeral node was away too long
  kExpiryScan,  // node 0
  kLazyWrite,   // node 0
};

class Deadlines {
 public:
  struct Due {
    DeadlineKind kind;
    NodeId node;
  };

  // Replaces an earlier one.
  void Set(DeadlineKind kind, NodeId node, core::Instant at) {
    Clear(kind, node);
    by_node_.emplace(std::pair(node, kind), at);
    by_time_.emplace(at, kind, node);
  }
  void Clear(DeadlineKind kind, NodeId node) {
    const auto it = by_node_.find({node, kind});
    if (it == by_node_.end()) return;
    by_time_.erase({it->second, kind, node});
    by_node_.erase(it);
  }
  [[nodiscard]] bool Has(DeadlineKind kind, NodeId node) const {
    return by_node_.contains({node, kind});
  }
  [[nodiscard]] std::optional<core::Instant> Next() const {
    if (by_time_.empty()) return std::nullopt;
    return std::get<0>(*by_time_.begin());
  }
  // Takes out the first one that has come, in the order of time.
  std::optional<Due> TakeDue(core::Instant now) {
    if (by_time_.empty() || std::get<0>(*by_time_.begin()) > now) return std::nullopt;
    const auto [at, kind, node] = *by_time_.begin();
    Clear(kind, node);
    return Due{kind, node};
  }

 private:
  std::map<std::pair<NodeId, DeadlineKind>, core::Instant> by_node_;
  std::set<std::tuple<core::Instant, DeadlineKind, NodeId>> by_time_;
};

}  // namespace ringscale::control

// What the map fan-out reads of the tailnet's state. Pointers are valid until the
// state changes; nothing is kept.
#pragma once

#include <functional>
#include <vector>

#include "control/state/types.h"
#include "core/net/address.h"
#include "storage/tables/rows.h"

namespace ringscale::control {

class MapSource {
 public:
  virtual ~MapSource() = default;
  virtual void EachNode(const std::function<void(const Node&)>& visit) const = 0;
  [[nodiscard]] virtual const Node* FindNode(NodeId id) const = 0;
  [[nodiscard]] virtual const storage::UserRow* FindUser(UserId id) const = 0;
  // Subnet routes served by the node now, sorted; no exit routes.
  [[nodiscard]] virtual std::vector<core::IpPrefix> PrimaryRoutes(NodeId id) const = 0;
};

}  // namespace ringscale::control

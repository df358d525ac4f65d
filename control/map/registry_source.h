// The registry as source of the map fan-out.
#pragma once

#include "control/map/map_source.h"
#include "control/state/registry.h"

namespace ringscale::control {

class RegistrySource final : public MapSource {
 public:
  explicit RegistrySource(const Registry& registry) : registry_(registry) {}

  void EachNode(const std::function<void(const Node&)>& visit) const override {
    for (const auto& [id, node] : registry_.nodes()) visit(node);
  }
  [[nodiscard]] const Node* FindNode(NodeId id) const override { return registry_.FindNode(id); }
  [[nodiscard]] const storage::UserRow* FindUser(UserId id) const override {
    return registry_.FindUser(id);
  }
  [[nodiscard]] std::vector<core::IpPrefix> PrimaryRoutes(NodeId id) const override {
    return registry_.PrimaryRoutes(id);
  }

 private:
  const Registry& registry_;
};

}  // namespace ringscale::control

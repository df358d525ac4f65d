// The policy in force, as the map fan-out asks for it: the engine fed with the
// nodes of the registry, or everybody reaching everybody while there is none.
//
// It must hear of a change before the fan-out does. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/policy/allow_all.h"
#include "control/policy/engine.h"
#include "control/policy/policy.h"
#include "control/state/types.h"

namespace ringscale::control {

// What the engine looks at.
[[nodiscard]] policy::PolicyNode PolicyNodeOf(const Node& node);
[[nodiscard]] policy::PolicyUser PolicyUserOf(const storage::UserRow& row, bool owner);

class PolicyIndex final : public PolicyView {
 public:
  using EachNode = std::function<void(const std::function<void(const Node&)>&)>;
  using PrimaryOf = std::function<NodeId(const core::IpPrefix&)>;

  // `each_node` visits all nodes, `primary_of` names who serves a subnet now.
  PolicyIndex(EachNode each_node, PrimaryOf primary_of);

  // Puts another policy in force; null: none. A Change of kind kPolicyChanged has
  // to follow.
  void Use(std::shared_ptr<const policy::Program> program, policy::EngineSettings settings);
  // Null while there is no policy.
  [[nodiscard]] const policy::Engine* engine() const { return engine_.get(); }

  struct Effect {
    bool policy_changed = false;   // classes mean something else: kPolicyChanged has to follow
    std::vector<NodeId> replaced;  // peers whose routes differ now: kNodeReplaced each
  };
  Effect OnChange(const Change& change);

  [[nodiscard]] PeerClass ClassOfPeer(const Node& node) const override;
  [[nodiscard]] ViewerClass ClassOfViewer(const Node& node) const override;
  [[nodiscard]] std::vector<PeerClass> Visible(ViewerClass viewer) const override;
  [[nodiscard]] std::vector<PolicyText> PacketFilter(const Node& node) const override;
  [[nodiscard]] PolicyText SshPolicy(const Node& node) const override;
  [[nodiscard]] std::uint64_t RulesVersion(ViewerClass viewer) const override;
  [[nodiscard]] const VariedPeers& Varied(ViewerClass viewer) const override;
  [[nodiscard]] bool Ipv6Only(ViewerClass node_class) const override;
  void AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const override;

 private:
  void Fill();
  // Nodes are indexed again, with other classes, when many classes died.
  [[nodiscard]] bool Worn() const;
  void Note(const policy::Affected& affected);
  // The primaries of the node's subnets; true when one is another now.
  bool RefreshPrimaries(std::span<const core::IpPrefix> routes);
  // Routers that offer one of the routes, when a policy steers by `via`.
  [[nodiscard]] std::vector<NodeId> Sharing(std::span<const core::IpPrefix> routes) const;
  Effect PutNode(const Node& node);

  EachNode each_node_;
  PrimaryOf primary_of_;
  AllowAllPolicy allow_all_;
  PolicyText no_ssh_;
  std::shared_ptr<const policy::Program> program_;
  policy::EngineSettings settings_;
  std::unique_ptr<policy::Engine> engine_;
  std::map<core::IpPrefix, NodeId> primaries_;
  std::map<NodeId, std::vector<core::IpPrefix>> routers_;
  std::unordered_map<ViewerClass, std::uint64_t> versions_;
  std::uint64_t last_version_ = 0;
  mutable std::unordered_map<ViewerClass, VariedPeers> varied_;
};

}  // namespace ringscale::control

// The policy in force, as the map fan-out asks for it: the engine fed with the
// nodes of the registry, or everybody reaching everybody while there is none.
//
// It must hear of a change before the fan-out does. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/policy/allow_all.h"
#include "control/policy/engine.h"
#include "control/policy/policy.h"
#include "control/state/types.h"

namespace ringscale::control {

// What the engine looks at.
[[nodiscard]] policy::PolicyNode PolicyNodeOf(const Node& node);
[[nodiscard]] policy::PolicyUser PolicyUserOf(const storage::UserRow& row, bool owner);

// Capabilities that this server does not serve (yet) and therefore keeps from clients:
// one that believes in it would fail later and say less.
[[nodiscard]] bool NotServed(std::string_view capability);

class PolicyIndex final : public PolicyView {
 public:
  using EachNode = std::function<void(const std::function<void(const Node&)>&)>;
  using PrimaryOf = std::function<NodeId(const core::IpPrefix&)>;

  // `each_node` visits all nodes, `primary_of` names who serves a subnet now.
  PolicyIndex(EachNode each_node, PrimaryOf primary_of);

  // Puts another policy in force; null: none. What Take answers has to be told.
  void Use(std::shared_ptr<const policy::Program> program, policy::EngineSettings settings);
  // Null while there is no policy.
  [[nodiscard]] const policy::Engine* engine() const { return engine_.get(); }

  // What a change means for others than it names.
  struct Effect {
    bool everybody = false;        // classes mean something else: kPolicyChanged
    std::vector<NodeId> moved;     // of another class now: kPolicyChanged each
    std::vector<NodeId> replaced;  // peers whose routes differ now: kNodeReplaced each
  };
  Effect OnChange(const Change& change);
  // Of the calls of Use since the last time.
  [[nodiscard]] Effect Take() { return std::exchange(used_, {}); }

  [[nodiscard]] PeerClass ClassOfPeer(const Node& node) const override;
  [[nodiscard]] ViewerClass ClassOfViewer(const Node& node) const override;
  [[nodiscard]] std::vector<PeerClass> Visible(ViewerClass viewer) const override;
  [[nodiscard]] bool SeesClass(ViewerClass viewer, PeerClass peers) const override;
  [[nodiscard]] std::vector<FilterEntry> PacketFilter(const Node& node) const override;
  [[nodiscard]] PolicyText SshPolicy(const Node& node) const override;
  [[nodiscard]] std::uint64_t RulesVersion(ViewerClass viewer) const override;
  [[nodiscard]] const VariedPeers& Varied(ViewerClass viewer) const override;
  [[nodiscard]] bool Ipv6Only(ViewerClass node_class) const override;
  [[nodiscard]] std::uint64_t VariedVersion() const override { return varied_version_; }
  void AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const override;

 private:
  // False: some nodes are of another class than before.
  bool Fill();
  // Takes over the numbers of the classes that are as they were in `old`, and notes
  // those whose rules are not. False: some are not.
  bool MatchClasses(const policy::Engine& old, const std::vector<std::uint32_t>& old_numbers,
                    bool same_rules);
  void AdoptMembers(const policy::Program& before);
  void NumberClasses();  // new ones
  // The engine's class of a number; nullopt: it is gone.
  [[nodiscard]] std::optional<policy::ClassId> ClassOf(std::uint32_t number) const;
  [[nodiscard]] std::uint32_t NumberOf(NodeId id) const;
  // Nodes are indexed again, with other classes, when many classes died.
  [[nodiscard]] bool Worn() const;
  void Note(const policy::Affected& affected);
  // The primaries of the node's subnets; true when one is another now.
  bool RefreshPrimaries(std::span<const core::IpPrefix> routes);
  // Routers that offer one of the routes.
  [[nodiscard]] std::vector<NodeId> Sharing(std::span<const core::IpPrefix> routes) const;
  // Likewise, when a policy steers by `via`.
  [[nodiscard]] std::vector<NodeId> Steered(std::span<const core::IpPrefix> routes) const;
  void RoutesChanged(NodeId router, std::span<const core::IpPrefix> routes);
  void VaryOne(policy::ClassId viewer, NodeId router, VariedPeers& out) const;
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
  // Numbers of classes outside: other than the engine's they outlive an index that
  // is filled again.
  std::vector<std::uint32_t> numbers_;  // by the engine's class
  std::unordered_map<std::uint32_t, policy::ClassId> classes_;
  std::uint32_t next_number_ = 1;
  Effect used_;
  std::unordered_map<ViewerClass, std::uint64_t> versions_;
  std::uint64_t last_version_ = 0;
  mutable std::unordered_map<ViewerClass, VariedPeers> varied_;
  std::uint64_t varied_version_ = 0;
};

}  // namespace ringscale::control

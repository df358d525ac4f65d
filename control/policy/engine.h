// The policy's answers for each node, kept up to date as nodes come and go.
//
// Nodes that every rule treats alike form a class; rules are sets of classes. A
// node that joins a class costs a lookup, a new class is tried against each rule
// once, and nothing is ever compared node by node. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "control/policy/class_set.h"
#include "control/policy/policy.h"
#include "control/policy/program.h"
#include "control/policy/tailnet.h"

namespace ringscale::control::policy {

struct DstPort {
  std::optional<AddressRange> range;  // none: "*"
  PortRange ports;
  auto operator<=>(const DstPort&) const = default;
};

struct CapGrant {
  std::vector<core::IpPrefix> dsts;
  std::span<const AppCapability> caps;
};

// tailcfg.FilterRule. Rules of one source share its text.
struct FilterRule {
  FilterSourcePtr src;
  std::uint64_t source = 0;  // names what the sources are (FilterEntry::name)
  std::optional<std::uint8_t> protocol;
  std::vector<DstPort> dst_ports;
  std::vector<CapGrant> cap_grants;

  // What follows SrcIPs in the rule's JSON, including the closing brace.
  [[nodiscard]] std::string Rest() const;
  [[nodiscard]] std::string Json() const;
};

// Which answers a change of the tailnet may have altered; per class, because all
// nodes of a class are altered alike.
struct Affected {
  ClassSet filters;               // PacketFilter
  ClassSet ssh;                   // SshPolicy
  bool wildcard_sources = false;  // the routes that "*" stands for changed
};

struct EngineSettings {
  // Where SSH sessions are held until somebody approves: the server's URL.
  std::string server_url;
  // The tailnet's setting: all nodes may ask for certificates; else funnel comes
  // with a warning.
  bool https_certificates = false;
};

// URLs that clients fetch over Noise begin with this: the host counts for nothing.
inline constexpr std::string_view kNoiseBaseUrl = "https://unused";
// Where a client asks what to do with an SSH session that is to be checked, after
// the server's base URL. The client fills the variables in.
inline constexpr std::string_view kSshActionPath =
    "/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER";

// An SSH login that somebody has to approve.
struct SshCheck {
  core::Duration period;        // for so long an approval counts; zero: once
  std::string approved_action;  // tailcfg.SSHAction
};

class Engine {
 public:
  Engine(std::shared_ptr<const Program> program, EngineSettings settings);

  [[nodiscard]] const Program& program() const { return *program_; }

  // Adds a node or replaces the one with its id. What was affected before and
  // after is returned.
  Affected Put(const PolicyNode& node);
  Affected Remove(NodeId id);
  // Takes a program with the same rules and other people in its groups. False: the
  // rules are others. Nodes whose users' groups changed have to be classified again.
  [[nodiscard]] bool Adopt(std::shared_ptr<const Program> program);
  Affected Classify(NodeId id);

  [[nodiscard]] const PolicyNode* Find(NodeId id) const;
  [[nodiscard]] ClassId ClassOf(NodeId id) const;
  [[nodiscard]] const std::set<NodeId>& Members(ClassId id) const;
  [[nodiscard]] std::size_t class_count() const { return class_of_key_.size(); }
  // Ids given so far: ids of classes that are gone are not given again.
  [[nodiscard]] std::size_t class_ids() const { return classes_.size(); }

  // The classes whose nodes the nodes of a class see, its own possibly among
  // them. Seeing is mutual.
  [[nodiscard]] const ClassSet& Visible(ClassId id) const;
  [[nodiscard]] bool Sees(NodeId viewer, NodeId peer) const;

  [[nodiscard]] std::vector<FilterRule> PacketFilter(NodeId id) const;
  // tailcfg.SSHPolicy.
  [[nodiscard]] std::string SshPolicy(NodeId id) const;
  // The first check rule that lets `src` log in on `dst` as `user`; nullopt: none does.
  [[nodiscard]] std::optional<SshCheck> SshCheckFor(NodeId src, NodeId dst,
                                                    std::string_view user) const;
  enum class SshAnswer : std::uint8_t { kNo, kAccept, kCheck };
  // Which ends of a session the rule names.
  struct SshEnds {
    bool source = false;
    bool destination = false;
  };
  [[nodiscard]] SshEnds SshNamed(const SshProgramRule& rule, NodeId src, NodeId dst) const;
  // Whether `src` may log in on `dst` as `user`.
  [[nodiscard]] SshAnswer SshAllows(NodeId src, NodeId dst, std::string_view user) const;
  // The same if the source was a device with these attributes.
  [[nodiscard]] SshAnswer SshAllows(NodeId src, NodeId dst, std::string_view user,
                                    const PostureAttributes& device) const;
  // The node's capabilities by policy: name to JSON value.
  [[nodiscard]] std::map<std::string, std::string> Capabilities(NodeId id) const;
  // Whether the nodes of a class go without IPv4 (disable-ipv4, disableIPv4).
  [[nodiscard]] bool Ipv6Only(ClassId id) const;
  // The addresses of `peer` that `viewer` may know; its own when they are one.
  [[nodiscard]] std::vector<core::IpAddress> AddressesShown(NodeId viewer, NodeId peer) const;

  // The prefixes that `viewer` may send to `peer` beside its addresses.
  struct PeerRoutes {
    std::vector<core::IpPrefix> allowed;  // sorted
    std::vector<core::IpPrefix> primary;  // those of them that are subnets
    bool operator==(const PeerRoutes&) const = default;
  };
  [[nodiscard]] PeerRoutes RoutesOf(NodeId viewer, NodeId peer) const;
  // Which of the nodes that offer a subnet carries it; 0: none.
  void SetPrimary(const core::IpPrefix& subnet, NodeId id);
  // A node that is out of reach serves no route chosen by `via`. True: it was the
  // other way before.
  bool SetReachable(NodeId id, bool reachable);

  // What an alias (of a test, of `explain`) stands for now.
  [[nodiscard]] AddressSet Resolve(const Alias& alias) const {
    return AddressSet(Addresses(alias));
  }
  // The same with each node's addresses apart.
  [[nodiscard]] std::vector<AddressRange> Addresses(const Alias& alias) const;
  [[nodiscard]] AddressSet SideAddresses(SideId side) const;
  // The same if all nodes were devices with these attributes.
  [[nodiscard]] AddressSet SideAddresses(SideId side, const PostureAttributes& device) const;
  [[nodiscard]] const std::map<NodeId, PolicyNode>& nodes() const { return nodes_; }
  // A user's nodes without tags.
  [[nodiscard]] const std::set<NodeId>& DevicesOf(UserId user) const;

  // Bytes of the index beside the nodes themselves.
  [[nodiscard]] std::size_t MemoryUse() const;

 private:
  struct NodeClass {
    std::string key;
    std::vector<TermId> terms;
    std::vector<core::IpPrefix> subnets;
    bool exit_node = false;
    bool tagged = false;
    UserId user = 0;  // of untagged nodes, when rules tell users apart
    std::set<NodeId> members;
  };
  struct SideIndex {
    ClassSet identity;             // for what the nodes are
    ClassSet address;              // or for their address
    ClassSet routes;               // a subnet that they serve is among the addresses
    mutable FilterSourcePtr text;  // null: to be written
  };
  struct RuleIndex {
    ClassSet dst;  // nodes that the rule's destinations concern
  };
  struct Merged;  // of PacketFilter
  // Rules with a destination, or a source, that a route is part of; by number.
  struct RouteRules {
    std::vector<std::size_t> to;
    std::vector<std::size_t> from;
  };

  [[nodiscard]] NodeClass Describe(const PolicyNode& node) const;
  ClassId JoinClass(const PolicyNode& node);
  void LeaveClass(ClassId id, NodeId node);
  void IndexClass(ClassId id, bool member);
  [[nodiscard]] bool IsDestination(const Rule& rule, const NodeClass& node_class) const;
  [[nodiscard]] bool ConcernsRange(const AddressRange& range, const NodeClass& node_class,
                                   bool own_address) const;
  [[nodiscard]] bool AnySource(SideId side, ClassId id) const {
    return sides_[side].address.Has(id) || sides_[side].routes.Has(id);
  }
  void Touch(ClassId id, Affected& affected);
  void TouchRecorders(const PolicyNode& node, Affected& affected);
  void Enter(const PolicyNode& node, Affected& affected);
  void Take(NodeId id, Affected& affected);
  void WildcardRoutesChanged(Affected& affected);
  void CountDevice(const PolicyNode& node, bool here);
  void CountSubnets(const PolicyNode& node, int by, Affected& affected);

  // Nodes of a user, untagged.
  [[nodiscard]] const ClassSet& ClassesOfUser(UserId user) const;
  void AppendAddresses(ClassId id, std::vector<AddressRange>& out) const;
  [[nodiscard]] std::string AddressesOf(const ClassSet& classes) const;
  [[nodiscard]] ClassSet MakeVisible(ClassId id) const;
  [[nodiscard]] FilterSourcePtr SourceText(SideId side) const;
  // Those nodes of a user that the side names.
  struct OwnSources {
    ClassSet classes;
    FilterSourcePtr text;
  };
  [[nodiscard]] const OwnSources& SourcesOfUser(SideId side, UserId user) const;

  void AddPorts(const Rule& rule, std::optional<std::uint8_t> protocol, std::vector<DstPort> ports,
                bool beside_all, Merged& merged) const;
  void AddPortRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                    Merged& merged) const;
  void AddAppRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                   Merged& merged) const;
  void AddSelfRules(const Rule& rule, const PolicyNode& node, const NodeClass& node_class,
                    Merged& merged) const;
  void AddViaRules(const Rule& rule, const NodeClass& node_class, Merged& merged) const;
  void AppendDestination(const RuleDestination& dst, std::span<const PortRange> ports,
                         const PolicyNode& node, const NodeClass& node_class,
                         std::vector<DstPort>& out) const;
  [[nodiscard]] bool SelfApplies(const Rule& rule, const NodeClass& node_class) const;

  // Rules as JSON.
  struct SshOutput {
    std::vector<std::string> check;
    std::vector<std::string> accept;
  };
  struct SshSources;
  // Of a check rule before or after somebody approved, of others at any time.
  [[nodiscard]] std::string SshAction(const SshProgramRule& rule, bool approved) const;
  // The same for a source that the rule names.
  [[nodiscard]] bool SshReaches(const SshProgramRule& rule, NodeId src, NodeId dst) const;
  [[nodiscard]] SshAnswer SshVerdict(
      NodeId src, NodeId dst, std::string_view user,
      const std::function<bool(const SshProgramRule&)>& names_source) const;
  [[nodiscard]] bool SshNames(const SshProgramRule& rule, NodeId src, std::string_view user) const;
  void AddSshRules(const SshProgramRule& rule, const PolicyNode& node, SshOutput& out) const;
  void WriteSshRules(const SshProgramRule& rule, const SshSources& sources, SshOutput& out) const;

  [[nodiscard]] bool DestinationCovers(const Rule& rule, const core::IpPrefix& route) const;
  [[nodiscard]] bool SourceCovers(const Rule& rule, const core::IpPrefix& route) const;
  [[nodiscard]] const RouteRules& RulesFor(const core::IpPrefix& route) const;
  [[nodiscard]] bool ViaNames(const Rule& rule, const NodeClass& node_class) const;
  [[nodiscard]] bool CarriesVia(const Rule& rule, const core::IpPrefix& route, NodeId peer) const;

  std::shared_ptr<const Program> program_;
  EngineSettings settings_;

  std::map<NodeId, PolicyNode> nodes_;
  std::unordered_map<UserId, std::set<NodeId>> devices_;  // none empty
  std::unordered_map<NodeId, ClassId> class_of_node_;
  std::unordered_map<std::string, ClassId> class_of_key_;
  std::vector<NodeClass> classes_;

  std::vector<SideIndex> sides_;
  std::vector<RuleIndex> rules_;
  std::unordered_map<UserId, ClassSet> user_classes_;
  std::map<core::IpPrefix, std::set<NodeId>> subnets_;  // who serves which
  std::map<core::IpPrefix, NodeId> primaries_;
  std::set<NodeId> unreachable_;
  mutable std::unordered_map<ClassId, ClassSet> visible_;
  mutable std::map<std::pair<UserId, SideId>, OwnSources> own_sources_;
  mutable std::map<core::IpPrefix, RouteRules> route_rules_;
  mutable std::unordered_map<const SshProgramRule*, SshOutput> ssh_texts_;  // for destinations
};

}  // namespace ringscale::control::policy

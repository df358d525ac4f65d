// What the policy engine tells the map fan-out: who sees whom, and what each
// node may do. The fan-out asks for classes, never for pairs, so that an engine
// can answer from per-rule sets of nodes and cost stays proportional to change.
//
// Everything runs on the control thread. Who sees whom among the classes there are
// changes only together with a Change of kind kPolicyChanged; between two of those,
// new nodes get classes and existing nodes keep theirs. An id of a class that is gone
// is never given again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/state/types.h"

namespace ringscale::core::json {
class Writer;
}

namespace ringscale::control {

// Nodes that the same viewers see, with the same per-viewer fields (AllowedIPs).
// Rendered and compressed blocks of peers are shared within one.
using PeerClass = std::uint32_t;
// Viewers that see the same peer classes.
using ViewerClass = std::uint32_t;

// JSON text shared by all nodes that get it; its address is its identity.
using PolicyText = std::shared_ptr<const std::string>;

// The value of SrcIPs, shared by all rules that have it.
struct FilterSource {
  std::string text;
  std::uint64_t digest = 0;  // of the text
};
using FilterSourcePtr = std::shared_ptr<const FilterSource>;

// tailcfg.FilterRule in two parts.
struct FilterRuleText {
  FilterSourcePtr src;
  std::string rest;  // what follows SrcIPs, with the closing brace
  [[nodiscard]] std::string Json() const { return "{\"SrcIPs\":" + src->text + rest; }
};

// An entry of MapResponse.PacketFilters, which clients can be told without the others:
// rules of one source, whose name stays when the nodes behind the source change.
struct FilterEntry {
  std::uint64_t name = 0;
  std::vector<FilterRuleText> rules;
};

// What a viewer may send to a peer beside its addresses.
struct PeerRoutesView {
  std::vector<core::IpPrefix> allowed;  // subnets, then exit routes
  std::vector<core::IpPrefix> primary;  // the subnets among them
  bool operator==(const PeerRoutesView&) const = default;
};

class PolicyView {
 public:
  virtual ~PolicyView() = default;

  [[nodiscard]] virtual PeerClass ClassOfPeer(const Node& node) const = 0;
  [[nodiscard]] virtual ViewerClass ClassOfViewer(const Node& node) const = 0;
  // The peer classes a viewer class sees. Its own nodes may be among them: the
  // fan-out never shows a node to itself.
  [[nodiscard]] virtual std::vector<PeerClass> Visible(ViewerClass viewer) const = 0;

  // Whether the class is among those.
  [[nodiscard]] virtual bool SeesClass(ViewerClass viewer, PeerClass peers) const {
    const auto visible = Visible(viewer);
    return std::find(visible.begin(), visible.end(), peers) != visible.end();
  }

  // The packet filter of a node; names differ. Empty = nothing may come in.
  [[nodiscard]] virtual std::vector<FilterEntry> PacketFilter(const Node& node) const = 0;
  // tailcfg.SSHPolicy; never null: clients keep old rules unless told {"rules":[]}.
  [[nodiscard]] virtual PolicyText SshPolicy(const Node& node) const = 0;
  // Another number when PacketFilter, SshPolicy or capabilities of a class's nodes may
  // have changed.
  [[nodiscard]] virtual std::uint64_t RulesVersion(ViewerClass viewer) const {
    static_cast<void>(viewer);
    return 0;
  }
  // Visible peers of which a viewer class gets other routes than all that the peer
  // serves. Valid until the next change.
  using VariedPeers = std::map<NodeId, PeerRoutesView>;
  [[nodiscard]] virtual const VariedPeers& Varied(ViewerClass viewer) const {
    static_cast<void>(viewer);
    static const VariedPeers kNone;
    return kNone;
  }
  // Whether nodes of the class go without IPv4: nobody is shown their IPv4 address, and
  // they are shown nobody's.
  [[nodiscard]] virtual bool Ipv6Only(ViewerClass node_class) const {
    static_cast<void>(node_class);
    return false;
  }
  // Another number when Varied may answer differently.
  [[nodiscard]] virtual std::uint64_t VariedVersion() const { return 0; }
  // Members of the node's own CapMap beyond the baseline.
  virtual void AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const = 0;
};

}  // namespace ringscale::control

// Messages made for one viewer: the full map and what only this viewer gets.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "control/map/audience.h"
#include "control/map/encoder.h"
#include "control/map/message.h"
#include "control/map/peer_index.h"
#include "control/map/settings_pieces.h"
#include "control/policy/policy.h"
#include "control/state/types.h"
#include "core/base/time.h"

namespace ringscale::control {

class MapBuilder {
 public:
  MapBuilder(PeerIndex& index, const PolicyView& policy, Encoder& encoder, SettingsPieces& settings,
             bool file_sharing);

  // A complete map: one message, and one of patches where blocks are not remade for
  // every change. Per viewer only its own Node, filter and the peers that share a
  // part of a block with it are rendered and compressed; everything else is shared.
  // `forgotten` are peers that the viewer still knows; they are taken away where the
  // list of peers is empty (clients read an empty list as "unchanged").
  [[nodiscard]] OutputPtr FullMap(const Node& viewer, Audience& audience, const ClientKind& client,
                                  Encoding encoding, core::WallTime now,
                                  const std::vector<NodeId>& forgotten = {});

  // The viewer's own Node and profile.
  void AppendSelfMessage(MessageBuilder& message, const Node& viewer);
  // What a policy says to one viewer.
  struct Rules {
    std::string text;          // the members PacketFilters and SSHPolicy
    std::uint64_t digest = 0;  // of it and of the capabilities in the viewer's own Node
  };
  [[nodiscard]] Rules RulesOf(const Node& viewer) const;
  // The digest of what the last full map said.
  [[nodiscard]] std::uint64_t last_digest() const { return last_digest_; }
  // Packet filter and SSH rules; with its own Node after a policy change, which says
  // what the node can do.
  void AppendPolicyMessage(MessageBuilder& message, const Node& viewer, const Rules& rules,
                           bool with_node);
  // For a client whose node is unknown or gone: it shows "logged out".
  [[nodiscard]] OutputPtr LoggedOut(const core::NodePublic& node_key, const ClientKind& client,
                                    Encoding encoding);

 private:
  void AppendNode(std::string& out, const Node& viewer);
  // The viewer's block (or any first block) in parts, the first without a comma
  // before it. False when it has no peer but the viewer.
  bool AppendBlockInParts(MessageBuilder& message, Block& block, NodeId viewer, PeerForm form);

  PeerIndex& index_;
  const PolicyView& policy_;
  Encoder& encoder_;
  SettingsPieces& settings_;
  const bool file_sharing_;
  std::uint64_t last_digest_ = 0;
  // Fixed texts.
  struct Fixed {
    core::SharedSlice patches;  // {"PeersChangedPatch":[
    core::SharedSlice comma;
    core::SharedSlice end;  // ]}
  };
  std::array<Fixed, kEncodings> fixed_;
};

}  // namespace ringscale::control

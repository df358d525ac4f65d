// Messages made for one viewer: the full map and what only this viewer gets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
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

// What of a policy a client was told, to tell it no more than what changed.
struct RulesDigests {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> filter;  // by FilterEntry::name, sorted
  std::uint64_t ssh = 0;
  std::uint64_t capabilities = 0;  // in its own Node
  bool operator==(const RulesDigests&) const = default;
};

class MapBuilder {
 public:
  MapBuilder(PeerIndex& index, const PolicyView& policy, Encoder& encoder, SettingsPieces& settings,
             bool file_sharing);

  // A complete map: one message, and one of patches where blocks are not remade for
  // every change. Per viewer only its own Node, filter and the peers that share a
  // part of a block with it are rendered and compressed; everything else is shared.
  [[nodiscard]] OutputPtr FullMap(const Node& viewer, Audience& audience, const ClientKind& client,
                                  Encoding encoding, core::WallTime now);

  // The viewer's own Node and profile.
  void AppendSelfMessage(MessageBuilder& message, const Node& viewer);
  // What a policy says to one viewer.
  struct Rules {
    std::vector<FilterEntry> filter;
    PolicyText ssh;
    RulesDigests digests;
  };
  [[nodiscard]] Rules RulesOf(const Node& viewer) const;
  // What the last full map said.
  [[nodiscard]] const RulesDigests& last_rules() const { return last_rules_; }
  // Entries of the packet filter and SSH rules that are others than `told`.
  void AppendPolicyMessage(MessageBuilder& message, const Rules& rules, const RulesDigests& told);
  // For a client whose node is unknown or gone: it shows "logged out".
  [[nodiscard]] OutputPtr LoggedOut(const core::NodePublic& node_key, const ClientKind& client,
                                    Encoding encoding);

 private:
  void AppendNode(std::string& out, const Node& viewer);
  void AppendFilterEntry(MessageBuilder& message, const FilterEntry& entry);
  [[nodiscard]] core::SharedSlice EncodedSource(const FilterSourcePtr& source, Encoding encoding);
  // The viewer's block (or any first block) in parts, the first without a comma
  // before it. False when it has no peer but the viewer.
  bool AppendBlockInParts(MessageBuilder& message, Block& block, NodeId viewer, PeerForm form);

  PeerIndex& index_;
  const PolicyView& policy_;
  Encoder& encoder_;
  SettingsPieces& settings_;
  const bool file_sharing_;
  RulesDigests last_rules_;
  // Long lists of sources, compressed once while somebody has them.
  struct EncodedList {
    std::weak_ptr<const FilterSource> source;
    std::array<core::SharedSlice, kEncodings> forms;
  };
  std::unordered_map<const FilterSource*, EncodedList> sources_;
  std::size_t purge_sources_at_ = 256;
  // Fixed texts.
  struct Fixed {
    core::SharedSlice patches;  // {"PeersChangedPatch":[
    core::SharedSlice comma;
    core::SharedSlice end;  // ]}
  };
  std::array<Fixed, kEncodings> fixed_;
};

}  // namespace ringscale::control

// The viewers of one ViewerClass: they see the same peers (each without itself)
// and the same user profiles, so what tells them about those is made once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/map/encoder.h"
#include "control/map/peer_index.h"
#include "control/policy/policy.h"
#include "core/base/slices.h"

namespace ringscale::control {

class Audience {
 public:
  Audience(ViewerClass id, PeerIndex& index, const PolicyView& policy, Encoder& encoder);

  // In the order in which full maps list them.
  [[nodiscard]] const std::vector<PeerGroup*>& groups();
  [[nodiscard]] bool Sees(const PeerGroup* group);
  [[nodiscard]] bool HasUser(UserId user);
  // Whether its viewers knew the user's profile at that position.
  [[nodiscard]] bool HadUser(UserId user, Sequence position);
  // "{...},{...}": the profiles of all users it sees; empty text when there is none.
  [[nodiscard]] core::SharedSlice Profiles(Encoding encoding);
  [[nodiscard]] bool has_profiles();

  // A peer as this audience sees it: `scratch` holds the text where it is not the one
  // that others share. Empty when the node is gone.
  [[nodiscard]] std::string_view JsonOf(Peer& peer, std::string& scratch);
  // "{...},{...}": peers whose routes it gets otherwise than others, without `viewer`.
  [[nodiscard]] std::string VariedPeers(NodeId viewer);
  [[nodiscard]] ViewerClass id() const { return id_; }
  // It is shown nobody's IPv4 address.
  [[nodiscard]] bool ipv6_only() const { return ipv6_only_; }
  // The routes that its viewers were told, to see whether a policy changes them.
  void NoteVaried() { varied_ = policy_.Varied(id_); }
  [[nodiscard]] const PolicyView::VariedPeers& varied_before() const { return varied_; }

  // Ids of the peers that its viewers were told about at `position` (a viewer's own
  // among them), sorted. Does not ask the policy again: it may have changed.
  [[nodiscard]] std::vector<NodeId> SeenAt(Sequence position);

 private:
  void Refresh();
  void AppendVaried(std::string& out, const Node& node, const PeerRoutesView& routes) const;

  const ViewerClass id_;
  PeerIndex& index_;
  const PolicyView& policy_;
  Encoder& encoder_;
  const bool ipv6_only_;
  std::vector<PeerGroup*> groups_;
  std::vector<const PeerGroup*> sorted_;  // by address
  std::size_t known_groups_ = 0;
  PolicyView::VariedPeers varied_;  // as it was last used
  std::array<core::SharedSlice, kEncodings> profiles_;
  std::array<std::uint64_t, kEncodings> profiles_version_{};
};

// A user's profile as JSON; false when the user is unknown.
bool AppendProfile(std::string& out, const MapSource& source, UserId user);

}  // namespace ringscale::control

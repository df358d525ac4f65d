// The viewers of one ViewerClass: they see the same peers (each without itself)
// and the same user profiles, so what tells them about those is made once.
//
// Its rules never change: when a policy lets the class see others, there is another
// audience, and this one says what its viewers were told until then.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
  [[nodiscard]] const std::vector<PeerGroupPtr>& groups();
  [[nodiscard]] bool Sees(const PeerGroupPtr& group);
  // Another audience takes its place: it does not follow the policy any more.
  void Freeze() { frozen_ = true; }
  // Whether the two see the same nodes, in the same way.
  [[nodiscard]] bool SeesTheSame(Audience& other);
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
  // Peers whose routes are not the ones that viewers of `told` knew at `position`; this
  // may be `told` itself.
  [[nodiscard]] std::set<NodeId> Rerouted(const Audience& told, Sequence position);

 private:
  void Refresh();
  void RefreshRoutes();
  void AppendVaried(std::string& out, const Node& node, const PeerRoutesView& routes) const;

  const ViewerClass id_;
  PeerIndex& index_;
  const PolicyView& policy_;
  Encoder& encoder_;
  const bool ipv6_only_;
  bool frozen_ = false;
  std::vector<PeerGroupPtr> groups_;
  std::vector<const PeerGroup*> sorted_;  // by address
  std::uint64_t known_groups_ = 0;        // PeerIndex::groups_version
  std::uint64_t known_drops_ = 0;
  PolicyView::VariedPeers varied_;
  std::optional<std::uint64_t> varied_version_;
  std::map<NodeId, Sequence> rerouted_;  // when routes changed last
  std::array<core::SharedSlice, kEncodings> profiles_;
  std::array<std::uint64_t, kEncodings> profiles_version_{};
};

using AudiencePtr = std::shared_ptr<Audience>;

// A user's profile as JSON; false when the user is unknown.
bool AppendProfile(std::string& out, const MapSource& source, UserId user);

}  // namespace ringscale::control

// How nodes and users look in a network map: tailcfg.Node, PeerChange and
// UserProfile. Only what clients use is written, and nothing that equals its
// default: the bytes of one peer are paid once per viewer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/policy.h"
#include "control/state/types.h"
#include "core/base/time.h"
#include "storage/tables/rows.h"

namespace ringscale::control {

// What a node's JSON needs beside the node.
struct NodeSurroundings {
  std::string_view base_domain;
  std::vector<core::IpPrefix> primary_routes;  // served by this node now
  bool exit_routes = true;                     // whether the viewer may use it as exit node
  // Leaves the IPv4 address out if the node has one of IPv6.
  bool ipv6_only = false;
};

// Node as others see it. Absent are: Machine (display only), AllowedIPs when equal
// to Addresses (clients from capability version 112 on fill it in), times' fractions.
void AppendPeer(std::string& out, const Node& node, const NodeSurroundings& surroundings);

struct SelfOptions {
  bool file_sharing = true;            // Taildrop
  const PolicyView* policy = nullptr;  // adds capabilities; may be null
};
// Node as it sees itself: always a complete replacement on the client.
void AppendSelf(std::string& out, const Node& node, const NodeSurroundings& surroundings,
                const SelfOptions& options);

// The own Node of a client whose node is not known (any more): its key expired long
// ago, so the client shows "logged out" and a new login works.
void AppendExpiredSelf(std::string& out, const core::NodePublic& node_key,
                       std::string_view base_domain);

// One element of PeersChangedPatch with the fields of `fields` (Change::Field).
// False, and nothing appended, when none of them can be told by a patch.
bool AppendPeerPatch(std::string& out, const Node& node, std::uint16_t fields);

void AppendUserProfile(std::string& out, const storage::UserRow& user);
// The owner of all tagged nodes.
void AppendTaggedDevicesProfile(std::string& out);
// For AppendExpiredSelf's User.
void AppendLoggedOutProfile(std::string& out);

// Own addresses, then served subnet routes and approved exit routes.
[[nodiscard]] std::vector<core::IpPrefix> AllowedIps(const Node& node,
                                                     const NodeSurroundings& surroundings);

}  // namespace ringscale::control

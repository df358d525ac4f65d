// The tailnet's objects in memory. The control thread owns and changes them
// (control/state/registry.h); everybody else on that thread reads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "storage/tables/rows.h"

namespace ringscale::control {

using NodeId = std::uint64_t;
using UserId = std::uint64_t;

// How an operation of the control plane answers: on the control thread, when its
// change is on disk, applied and published; possibly before the call returns.
template <class T = void>
using Completion = std::move_only_function<void(core::Result<T>)>;

// The owner of tagged nodes on the wire (LoginName "tagged-devices").
inline constexpr UserId kTaggedDevicesUser = 2147455555;

struct Endpoint {
  core::SocketAddress address;
  // tailcfg.EndpointType: 1 local, 2 STUN, 3 portmapped, 4 STUN4LocalPort, 5 explicit.
  std::uint8_t type = 0;
  auto operator<=>(const Endpoint&) const = default;
};

struct Node {
  storage::NodeRow row;  // durable part

  // Parsed from row.hostinfo when it changes.
  std::vector<core::IpPrefix> announced_routes;  // Hostinfo.RoutableIPs, sorted, unique
  std::vector<std::string> request_tags;
  // The part of Hostinfo that peers use, as compact JSON. A Hostinfo
  // change that leaves this equal reaches no peer.
  std::string peer_hostinfo;
  std::string os;
  std::string os_version;
  std::string client_version;  // Hostinfo.IPNVersion

  // Memory only.
  std::vector<Endpoint> endpoints;
  std::uint16_t home_derp = 0;
  bool online = false;
  std::uint32_t live_streams = 0;
  std::optional<core::Instant> stream_since;  // when the first of the live streams opened
  bool relay_connected = false;
  // It does not answer probes, so others carry the subnets that it shares.
  bool unresponsive = false;

  // Of the Hostinfo text as the client sent it last: an equal one is not parsed.
  std::uint64_t hostinfo_digest = 0;

  // Counts every change that a peer could see: the key of rendered pieces.
  std::uint64_t version = 0;

  [[nodiscard]] bool tagged() const { return !row.tags.empty(); }
  [[nodiscard]] UserId wire_user() const { return tagged() ? kTaggedDevicesUser : row.user_id; }
  [[nodiscard]] bool expired(core::WallTime now) const {
    return row.expiry.has_value() && *row.expiry <= now;
  }
};

// What happened, for those who tell clients. Published only after the commit
// when the change is durable.
struct Change {
  enum class Kind : std::uint8_t {
    kNodeAdded,      // peers: PeersChanged
    kNodeReplaced,   // peers: PeersChanged (name, routes, tags, peer_hostinfo, ...)
    kNodePatched,    // peers: PeersChangedPatch with `fields`
    kNodeRefreshed,  // peers: nothing; whoever gets the whole node from now on gets `fields` too
                     // (none: only a version that a policy may look at changed)
    kNodeRemoved,    // peers: PeersRemoved; `node` as it was
    kSelf,           // only the node itself: Node
    kUserChanged,    // created, renamed or destroyed; id = user id
    kDnsChanged,     // DNSConfig for all
    kDerpChanged,    // DERPMap for all
    kPolicyChanged,  // whatever the policy engine says; of the node only when `id` is given
  };
  enum Field : std::uint16_t {
    kEndpoints = 1 << 0,
    kHomeDerp = 1 << 1,
    kOnline = 1 << 2,
    kLastSeen = 1 << 3,
    kNodeKey = 1 << 4,
    kDiscoKey = 1 << 5,
    kKeyExpiry = 1 << 6,
    kCapVersion = 1 << 7,
  };
  Kind kind = Kind::kNodePatched;
  std::uint64_t id = 0;      // node (or user)
  std::uint16_t fields = 0;  // of Field, for kNodePatched and kNodeRefreshed
  bool self_too = false;     // the node itself must get its new Node as well
  // The node, for the kinds that name one. Valid during the call only.
  const Node* node = nullptr;
  // The node key in use before, when it is no more (kNodeRemoved, and kNodePatched
  // or kNodeReplaced that changed it), else zero: for tables keyed by it.
  core::NodePublic retired_node_key = {};
};

class ChangeListener {
 public:
  virtual ~ChangeListener() = default;
  virtual void OnChange(const Change& change) = 0;
};

}  // namespace ringscale::control

// What the relay needs from others and what it tells them. These types belong to
// the relay; tools/serverd connects them to front and control.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/fd.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "core/tls/record_keys.h"

namespace ringscale::relay {

// Links to the other relays of a region have numbers, at most this many.
inline constexpr std::size_t kMaxMeshLinks = 64;
inline constexpr std::uint8_t kNoMeshLink = 0xff;

// A client that has logged in on a front thread (ServerKey and ClientInfo are done)
// and now belongs to a relay shard. The descriptor has no operation in flight.
struct LoggedInClient {
  core::Fd fd;
  core::NodePublic key;
  core::SocketAddress remote;                  // after trusted proxies
  std::unique_ptr<core::tls::RecordKeys> tls;  // null = plain TCP
  std::vector<std::uint8_t> ciphertext;        // start of a TLS record not complete yet
  std::vector<std::uint8_t> plaintext;         // DERP bytes already received after ClientInfo
  // The frame that ends the login. The shard sends it once the client can be found:
  // whoever has it may be sent to.
  std::vector<std::uint8_t> server_info;
  bool can_ack_pings = false;
  bool is_prober = false;
  bool not_ideal = false;  // Ideal-Node header named another node
  bool can_mesh = false;   // valid mesh key over TLS
  std::uint32_t protocol_version = 2;
  // Not a client of ours but our own connection to another relay of the region:
  // the number of the link. `key` is then that relay's.
  std::uint8_t mesh_link = kNoMeshLink;
};

// Who may use the relay. Fail closed: nobody until somebody is added. Written by
// the control thread, read by front threads at login; thread-safe.
class Admission {
 public:
  virtual ~Admission() = default;
  [[nodiscard]] virtual bool Allows(const core::NodePublic& key,
                                    const core::SocketAddress& remote) const = 0;
};

// Told from relay shards when a key's first connection opens and its last one
// closes on that shard. Called on the relay thread: must only queue.
class PresenceListener {
 public:
  virtual ~PresenceListener() = default;
  virtual void OnRelayPresence(const core::NodePublic& key, bool present) = 0;
};

// Told from relay shards when a link to another relay of the region has ended and
// everything that was known through it is forgotten. On the relay thread: must
// only queue.
class MeshListener {
 public:
  virtual ~MeshListener() = default;
  virtual void OnMeshLinkEnded(std::uint8_t link) = 0;
};

}  // namespace ringscale::relay

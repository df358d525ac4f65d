// The rows of the store's tables as types. Everything here is durable; what only
// lives in memory (online state, endpoints) is in control/state.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"

namespace ringscale::storage {

// The one record of Table::kMeta, under kMetaKey. The store makes it when it
// creates a database, so LoadAll always shows it. Whoever hands out an id puts
// the advanced counter in the same batch as the row that uses the id.
inline constexpr std::string_view kMetaKey = "meta";
struct MetaRow {
  std::uint32_t schema_version = 1;  // the store's; a batch that changes it is refused
  std::uint64_t next_user_id = 1;
  std::uint64_t next_node_id = 1;
  std::uint64_t next_pre_auth_key_id = 1;
  std::uint64_t next_api_key_id = 1;
  std::uint64_t next_policy_version = 1;
  std::string server_id;  // 32 random hex digits of this tailnet's server, never changes
};

struct UserRow {
  std::uint64_t id = 0;
  std::string name;  // login name, unique
  std::string display_name;
  std::string email;
  std::string picture_url;
  std::string provider;  // "" = created locally; "oidc" later
  core::WallTime created;
};

enum class RegisterMethod : std::uint8_t { kUnknown = 0, kAuthKey = 1, kCli = 2, kOidc = 3 };

// An SSH session to a node that somebody approved.
struct SshApproval {
  std::uint64_t source = 0;  // the node it came from
  std::uint64_t owner = 0;   // that node's user then, 0 = tagged
  core::WallTime at;
};

struct NodeRow {
  std::uint64_t id = 0;   // never reused
  std::string stable_id;  // random text, never changes (imported ones kept)
  core::MachinePublic machine_key;
  core::NodePublic node_key;
  core::DiscoPublic disco_key;
  std::uint64_t user_id = 0;      // 0 = tagged node without an owner
  std::vector<std::string> tags;  // sorted, unique; non-empty = tagged node
  std::string hostname;           // as the client gave it
  std::string given_name;         // DNS label, unique in the tailnet
  core::IpAddress ipv4;           // may be invalid (family not configured)
  core::IpAddress ipv6;
  core::WallTime created;
  std::optional<core::WallTime> expiry;  // nullopt = never
  std::optional<core::WallTime> last_seen;
  bool ephemeral = false;
  RegisterMethod method = RegisterMethod::kUnknown;
  std::uint64_t auth_key_id = 0;  // 0 = none
  bool ever_polled = false;       // has opened a map stream
  std::uint32_t capability_version = 0;
  std::string hostinfo;  // the client's Hostinfo as compact JSON, NetInfo merged in
  std::vector<core::IpPrefix> approved_routes;  // sorted, unique
  // Subnet routes that it was the one to serve when this was written; sorted, unique.
  std::vector<core::IpPrefix> primary_routes;
  std::vector<SshApproval> ssh_approvals;  // of sessions to it, as of when this was written
};

// A policy that was in force once, or is: the one with the greatest id.
struct PolicyRow {
  std::uint64_t id = 0;  // its version
  core::WallTime created;
  std::string author;  // who set it, for people
  std::string text;    // as it was given, comments included; empty: no policy
};

struct PreAuthKeyRow {
  std::uint64_t id = 0;
  std::string prefix;                          // shown in lists, finds the key
  std::array<std::uint8_t, 32> secret_hash{};  // BLAKE2b-256 of the secret (256 random bits)
  std::string legacy_hash;                     // bcrypt text of an imported key, else empty
  std::uint64_t user_id = 0;                   // 0 = tags only
  std::vector<std::string> tags;
  bool reusable = false;
  bool ephemeral = false;
  bool used = false;
  bool revoked = false;
  // For a used single-use key: who used it (a retry of the same machine is let in).
  core::MachinePublic used_by;
  core::WallTime created;
  std::optional<core::WallTime> expiry;
};

}  // namespace ringscale::storage

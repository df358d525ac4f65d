// What the policy engine knows of users and nodes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/state/types.h"
#include "core/net/address.h"

namespace ringscale::control::policy {

enum class Role : std::uint8_t {
  kMember,
  kOwner,
  kAdmin,
  kItAdmin,
  kNetworkAdmin,
  kBillingAdmin,
  kAuditor,
};

struct PolicyUser {
  UserId id = 0;
  std::string name;      // login name
  std::string email;     // may be empty
  std::string provider;  // the provider's identifier, may be empty
  Role role = Role::kMember;
  auto operator<=>(const PolicyUser&) const = default;
};

struct PolicyNode {
  NodeId id = 0;
  UserId user = 0;                // of an untagged node
  std::vector<std::string> tags;  // empty: the node belongs to its user
  std::string name;               // for messages
  core::IpAddress v4;
  core::IpAddress v6;
  std::vector<core::IpPrefix> routes;  // announced and approved
  std::string os;
  std::string os_version;
  std::string client_version;
  auto operator<=>(const PolicyNode&) const = default;

  [[nodiscard]] bool tagged() const { return !tags.empty(); }
  [[nodiscard]] bool IsExitNode() const {
    for (const auto& route : routes) {
      if (route.IsDefaultRoute()) return true;
    }
    return false;
  }
};

}  // namespace ringscale::control::policy

// The policy language evaluated the plain way: every pair of nodes, every rule.
// Written from the language's description; shares no code with the compiler.
#pragma once

#include <string>

#include "core/net/address.h"
#include "tests/control/policy_world.h"

namespace ringscale::control::policy::plain {

struct Flow {
  const PolicyNode& from;
  core::IpAddress src;
  const PolicyNode& to;
  core::IpAddress dst;
};

// Whether the node is a router of a subnet with the address.
bool Serves(const PolicyNode& node, const core::IpAddress& ip);
bool Allowed(const World& world, const Flow& flow, int protocol, int port);
// Whether some rule lets something at or behind `from` speak to something at or
// behind `to`.
bool MaySpeak(const World& world, const PolicyNode& from, const PolicyNode& to);
// no, accept or check, for a login.
std::string MayLogIn(const World& world, const PolicyNode& from, const PolicyNode& to,
                     const std::string& user);

}  // namespace ringscale::control::policy::plain

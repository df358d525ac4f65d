// What the comparison with recorded answers leaves out, and why: here and
// nowhere else, the same for all recordings.
#pragma once

#include <string>
#include <string_view>

namespace ringscale::captures {

// Capabilities that the hosted service gives to every node by itself, whatever
// the policy says.
bool IsServiceCapability(std::string_view name);

// Fields of a node that name it in the hosted service or report its state:
// Name, StableID, User, ComputedName, Cap, Online, RoutableIPs, and the DNS
// configuration. They are inputs, or the service's own.
//
// Nodes without a record of their own count only as peers of the others.

// Which router of several carries a subnet is history (who came first, who was
// healthy), not policy: it is read from the recording. That it is one of those
// that may, and everything that follows from it, is compared.

// Whether the tailnet has HTTPS certificates is a setting beside the policy: it has
// when the recording gives every node "https". What follows for funnel is compared.

// A subnet that the policy approves but that the recording's list of approvals
// does not have yet was approved while the nodes were being read one by one, so
// that some knew and some did not: AllowedIPs and PrimaryRoutes are compared
// without it.

// The service chooses nodes' IPv6 addresses itself; those of the recordings were
// put in afterwards. So an IPv6 address in a policy was no node's when the
// service read it, although it may look like one now: policies are tried with
// other IPv6 addresses (in the same network), and the answers translated back.

// Order, where it carries no meaning: SrcIPs are compared as sets of addresses,
// rules, destinations, principals, tags and routes as sets.

// Whether two refusals are the same. A status of 500 is the service failing
// over a policy, not judging it: that we refuse is enough. The recordings have
// people's domains replaced in policies but not in messages: a domain in a
// message that the policy does not contain is not compared.
bool SameRefusal(int status, std::string_view wanted, std::string_view got,
                 std::string_view policy);

}  // namespace ringscale::captures

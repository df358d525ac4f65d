// What TCP and UDP listeners have in common.
#pragma once

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/net/listener.h"

namespace ringscale::core::net {

// A bound non-blocking socket of `type` (SOCK_STREAM or SOCK_DGRAM), dual-stack
// where the address asks for it.
Result<Fd> BindSocket(const ListenAddress& address, int type);

// The socket option by which datagrams carry the local address they were sent to.
struct PacketInfoOption {
  int level = 0;
  int name = 0;
};
PacketInfoOption PacketInfoOptionOf(bool v6_socket);

// Datagrams then carry the local address they were sent to (IP_PKTINFO,
// IPV6_RECVPKTINFO; a dual-stack socket tells IPv4 ones as mapped addresses). Not on a
// socket that is bound to one address: there is nothing to tell.
Result<> EnablePacketInfo(int fd, bool v6_socket);

}  // namespace ringscale::core::net

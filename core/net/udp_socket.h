// UDP sockets that answer from the address they were asked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/net/address.h"
#include "core/net/listener.h"

namespace ringscale::core::net {

struct UdpSocket {
  Fd fd;
  bool v6_socket = false;  // AF_INET6: IPv4 addresses are written mapped
};

// Bound, with packet info where it has several addresses. Errors as OpenTcpListener.
Result<UdpSocket> OpenUdpSocket(const ListenAddress& address);

// Whether the descriptor is an AF_INET6 socket.
bool IsV6Socket(int fd);

// Whether the datagrams of the socket carry packet info.
bool HasPacketInfo(int fd);

// Where a datagram arrived.
struct PacketInfo {
  IpAddress local;
  std::uint32_t interface_index = 0;
};

// Room for the control messages of one datagram, in and out.
inline constexpr std::size_t kPacketInfoSpace = 64;

// From the control part of a received datagram (DatagramView::control).
std::optional<PacketInfo> ReadPacketInfo(MutableBytes control);

// Writes the control message that makes a datagram leave from `info.local`, into
// at least kPacketInfoSpace bytes aligned to 8. Returns its length, 0 when there
// is nothing to say. The interface is left to the routing table, except for
// link-local addresses, which mean nothing without it.
std::size_t WritePacketInfo(const PacketInfo& info, bool v6_socket, MutableBytes control);

}  // namespace ringscale::core::net

#include "core/net/bind_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

#include "core/net/socket_options.h"

namespace ringscale::core::net {
namespace {

std::unexpected<Error> FailBind(const ListenAddress& address, int error) {
  const std::string what = "cannot listen on " + address.text();
  if (error == EADDRINUSE) {
    return Fail(ErrorCode::kConflict,
                what + ": the address is in use; stop the other program or choose another port");
  }
  if (error == EACCES) {
    return Fail(ErrorCode::kPermission,
                what + ": ports below 1024 need root or CAP_NET_BIND_SERVICE");
  }
  if (error == EADDRNOTAVAIL) {
    return Fail(ErrorCode::kInvalid, what + ": this machine does not have that address");
  }
  return FailErrno(what, error);
}

// 0 or an errno.
int TryBind(const SocketAddress& address, bool v6, bool v6_only, int type, Fd& out) {
  Fd fd(socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return errno;
  const int one = 1;
  // For UDP it would let two processes share a port unnoticed.
  if (type == SOCK_STREAM &&
      setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) {
    return errno;
  }
  const int only = v6_only ? 1 : 0;
  if (v6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) {
    return errno;
  }
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, v6);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&native), length) != 0) return errno;
  out = std::move(fd);
  return 0;
}

}  // namespace

Result<Fd> BindSocket(const ListenAddress& address, int type) {
  const SocketAddress& wanted = address.address;
  const bool every_address = !wanted.ip.valid();
  const bool v6_any = wanted.ip.is_v6() && IsWildcard(wanted.ip);
  Fd fd;
  int error = 0;
  if (every_address || wanted.ip.is_v6()) {
    error = TryBind(wanted, true, !every_address && !v6_any, type, fd);
    const bool no_ipv6 =
        error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
    if (every_address && no_ipv6) error = TryBind(wanted, false, false, type, fd);
  } else {
    error = TryBind(wanted, false, false, type, fd);
  }
  if (error != 0) return FailBind(address, error);
  return fd;
}

PacketInfoOption PacketInfoOptionOf(bool v6_socket) {
  if (v6_socket) return {.level = IPPROTO_IPV6, .name = IPV6_RECVPKTINFO};
  return {.level = IPPROTO_IP, .name = IP_PKTINFO};
}

Result<> EnablePacketInfo(int fd, bool v6_socket) {
  if (!IsWildcard(LocalAddress(fd).ip)) return {};
  const PacketInfoOption option = PacketInfoOptionOf(v6_socket);
  const int one = 1;
  if (setsockopt(fd, option.level, option.name, &one, sizeof one) != 0) {
    return FailErrno("asking for the local address of datagrams", errno);
  }
  return {};
}

}  // namespace ringscale::core::net

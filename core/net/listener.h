// Listening sockets: opened here, or taken over from systemd or an older process.
// All are non-blocking and close-on-exec.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::core::net {

// "127.0.0.1:80", "[::1]:443", "[::]:80" or ":8080". Without an address: IPv6 and
// IPv4 on one socket, or IPv4 alone on a host without IPv6.
struct ListenAddress {
  SocketAddress address;  // .ip unset: every address
  auto operator<=>(const ListenAddress&) const = default;
  [[nodiscard]] std::string text() const;
};
// 0.0.0.0 and ::, as which a socket of every address names its own.
bool IsWildcard(const IpAddress& ip);
Result<ListenAddress> ParseListenAddress(std::string_view text);

// A TCP socket that listens (backlog 4096, address reuse, TCP_NODELAY on what it
// accepts). kConflict: the address is taken; kPermission: a port for root.
Result<Fd> OpenTcpListener(const ListenAddress& address);

// A socket that was opened by somebody else.
struct InheritedSocket {
  enum class Kind : std::uint8_t { kTcpListener, kUdp, kUnixListener };
  Fd fd;
  Kind kind = Kind::kTcpListener;
  SocketAddress local;  // unset for Unix sockets
  std::string name;     // of the systemd socket unit (FileDescriptorName=), may be empty
};

// Checks what `fd` is and makes it non-blocking and close-on-exec. Owns it from
// then on; closed when it is of no use.
Result<InheritedSocket> AdoptSocket(Fd fd, std::string name);

// The sockets of systemd's socket activation (LISTEN_PID, LISTEN_FDS,
// LISTEN_FDNAMES); empty when there are none. The variables are removed, so that
// child processes do not take them for theirs. Once, before threads start.
Result<std::vector<InheritedSocket>> TakeActivatedSockets();

}  // namespace ringscale::core::net

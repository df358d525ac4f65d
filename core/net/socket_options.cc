#include "core/net/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace ringscale::core::net {
namespace {

Result<> Set(int fd, int level, int option, int value, const char* name) {
  if (setsockopt(fd, level, option, &value, sizeof value) != 0) return FailErrno(name, errno);
  return {};
}

int WholeSeconds(Duration duration) {
  return static_cast<int>((duration.ns + 999'999'999) / 1'000'000'000);
}

}  // namespace

Result<> ApplyTcpOptions(int fd, const TcpOptions& options) {
  Result<> result;
  const auto set = [&](int level, int option, int value, const char* name) {
    if (result) result = Set(fd, level, option, value, name);
  };
  set(IPPROTO_TCP, TCP_NODELAY, options.no_delay ? 1 : 0, "TCP_NODELAY");
  if (options.user_timeout) {
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(options.user_timeout->millis()),
        "TCP_USER_TIMEOUT");
  }
  if (options.keep_alive) {
    set(SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
    set(IPPROTO_TCP, TCP_KEEPIDLE, WholeSeconds(options.keep_alive->idle), "TCP_KEEPIDLE");
    set(IPPROTO_TCP, TCP_KEEPINTVL, WholeSeconds(options.keep_alive->interval), "TCP_KEEPINTVL");
    set(IPPROTO_TCP, TCP_KEEPCNT, options.keep_alive->probes, "TCP_KEEPCNT");
  }
  if (options.not_sent_low_water) {
    set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(*options.not_sent_low_water),
        "TCP_NOTSENT_LOWAT");
  }
  return result;
}

SocketAddress LocalAddress(int fd) {
  sockaddr_storage native{};
  socklen_t length = sizeof native;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&native), &length) != 0) return {};
  return SocketAddress::FromNative(native);
}

SocketAddress PeerAddress(int fd) {
  sockaddr_storage native{};
  socklen_t length = sizeof native;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&native), &length) != 0) return {};
  return SocketAddress::FromNative(native);
}

}  // namespace ringscale::core::net

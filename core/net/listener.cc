#include "core/net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "core/net/bind_socket.h"
#include "core/net/socket_options.h"

namespace ringscale::core::net {
namespace {

constexpr int kBacklog = 4096;
constexpr int kFirstActivated = 3;  // sd_listen_fds(3)
constexpr int kMaxActivated = 256;

std::optional<long> EnvironmentNumber(const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  const std::string_view view(text);
  long value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc{} || end != view.data() + view.size()) return std::nullopt;
  return value;
}

std::optional<int> SocketOption(int fd, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, option, &value, &length) != 0) return std::nullopt;
  return value;
}

}  // namespace

std::string ListenAddress::text() const {
  return address.ip.valid() ? address.text() : ":" + std::to_string(address.port);
}

bool IsWildcard(const IpAddress& ip) {
  return ip == *IpAddress::Parse("::") || ip == *IpAddress::Parse("0.0.0.0");
}

Result<ListenAddress> ParseListenAddress(std::string_view text) {
  // An address in front of the port that nobody can mean makes the port parse.
  const std::string whole =
      text.starts_with(':') ? "0.0.0.0" + std::string(text) : std::string(text);
  auto parsed = SocketAddress::Parse(whole);
  if (!parsed) {
    return Fail(ErrorCode::kInvalid,
                "\"" + std::string(text) +
                    "\" is no listen address, expected \":8080\", \"127.0.0.1:8080\" or "
                    "\"[::1]:8080\"");
  }
  if (text.starts_with(':')) parsed->ip = {};
  return ListenAddress{*parsed};
}

Result<Fd> OpenTcpListener(const ListenAddress& address) {
  auto fd = BindSocket(address, SOCK_STREAM);
  if (!fd) return fd;
  if (listen(fd->get(), kBacklog) != 0) {
    return FailErrno("listening on " + address.text(), errno);
  }
  auto applied = ApplyTcpOptions(fd->get(), {});
  if (!applied) return Forward(applied);
  return fd;
}

Result<InheritedSocket> AdoptSocket(Fd fd, std::string name) {
  const std::string what = "inherited descriptor " + std::to_string(fd.get());
  const auto domain = SocketOption(fd.get(), SO_DOMAIN);
  const auto type = SocketOption(fd.get(), SO_TYPE);
  const auto listening = SocketOption(fd.get(), SO_ACCEPTCONN);
  if (!domain || !type || !listening) return FailErrno(what, errno);
  InheritedSocket socket;
  if (*type == SOCK_STREAM && *listening == 0) {
    return Fail(ErrorCode::kInvalid, what + " is a stream socket that does not listen");
  }
  if (*domain == AF_UNIX && *type == SOCK_STREAM) {
    socket.kind = InheritedSocket::Kind::kUnixListener;
  } else if ((*domain == AF_INET || *domain == AF_INET6) && *type == SOCK_STREAM) {
    socket.kind = InheritedSocket::Kind::kTcpListener;
  } else if ((*domain == AF_INET || *domain == AF_INET6) && *type == SOCK_DGRAM) {
    socket.kind = InheritedSocket::Kind::kUdp;
  } else {
    return Fail(ErrorCode::kInvalid, what + " is neither TCP, UDP nor a Unix stream socket");
  }
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return FailErrno(what, errno);
  }
  if (socket.kind == InheritedSocket::Kind::kTcpListener) {
    auto applied = ApplyTcpOptions(fd.get(), {});
    if (!applied) return Forward(applied);
  }
  if (socket.kind == InheritedSocket::Kind::kUdp) {
    auto enabled = EnablePacketInfo(fd.get(), *domain == AF_INET6);
    if (!enabled) return Forward(enabled);
  }
  socket.local = LocalAddress(fd.get());
  socket.fd = std::move(fd);
  socket.name = std::move(name);
  return socket;
}

Result<std::vector<InheritedSocket>> TakeActivatedSockets() {
  std::vector<InheritedSocket> sockets;
  const auto pid = EnvironmentNumber("LISTEN_PID");
  const auto count = EnvironmentNumber("LISTEN_FDS");
  const char* const names_text = std::getenv("LISTEN_FDNAMES");
  const std::string names = names_text == nullptr ? "" : names_text;
  for (const char* const name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  if (!pid || !count || *pid != getpid()) return sockets;
  if (*count < 0 || *count > kMaxActivated) {
    return Fail(ErrorCode::kInvalid, "LISTEN_FDS=" + std::to_string(*count) + " makes no sense");
  }
  std::string_view rest = names;
  for (int i = 0; i < static_cast<int>(*count); ++i) {
    const auto end = std::min(rest.find(':'), rest.size());
    auto socket = AdoptSocket(Fd(kFirstActivated + i), std::string(rest.substr(0, end)));
    if (!socket) return Forward(socket);
    sockets.push_back(std::move(*socket));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return sockets;
}

}  // namespace ringscale::core::net

#include "tools/serverd/dialled.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

namespace ringscale::serverd {

core::Result<Dialled> Dialled::Connect(const std::string& host, std::uint16_t port,
                                       core::Instant deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (status != 0) {
    return core::Fail(core::ErrorCode::kNotFound, host + ": " + gai_strerror(status));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &freeaddrinfo);
  core::Error last{core::ErrorCode::kUnavailable, host + ": no address"};
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    core::Fd fd(socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) continue;
    Dialled dialled(std::move(fd), deadline);
    if (connect(dialled.fd_.get(), entry->ai_addr, entry->ai_addrlen) == 0) return dialled;
    if (errno == EINPROGRESS && dialled.Wait(POLLOUT)) {
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(dialled.fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      if (error == 0) return dialled;
      errno = error;
    }
    last = core::FailErrno("connect to " + host + ":" + std::to_string(port), errno).error();
  }
  return std::unexpected(last);
}

core::Result<> Dialled::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EAGAIN || !Wait(POLLOUT)) {
      return core::FailErrno("send", errno);
    }
  }
  return {};
}

core::Result<std::string> Dialled::Read() {
  std::string piece(16384, '\0');
  while (true) {
    const ssize_t n = recv(fd_.get(), piece.data(), piece.size(), 0);
    if (n >= 0) {
      piece.resize(static_cast<std::size_t>(n));
      return piece;
    }
    if (errno != EAGAIN || !Wait(POLLIN)) return core::FailErrno("receive", errno);
  }
}

bool Dialled::Wait(short events) const {
  const auto left = (deadline_ - core::MonotonicNow()).millis();
  pollfd entry{.fd = fd_.get(), .events = events, .revents = 0};
  if (left > 0 && poll(&entry, 1, static_cast<int>(left)) > 0) return true;
  errno = ETIMEDOUT;
  return false;
}

}  // namespace ringscale::serverd

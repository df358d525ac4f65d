#include "core/net/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace ringscale::core::net {
namespace {

constexpr int kBacklog = 128;
constexpr mode_t kOwnerOnlyMask = 0177;
constexpr mode_t kGroupMode = 0660;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.contains('\0')) {
    return Fail(ErrorCode::kInvalid, "\"" + path +
                                         "\" is no name for a socket: it must have 1 to " +
                                         std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  path.copy(address.sun_path, path.size());
  return address;
}

// 0 or an errno.
int TryConnect(const sockaddr_un& address, Fd& out) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno;
  }
  out = std::move(fd);
  return 0;
}

Result<> RemoveStaleFile(const std::string& path, const sockaddr_un& address) {
  struct stat status{};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return FailErrno(path, errno);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Fail(ErrorCode::kConflict, path + " exists and is no socket");
  }
  Fd answered;
  const int error = TryConnect(address, answered);
  if (error != ECONNREFUSED) {
    return Fail(ErrorCode::kConflict, "another process listens on " + path);
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno("removing " + path, errno);
  return {};
}

}  // namespace

Result<UnixListener> UnixListener::Open(const std::string& path,
                                        const UnixListenerOptions& options) {
  const auto address = AddressOf(path);
  if (!address) return std::unexpected(address.error());
  auto removed = RemoveStaleFile(path, *address);
  if (!removed) return Forward(removed);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return FailErrno("socket", errno);
  const mode_t old_mask = umask(kOwnerOnlyMask);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const int error = errno;
  umask(old_mask);
  if (bound != 0) return FailErrno("creating the socket " + path, error);
  struct stat status{};
  if (lstat(path.c_str(), &status) != 0) return FailErrno(path, errno);
  UnixListener listener(std::move(fd), path, status.st_dev, status.st_ino);
  if (options.group) {
    if (chown(path.c_str(), static_cast<uid_t>(-1), *options.group) != 0 ||
        chmod(path.c_str(), kGroupMode) != 0) {
      return FailErrno("giving the group access to " + path, errno);
    }
  }
  if (listen(listener.fd(), kBacklog) != 0) return FailErrno("listening on " + path, errno);
  return listener;
}

Result<UnixListener> UnixListener::Adopt(Fd fd, const std::string& path) {
  struct stat status{};
  if (lstat(path.c_str(), &status) != 0) return FailErrno(path, errno);
  return UnixListener(std::move(fd), path, status.st_dev, status.st_ino);
}

UnixListener::UnixListener(Fd fd, std::string path, dev_t device, ino_t inode)
    : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  if (this != &other) {
    RemoveFile();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

UnixListener::~UnixListener() {
  RemoveFile();
}

void UnixListener::RemoveFile() {
  struct stat status{};
  if (path_.empty() || lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) unlink(path_.c_str());
}

std::string UnixSocketPath(int fd) {
  sockaddr_un address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  if (address.sun_family != AF_UNIX || length <= offsetof(sockaddr_un, sun_path)) return {};
  const std::size_t size = length - offsetof(sockaddr_un, sun_path);
  return {address.sun_path, strnlen(address.sun_path, size)};
}

Result<Fd> ConnectUnix(const std::string& path) {
  const auto address = AddressOf(path);
  if (!address) return std::unexpected(address.error());
  Fd fd;
  const int error = TryConnect(*address, fd);
  switch (error) {
    case 0:
      return fd;
    case ENOENT:
    case ENOTDIR:
      return Fail(ErrorCode::kNotFound, "no socket at " + path + ": is the server running?");
    case ECONNREFUSED:
      return Fail(ErrorCode::kUnavailable,
                  "nobody listens on " + path + ": is the server running?");
    case EACCES:
    case EPERM:
      return Fail(ErrorCode::kPermission, "not allowed to connect to " + path +
                                              ": use the user that runs the server, or root");
    default:
      return FailErrno("connecting to " + path, error);
  }
}

Result<PeerCredentials> ReadPeerCredentials(int fd) {
  ucred raw{};
  socklen_t length = sizeof raw;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &raw, &length) != 0) {
    return FailErrno("SO_PEERCRED", errno);
  }
  return PeerCredentials{raw.pid, raw.uid, raw.gid};
}

}  // namespace ringscale::core::net

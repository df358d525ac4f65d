// Unix stream sockets with a name: the local way in for the command line.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace ringscale::core::net {

struct UnixListenerOptions {
  // Lets this group connect as well (mode 0660); otherwise only the owner (0600).
  std::optional<gid_t> group;
};

// A listening socket and its file. The file goes with it, unless another process
// has put its own in its place.
class UnixListener {
 public:
  // A file left by a process that is gone is replaced; kConflict when somebody
  // answers there or when it is no socket. Changes the process's umask for a
  // moment: before threads start.
  static Result<UnixListener> Open(const std::string& path, const UnixListenerOptions& options);
  // A socket that another process bound to `path` and that listens already. Its
  // file goes with the listener, as if opened here.
  static Result<UnixListener> Adopt(Fd fd, const std::string& path);
  UnixListener(UnixListener&&) noexcept;
  UnixListener& operator=(UnixListener&&) noexcept;
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;
  ~UnixListener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Leaves the file to a successor that has taken over the descriptor.
  void KeepFile() { path_.clear(); }

 private:
  UnixListener(Fd fd, std::string path, dev_t device, ino_t inode);
  void RemoveFile();

  Fd fd_;
  std::string path_;  // empty: nothing to remove
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// The file that a Unix socket is bound to; empty when there is none.
std::string UnixSocketPath(int fd);

// Connects (blocking) as a client. kNotFound: no such file; kUnavailable: nobody
// listens; kPermission: not allowed.
Result<Fd> ConnectUnix(const std::string& path);

// Who is at the other end, as it was when it connected (SO_PEERCRED).
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> ReadPeerCredentials(int fd);

}  // namespace ringscale::core::net

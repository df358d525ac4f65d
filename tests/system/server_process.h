// A ringscale server as a child process, for tests that kill it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/net/address.h"
#include "core/net/unix_listener.h"

namespace ringscale::tests {

class ServerProcess {
 public:
  // Who opens the sockets: the test, which passes them at every start as systemd
  // does, so that clients never meet a port that nobody listens on; or the server.
  enum class Sockets : std::uint8_t { kGiven, kOwn };

  // `folder` exists and gets the data directory, the configuration and the log.
  // The server listens on a loopback port, the same one at every start.
  explicit ServerProcess(std::string folder, Sockets sockets = Sockets::kGiven);
  ~ServerProcess();  // kills it
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Starts the binary named by RINGSCALE_BINARY and waits until it answers /key.
  core::Result<> Start();
  // Starts another process that takes over; the exit status of the one before.
  core::Result<int> Replace();
  void KillNine();
  // SIGTERM; the exit status.
  int Terminate();

  // Runs a command of the binary against this server; its output.
  [[nodiscard]] core::Result<std::string> Command(const std::string& arguments) const;

  [[nodiscard]] const core::SocketAddress& address() const { return address_; }
  [[nodiscard]] std::string host() const { return address_.text(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string LogTail() const;

 private:
  pid_t Launch(bool take_over) const;
  core::Result<> WaitReady();

  std::string folder_;
  core::SocketAddress address_;
  std::optional<core::net::UnixListener> commands_;
  core::Fd clients_;
  pid_t pid_ = -1;
};

}  // namespace ringscale::tests

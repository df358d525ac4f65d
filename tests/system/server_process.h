// A ringscale server as a child process, for tests that kill it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::tests {

class ServerProcess {
 public:
  // `folder` exists and gets the data directory, the configuration and the log.
  explicit ServerProcess(std::string folder);
  ~ServerProcess();  // kills it

  // Starts the binary named by RINGSCALE_BINARY on a free loopback port (the same
  // one at every start) and waits until it answers /key.
  core::Result<> Start();
  void KillNine();
  // SIGTERM; the exit status.
  int Terminate();

  // Runs a command of the binary against this server; its output.
  core::Result<std::string> Command(const std::string& arguments) const;

  [[nodiscard]] const core::SocketAddress& address() const { return address_; }
  [[nodiscard]] std::string host() const { return address_.text(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string LogTail() const;

 private:
  std::string folder_;
  core::SocketAddress address_;
  pid_t pid_ = -1;
};

}  // namespace ringscale::tests

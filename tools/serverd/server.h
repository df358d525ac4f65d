// `ringscale serve`: the process put together. Reads nothing of the command line.
//
// Threads: the caller's (start, signals, stop), one relay shard a core, one front
// a core, one control loop, the store's writer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/listener.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

struct Build {
  std::string version;
  std::string version_json;  // what /version answers
};

// What another process leaves to this one.
struct Inheritance {
  std::vector<core::net::InheritedSocket> activated;  // systemd's socket activation
  // Get the sockets of the server that runs on the same data, and make it stop.
  bool take_over = false;
};

class Server {
 public:
  // How to read the configuration again, on SIGHUP. A bad one changes nothing; keys that
  // need a restart are named in the log (config/reload.h).
  using Reread = std::function<core::Result<Config>()>;

  // Everything is up when it returns. Before any thread of the process starts.
  static core::Result<std::unique_ptr<Server>> Start(Config config, Build build, Reread reread,
                                                     Inheritance inheritance);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Waits for SIGTERM or SIGINT, then stops: no new connections, queued packets
  // out, state on disk.
  void RunUntilSignal();

  // What a person runs on the machines that shall join.
  [[nodiscard]] std::string JoinLine() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringscale::serverd

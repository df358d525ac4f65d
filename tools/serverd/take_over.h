// An upgrade without a refused connection: the new process gets the listening
// sockets of the running one over the local socket and tells it to stop. What
// connects meanwhile waits in the sockets' queues.
//
//   new: POST /local/take-over
//   old: 101, one line of JSON that names the sockets, the descriptors (SCM_RIGHTS)
//   new: opens whatever else it needs, then "stop\n"
//   old: answers what it has accepted, ends the rest, exits; its lock on the data
//        directory is the sign for the new one to open the store
//
// A new process that ends before "stop" has changed nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/engine/loop.h"
#include "tools/serverd/admin_socket.h"
#include "tools/serverd/sockets.h"

namespace ringscale::serverd {

inline constexpr const char* kTakeOverPath = "/local/take-over";

// The new process's side. Blocking; before threads start.
class TakeOver {
 public:
  // Asks the server behind the local socket. nullopt: none is running.
  static core::Result<std::optional<TakeOver>> Ask(const std::string& socket_path);
  [[nodiscard]] std::vector<GivenSocket> TakeSockets() { return std::move(sockets_); }
  // The old server stops from now on.
  core::Result<> TellToStop();

 private:
  TakeOver(core::Fd connection, std::vector<GivenSocket> sockets)
      : connection_(std::move(connection)), sockets_(std::move(sockets)) {}

  core::Fd connection_;
  std::vector<GivenSocket> sockets_;
};

// The running server's side, on the control thread's loop.
class HandOver final : public core::engine::StreamHandler {
 public:
  struct Socket {
    SocketLabel label;
    int fd = -1;  // stays the server's
  };

  // All of a server's sockets. `commands` is its socket for commands, which lies at
  // `commands_path`.
  static std::vector<Socket> ListOf(const ServerSockets& sockets, int commands,
                                    const std::string& commands_path);

  // `sockets` says what there is to hand over; `stop` makes the server stop.
  HandOver(core::engine::Loop& loop, std::function<std::vector<Socket>()> sockets,
           std::function<void()> stop);
  ~HandOver() override;
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  // A connection whose request has been read. One at a time: a second successor
  // is refused while the first one makes up its mind.
  void Begin(core::Fd connection);
  // The successor has the sockets for good.
  [[nodiscard]] bool complete() const { return complete_; }
  // No further commands here: the socket of `commands` is closed, its file stays
  // when a successor has taken over and is removed otherwise.
  void EndCommands(AdminSocket& commands) const;

  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

 private:
  core::engine::Loop& loop_;
  const std::function<std::vector<Socket>()> sockets_;
  const std::function<void()> stop_;
  core::engine::StreamId stream_;
  std::string received_;
  bool complete_ = false;
};

}  // namespace ringscale::serverd

// The local way in for operators: HTTP/1.1 over a Unix socket, on the control
// thread's loop. Whoever may connect may do everything: the file's mode decides
// (core/net/unix_listener.h). Who it was is logged with every command.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "control/api/admin_request.h"
#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/engine/loop.h"
#include "core/http/h1_request.h"
#include "core/net/unix_listener.h"

namespace ringscale::serverd {

class AdminConnection;

struct AdminSocketLimits {
  std::size_t connections = 64;                // more are answered with 503
  std::size_t body = 1024 * 1024;              // of ordinary requests
  core::Duration request = core::Seconds(30);  // for a request to arrive; uploads: for progress
  core::Duration idle = core::Seconds(60);     // between requests of one connection
  core::Duration send = core::Seconds(120);    // without any progress while sending
  std::size_t send_high_water = 256 * 1024;    // of a streamed body
};

// Receives a request's body piece by piece, however long it is.
class UploadSink {
 public:
  virtual ~UploadSink() = default;
  // An error ends the upload and is the answer.
  virtual core::Result<> Write(std::string_view piece) = 0;
  // The body is complete: answer.
  virtual void Finish(control::AdminRespond respond) = 0;
  // Destroyed without Finish: the client went away.
};

class AdminSocket {
 public:
  using Handler = std::function<void(control::AdminRequest, control::AdminRespond)>;
  using UploadStart = std::function<std::unique_ptr<UploadSink>(const control::AdminRequest& head)>;
  // Gets the connection itself, with nothing sent on it yet (to pass descriptors).
  using TakeOver = std::function<void(core::Fd connection, const core::net::PeerCredentials& peer,
                                      control::AdminRequest request)>;

  // `fallback` gets what no route matches: the API's dispatcher. The loop must
  // outlive this.
  AdminSocket(core::engine::Loop& loop, Handler fallback, const AdminSocketLimits& limits = {});
  ~AdminSocket();
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;

  // Routes of the server's own, by exact method and path; before Start.
  void AddRoute(std::string method, std::string path, Handler handler);
  void AddUpload(std::string method, std::string path, UploadStart start);
  void AddTakeOver(std::string method, std::string path, TakeOver take_over);

  // Accepts from now on. UnixListener::Open is called earlier, before threads start.
  void Start(core::net::UnixListener listener);
  // -1 when it does not accept.
  [[nodiscard]] int listening_fd() const { return listener_ ? listener_->fd() : -1; }
  // Stops accepting; the listener goes back to the caller (to hand it over or to
  // remove its file). Commands under way finish.
  std::optional<core::net::UnixListener> StopAccepting();
  // Closes everything at once.
  void CloseAll();

  // Serves one connection that is already there; `fd` is non-blocking.
  void Serve(core::Fd fd);
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  friend class AdminConnection;
  struct Route {
    std::string method;
    std::string path;
    Handler handle;
    UploadStart upload;
    TakeOver take_over;
  };
  [[nodiscard]] const Route* Find(std::string_view method, std::string_view path) const;
  void Remove(std::uint64_t id) { connections_.erase(id); }

  core::engine::Loop& loop_;
  AdminSocketLimits limits_;
  Route fallback_;
  std::vector<Route> routes_;
  std::optional<core::net::UnixListener> listener_;
  std::unordered_map<std::uint64_t, std::shared_ptr<AdminConnection>> connections_;
  std::uint64_t next_id_ = 1;
};

// The body of an answer that is a file, read as it is sent. `file` is at its start.
[[nodiscard]] control::AdminResponse FileResponse(core::Fd file);

}  // namespace ringscale::serverd

#include "tools/serverd/admin_socket.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/http/h1_response.h"
#include "core/obs/log.h"
#include "tools/serverd/admin_connection.h"

namespace ringscale::serverd {
namespace {

class FileBody final : public control::AdminBody {
 public:
  explicit FileBody(core::Fd file) : file_(std::move(file)) {}

  Status Pull(std::size_t limit, core::SliceList& out) override {
    std::string piece(limit, '\0');
    ssize_t got = 0;
    do {
      got = ::read(file_.get(), piece.data(), piece.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      core::LogError("admin", core::FailErrno("reading a file to send", errno).error().message);
      failed_ = true;
    }
    if (got <= 0) return Status::kEnd;
    piece.resize(static_cast<std::size_t>(got));
    out.push_back(core::SharedSlice::Own(std::move(piece)));
    return Status::kMore;
  }
  [[nodiscard]] bool failed() const override { return failed_; }

 private:
  core::Fd file_;
  bool failed_ = false;
};

}  // namespace

AdminSocket::AdminSocket(core::engine::Loop& loop, Handler fallback,
                         const AdminSocketLimits& limits)
    : loop_(loop), limits_(limits) {
  fallback_.handle = std::move(fallback);
}

AdminSocket::~AdminSocket() {
  StopAccepting();
  CloseAll();
}

void AdminSocket::AddRoute(std::string method, std::string path, Handler handler) {
  routes_.push_back({.method = std::move(method),
                     .path = std::move(path),
                     .handle = std::move(handler),
                     .upload = nullptr,
                     .take_over = nullptr});
}

void AdminSocket::AddUpload(std::string method, std::string path, UploadStart start) {
  routes_.push_back({.method = std::move(method),
                     .path = std::move(path),
                     .handle = nullptr,
                     .upload = std::move(start),
                     .take_over = nullptr});
}

void AdminSocket::AddTakeOver(std::string method, std::string path, TakeOver take_over) {
  routes_.push_back({.method = std::move(method),
                     .path = std::move(path),
                     .handle = nullptr,
                     .upload = nullptr,
                     .take_over = std::move(take_over)});
}

const AdminSocket::Route* AdminSocket::Find(std::string_view method, std::string_view path) const {
  for (const Route& route : routes_) {
    if (route.method == method && route.path == path) return &route;
  }
  return &fallback_;
}

void AdminSocket::Start(core::net::UnixListener listener) {
  listener_ = std::move(listener);
  loop_.Listen(listener_->fd(),
               [this](core::Fd fd, const core::SocketAddress&) { Serve(std::move(fd)); });
}

std::optional<core::net::UnixListener> AdminSocket::StopAccepting() {
  if (listener_) loop_.StopListening(listener_->fd());
  return std::exchange(listener_, std::nullopt);
}

void AdminSocket::CloseAll() {
  auto connections = std::exchange(connections_, {});
  for (auto& [id, connection] : connections) connection->Abandon();
}

void AdminSocket::Serve(core::Fd fd) {
  if (connections_.size() >= limits_.connections) {
    core::LogWarn("admin", "too many connections on the local socket",
                  {{"limit", limits_.connections}});
    const std::string refusal = core::http::Serialize(
        core::http::TextResponse(503, "too many commands at a time; try again"),
        {.head_request = false, .keep_alive = false, .http10 = false});
    // Best effort: a fresh socket has room for it.
    [[maybe_unused]] const ssize_t sent = ::write(fd.get(), refusal.data(), refusal.size());
    return;
  }
  const auto peer = core::net::ReadPeerCredentials(fd.get());
  if (!peer) {
    core::LogWarn("admin", peer.error().message);
    return;
  }
  const std::uint64_t id = next_id_++;
  const auto connection = std::make_shared<AdminConnection>(*this, id, *peer);
  connections_.emplace(id, connection);
  connection->Start(std::move(fd));
}

control::AdminResponse FileResponse(core::Fd file) {
  control::AdminResponse response;
  response.content_type = "application/octet-stream";
  response.stream = [file = std::move(file)](core::http::BodyWaker&) mutable {
    return std::make_unique<FileBody>(std::move(file));
  };
  return response;
}

}  // namespace ringscale::serverd

// A connection to the admin socket: bytes as they come, cut anywhere, through the
// HTTP parser, the dispatcher, the API and a registry in memory.
#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "control/api/admin_api.h"
#include "core/engine/manual_loop.h"
#include "core/obs/log.h"
#include "storage/memory_store.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/require.h"
#include "tools/serverd/admin_socket.h"

namespace ringscale {
namespace {

using core::engine::StreamId;
using fuzz::Require;

// A loop with one stream, whose clock stands still.
class OneStreamLoop final : public core::engine::ManualLoop {
 public:
  StreamId Attach(core::Fd fd, core::engine::StreamHandler& handler) override {
    fd_ = std::move(fd);
    handler_ = &handler;
    return {1};
  }
  void Send(StreamId, std::string bytes) override {
    Require(handler_ != nullptr);
    sent_ += bytes;
  }
  void Send(StreamId, core::SharedSlice slice) override { sent_ += slice.bytes; }
  void PauseReceive(StreamId) override { paused_ = true; }
  void ResumeReceive(StreamId) override { paused_ = false; }
  core::Result<core::Fd> Detach(StreamId) override {
    handler_ = nullptr;
    return std::move(fd_);
  }
  void Close(StreamId) override { handler_ = nullptr; }
  void CloseAfterFlush(StreamId, core::Duration) override { handler_ = nullptr; }

  // False when the connection is closed.
  bool Receive(std::string piece) {
    Run();
    if (handler_ == nullptr || paused_) return false;
    handler_->OnReceive({1}, {reinterpret_cast<std::uint8_t*>(piece.data()), piece.size()});
    Run();
    return handler_ != nullptr;
  }
  void EndStream() {
    Run();
    if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnClosed({1}, 0);
    Run();
  }
  [[nodiscard]] const std::string& sent() const { return sent_; }

 private:
  core::Fd fd_;
  core::engine::StreamHandler* handler_ = nullptr;
  bool paused_ = false;
  std::string sent_;
};

class CountingSink final : public serverd::UploadSink {
 public:
  core::Result<> Write(std::string_view piece) override {
    bytes_ += piece.size();
    if (bytes_ > 1000) return core::Fail(core::ErrorCode::kLimit, "enough");
    return {};
  }
  void Finish(control::AdminRespond respond) override {
    respond({.body = "{}", .stream = nullptr});
  }

 private:
  std::size_t bytes_ = 0;
};

}  // namespace
}  // namespace ringscale

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ringscale;
  static const bool quiet = [] {
    core::SetLogLevel(core::LogLevel::kError);
    return true;
  }();
  (void)quiet;
  if (size < 2) return 0;

  OneStreamLoop loop;
  storage::MemoryStore store;
  control::Registry registry(loop, store, {.random = [](core::MutableBytes bytes) {
                               for (auto& byte : bytes) byte = 7;
                             }});
  Require(registry.Load().has_value());
  control::Registration registration(loop, registry);
  control::AdminApi api(loop, registry, registration, store);
  serverd::AdminSocket socket(loop,
                              [&](control::AdminRequest request, control::AdminRespond respond) {
                                api.Handle(std::move(request), std::move(respond));
                              });
  socket.AddUpload("POST", "/local/verify",
                   [](const control::AdminRequest&) { return std::make_unique<CountingSink>(); });
  socket.AddTakeOver(
      "POST", "/local/handover",
      [](core::Fd, const core::net::PeerCredentials&, const control::AdminRequest&) {});
  registry.CreateUser({.name = "alice", .display_name = {}, .email = {}, .picture_url = {}},
                      [](const core::Result<control::UserId>&) {});
  control::NodeRegistration machine;
  machine.machine_key.raw.fill(1);
  machine.node_key.raw.fill(2);
  loop.Run();
  registry.RegisterForUser(machine, 1, storage::RegisterMethod::kCli,
                           [](const core::Result<control::Registered>&) {});
  loop.Run();

  int pair[2];
  Require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
  const core::Fd peer(pair[1]);
  socket.Serve(core::Fd(pair[0]));

  // The first byte says how the rest is cut.
  const std::size_t step = static_cast<std::size_t>(data[0]) + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  while (!rest.empty()) {
    const std::string piece(rest.substr(0, step));
    rest.remove_prefix(piece.size());
    if (!loop.Receive(piece)) break;
  }
  loop.EndStream();
  Require(loop.sent().empty() || loop.sent().starts_with("HTTP/1.1 "));
  Require(socket.connections() == 0);
  if (loop.sent().starts_with("HTTP/1.1 200 ")) ringscale::fuzz::Accepted();
  return 0;
}

#include "tools/serverd/front/derp_bridge.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "relay/app/tcp_progress.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {
namespace {

using core::http::WebSocket;
using core::http::WebSocketClose;

// Bytes that wait for one side: above it, the other one is not read.
constexpr std::size_t kMaxQueued = 64 * 1024;

}  // namespace

BridgePlace TakeBridgePlace(std::atomic<std::size_t>& taken, std::size_t limit) {
  BridgePlace place(&taken);
  return taken.fetch_add(1) < limit ? std::move(place) : nullptr;
}

DerpBridge::DerpBridge(Front& front, std::uint64_t id, Client client)
    : front_(front),
      id_(id),
      client_(std::move(client)),
      write_timeout_(client_.can_mesh ? front.options_.bridge.times.mesh_write_timeout
                                      : front.options_.bridge.times.write_timeout) {}

core::Result<core::Fd> DerpBridge::Start() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return core::FailErrno("socketpair", errno);
  }
  core::Fd ours(ends[0]);
  core::Fd theirs(ends[1]);
  client_fd_ = client_.fd.get();
  // Refusals only cost quality.
  (void)core::net::ApplyTcpOptions(client_fd_, front_.options_.bridge.tcp.Options());
  client_stream_ = front_.loop_.Attach(std::move(client_.fd), *this);
  relay_stream_ = front_.loop_.Attach(std::move(ours), *this);
  Open().Add(1);
  return theirs;
}

core::Gauge& DerpBridge::Open() {
  return front_.stats_.bridges[static_cast<std::size_t>(client_.transport.tls_version())];
}

void DerpBridge::OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) {
  const auto self = shared_from_this();
  if (stream == client_stream_) {
    FromClient(bytes);
  } else {
    FromRelay(bytes);
  }
}

void DerpBridge::FromClient(core::MutableBytes bytes) {
  bool websocket_ended = false;
  const auto unwrap = [&](core::MutableBytes plaintext) {
    if (client_.websocket == nullptr) {
      ToRelay(plaintext);
    } else if (!websocket_ended) {
      websocket_ended = !client_.websocket->Receive(
          plaintext, [this](core::MutableBytes derp) { ToRelay(derp); });
    }
  };
  const auto received = client_.transport.Receive(front_.pool_, bytes, unwrap);
  if (!received || websocket_ended) return End();
  if (!SendControl()) return Close();
  if (!client_paused_ && front_.loop_.QueuedBytes(relay_stream_) > kMaxQueued) {
    client_paused_ = true;
    front_.loop_.PauseReceive(client_stream_);
  }
}

void DerpBridge::ToRelay(core::Bytes derp) {
  front_.loop_.Send(relay_stream_, std::string(core::AsText(derp)));
}

void DerpBridge::FromRelay(core::Bytes derp) {
  std::string wire;
  while (!derp.empty()) {
    std::string_view message = core::AsText(derp);
    std::string header;
    if (client_.websocket != nullptr) {
      message = message.substr(0, WebSocket::kMaxSend);
      WebSocket::AppendHeader(message.size(), header);
    }
    const std::array<std::string_view, 2> pieces{header, message};
    if (!client_.transport.Seal(front_.pool_, pieces, wire)) return Close();
    derp = derp.subspan(message.size());
  }
  front_.loop_.Send(client_stream_, std::move(wire));
  if (!relay_paused_ && front_.loop_.QueuedBytes(client_stream_) > kMaxQueued) {
    relay_paused_ = true;
    front_.loop_.PauseReceive(relay_stream_);
    Watch();
  }
}

// What the protocols around DERP want sent. A client that takes nothing gets no pongs.
bool DerpBridge::SendControl() {
  std::string wire = client_.transport.TakeControlOutput();
  const bool room = front_.loop_.QueuedBytes(client_stream_) <= kMaxQueued;
  if (client_.websocket != nullptr && client_.websocket->has_output() && room) {
    const std::string frames = client_.websocket->TakeOutput();
    const std::array<std::string_view, 1> pieces{frames};
    if (!client_.transport.Seal(front_.pool_, pieces, wire)) return false;
  }
  if (!wire.empty()) front_.loop_.Send(client_stream_, std::move(wire));
  return true;
}

// While the shard waits for the client, which has taken nothing for `idle` timeouts.
void DerpBridge::Watch(int idle) {
  if (write_timeout_.ns == 0) return;
  acknowledged_ = relay::ReadTcpProgress(nullptr, client_fd_).acknowledged;
  watch_ = front_.loop_.After(write_timeout_, [this, idle] {
    const relay::TcpProgress progress = relay::ReadTcpProgress(nullptr, client_fd_);
    if (progress.acknowledged != acknowledged_) return Watch();
    if (idle + 1 < relay::TimeoutsOf(progress, write_timeout_, reads_slowly_)) {
      return Watch(idle + 1);
    }
    front_.stats_.bridge_stalled.Add();
    Close();
  });
}

void DerpBridge::OnSent(core::engine::StreamId stream) {
  if (stream == relay_stream_ && std::exchange(client_paused_, false)) {
    front_.loop_.ResumeReceive(client_stream_);
  }
  if (stream == client_stream_ && std::exchange(relay_paused_, false)) {
    front_.loop_.CancelTimer(watch_);
    front_.loop_.ResumeReceive(relay_stream_);
  }
}

void DerpBridge::OnClosed(core::engine::StreamId stream, int /*error*/) {
  const auto self = shared_from_this();
  (stream == client_stream_ ? client_stream_ : relay_stream_) = {};
  if (client_.websocket != nullptr) client_.websocket->Close(WebSocketClose::kGoingAway);
  End();
}

// What has been received goes on to the shard; the client is told, as far as its
// protocols have a word for it.
void DerpBridge::End() {
  if (client_stream_ != core::engine::StreamId{}) {
    (void)SendControl();
    std::string farewell = client_.transport.SealClose(front_.pool_);
    if (!farewell.empty()) front_.loop_.Send(client_stream_, std::move(farewell));
  }
  front_.loop_.CloseAfterFlush(client_stream_);
  front_.loop_.CloseAfterFlush(relay_stream_);
  Leave();
}

void DerpBridge::Close() {
  const auto self = shared_from_this();
  front_.loop_.Close(client_stream_);
  front_.loop_.Close(relay_stream_);
  Leave();
}

void DerpBridge::Leave() {
  client_stream_ = relay_stream_ = {};
  front_.loop_.CancelTimer(watch_);
  Open().Add(-1);
  front_.bridges_.erase(id_);
}

}  // namespace ringscale::serverd

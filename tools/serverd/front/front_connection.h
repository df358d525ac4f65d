// One connection at the front door, from its first byte until it is handed over
// or closed. Private to Front.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/noise/session.h"
#include "core/http/websocket.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {

class FrontConnection final : public core::engine::StreamHandler,
                              public std::enable_shared_from_this<FrontConnection> {
 public:
  FrontConnection(Front& front, std::uint64_t id, const core::SocketAddress& peer, bool counted);
  ~FrontConnection() override;

  void Start(core::Fd fd);
  // Its turn at the gate: the expensive step that it waits for.
  void RunHandshake();
  // The answer to the request of that number; a late one changes nothing.
  void Answer(std::uint64_t request, const core::http::HttpResponse& response);
  // The answer to its login; a late one changes nothing.
  void Admit(bool allow);
  // Closes at once. Safe at any time.
  void Close(core::Counter* reason);
  void Drain();

  [[nodiscard]] std::uint64_t id() const { return id_; }

  // StreamHandler
  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnSent(core::engine::StreamId stream) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

 private:
  enum class State : std::uint8_t {
    kFirstByte,
    kTlsWaiting,  // for its turn
    kTlsHandshake,
    kRequest,       // head or body
    kAnswering,     // a handler has the request
    kFlushing,      // until the peer has taken its answers
    kNoiseWaiting,  // for its turn
    kNoiseRecord,   // for the client's first record
    kDerpLogin,
    kDerpAsking,  // somebody decides about the client
    kHandOver,    // as soon as the last bytes are with the kernel
    kEnded,
  };
  struct NoiseState {
    std::vector<std::uint8_t> initiation;
    std::unique_ptr<core::http::WebSocket> websocket;
    std::string upgrade;  // the 101 response
    std::optional<control::noise::Accepted> accepted;
    std::string plaintext;
  };
  struct DerpState {
    std::optional<relay::ServerLogin> login;
    relay::LoggedInClient client;
    std::unique_ptr<core::http::WebSocket> websocket;
    BridgePlace bridge;  // null: a shard takes the socket itself
  };

  // Replaces the deadline. When it passes, the connection ends for `reason`.
  void SetDeadline(core::Duration delay, core::Counter& reason);

  void StartTls();
  void FeedTls(core::Bytes bytes);
  void Receive(core::MutableBytes bytes);
  void OnPlaintext(core::MutableBytes bytes);
  void FeedRequest(core::Bytes& bytes);
  void Keep(core::Bytes bytes);
  void ReceiveKept();
  void FinishInput();
  void GoOn();

  void OnHead();
  void Dispatch();
  void SendResponse(const core::http::HttpResponse& response);
  void Refuse(core::http::HttpResponse response, core::Counter& reason);

  // front_upgrades.cc
  struct WebSocketStart {
    std::unique_ptr<core::http::WebSocket> websocket;
    std::string response;
  };
  // Accepts the handshake of the request; nothing when it was refused here.
  std::optional<WebSocketStart> StartWebSocket(std::string_view protocol, core::Counter& refused);
  // Passes on what is inside the frames; without WebSocket, everything.
  void Unwrap(core::http::WebSocket* websocket, core::MutableBytes bytes, core::Counter& failed,
              void (FrontConnection::*feed)(core::Bytes));
  void StartNoise();
  void StartNoiseWebSocket();
  void WaitForNoiseTurn(std::string_view initiation);
  void AnswerNoise();
  void FeedNoise(core::MutableBytes bytes);
  void FeedRecords(core::Bytes bytes);
  void StartDerp();
  void FeedDerp(core::MutableBytes bytes);
  void FeedDerpStream(core::Bytes bytes);
  void FeedLogin(core::Bytes bytes);
  void FinishLogin();
  void TryHandOver();
  bool HandToRelay(core::Fd fd);
  bool HandToControl(core::Fd fd);

  void SendPlain(std::string_view bytes);
  void Pause();
  void Resume();
  void End(bool flush);
  void LeaveFront();
  void ResolveClient();
  bool CountSource();

  Front& front_;
  const std::uint64_t id_;
  const core::SocketAddress peer_;
  core::engine::StreamId stream_;
  State state_ = State::kFirstByte;
  bool paused_ = false;
  bool reading_ = false;      // received bytes are on the stack, requests go on there
  bool close_after_ = false;  // no further request on this connection
  core::engine::TimerId deadline_;
  core::tls::Transport transport_ = core::tls::Transport::Plain();
  std::unique_ptr<core::tls::Handshake> handshake_;
  std::string kept_;  // received before its time: ClientHello, pipelined requests
  core::http::RequestParser parser_;
  std::uint64_t request_number_ = 0;
  core::http::ResponseContext response_context_;
  core::net::ClientOrigin origin_;
  std::string host_;
  core::IpAddress counted_source_;  // invalid: not counted
  std::unique_ptr<NoiseState> noise_;
  std::unique_ptr<DerpState> derp_;
};

}  // namespace ringscale::serverd

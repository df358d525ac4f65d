// A synthetic node: speaks the control protocol as a client does (upgrade, Noise,
// HTTP/2, register, map stream), without a tunnel behind it. For load and for
// tests of a running server. Runs on one Loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/lib/control_target.h"
#include "bench/lib/map_messages.h"
#include "control/noise/session.h"
#include "core/crypto/keys.h"
#include "core/engine/loop.h"
#include "core/tls/client.h"
#include "core/tls/transport.h"

struct nghttp2_session;

namespace ringscale::bench {

// A node's identity: survives its connections.
struct NodeIdentity {
  core::PrivateKey machine;
  core::NodePublic node_key;
  core::DiscoPublic disco_key;
  std::string hostname;
  std::uint16_t port = 0;  // of the made-up endpoint that changes
  static NodeIdentity Generate(std::size_t index);
};

class ControlNode : public core::engine::StreamHandler {
 public:
  struct Events {
    // The connection is up (Noise done) or could not be made.
    std::function<void(core::Result<>)> connected;
    // One framed message of the map stream, still compressed. Must not disconnect.
    std::function<void(std::string_view message)> map_message;
    // The connection or the map stream has ended; last_error() says why.
    std::function<void()> closed;
    // Whether a message of that size is to be kept and passed to map_message; of
    // the others only the sizes are told. Null: all are.
    std::function<bool(std::size_t size)> wants_message = nullptr;
    std::function<void(std::size_t size)> skipped_message = nullptr;
  };
  // Status 0: the connection broke before an answer.
  using Answer = std::function<void(int status, std::string_view body)>;

  // `loop` and `target` must outlive the node.
  ControlNode(core::engine::Loop& loop, const ControlTarget& target, NodeIdentity identity,
              Events events);
  ~ControlNode() override;

  void Connect();
  // Without any event. Not inside map_message.
  void Disconnect();
  // Requests on the connection; dropped when there is none.
  // POST /machine/register; the answer's body is the RegisterResponse.
  void Register(std::string_view auth_key, Answer answer);
  // Opens the map stream; messages arrive by Events::map_message.
  void Poll();
  // A lite update that announces an endpoint with this port.
  void Update(std::uint16_t endpoint_port, Answer answer);

  [[nodiscard]] const NodeIdentity& identity() const { return identity_; }
  // Bytes from the socket, all connections so far.
  [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }
  [[nodiscard]] bool connected() const { return http2_ != nullptr; }
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

 private:
  struct Exchange;
  class Callbacks;
  // Input, from the outside in. An error ends the connection.
  core::Result<> Receive(core::MutableBytes bytes);
  core::Result<> FeedTls(core::Bytes bytes);
  core::Result<> FeedPlaintext(core::MutableBytes bytes);
  core::Result<> FeedHead(std::string_view bytes);
  core::Result<> FeedHttp2(std::string_view plaintext);
  core::Result<> StartHttp2();
  void SendUpgrade();
  void SendWire(std::string plaintext);
  void Flush();
  void Deliver();
  void Post(std::string_view path, std::string body, std::unique_ptr<Exchange> exchange);
  void Fail(std::string what);
  [[nodiscard]] std::string MapRequestBody(bool stream, std::uint16_t endpoint_port) const;

  core::engine::Loop& loop_;
  const ControlTarget& target_;
  NodeIdentity identity_;
  Events events_;
  core::engine::StreamId stream_;
  std::uint64_t connection_ = 0;  // counts them: calls of events may have changed it
  std::unique_ptr<core::tls::ClientHandshake> handshake_;
  core::tls::Transport transport_ = core::tls::Transport::Plain();
  std::string head_;
  std::optional<control::noise::Initiator> initiator_;
  std::optional<control::noise::Session> session_;
  nghttp2_session* http2_ = nullptr;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<std::unique_ptr<Exchange>> finished_;  // answers not told yet
  std::string early_;  // until the early payload has been told from HTTP/2
  bool early_done_ = false;
  bool connected_told_ = false;
  bool in_receive_ = false;
  MapMessageReader map_messages_;
  std::uint64_t bytes_received_ = 0;
  std::string last_error_;
};

}  // namespace ringscale::bench
